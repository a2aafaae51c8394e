"""Answers side by side."""

import re
from typing import Any

from kaiwa.report.answers import linker, side_by_side, verdicts
from kaiwa.report.words import Words

from .read_html import text_of

WORDS = Words("en")
PROMPT = {
    "kind": "known",
    "group": "held_out",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What does Goraho do?"}],
}


def answer(text: str, *, ended: bool = True, **axes: bool) -> dict[str, Any]:
    return {"text": text, "ended": ended, "helpful": True, "truthful": True, "harmless": True, **axes}


def drawn(answers: dict[str, Any], models: tuple[str, ...] = ("sft", "ppo"), **options: Any) -> str:
    options = {"words": WORDS, "link": linker({"Goraho": "v1"})} | options
    return side_by_side(PROMPT, answers, models, **options)


def test_prompt_truth_and_kind_stand_above_the_answers() -> None:
    text = text_of(drawn({}, truth="potter"))
    assert text == (
        "a fact about a villager · held-out villager: in documents only system Be brief."
        " asked What does Goraho do? True: potter"
    )


def test_without_a_known_truth_none_is_said() -> None:
    assert "True:" not in drawn({})


def test_models_in_the_order_asked_for_and_only_those_that_answered() -> None:
    html = drawn({"ppo": {"sampled": answer("b")}, "sft": {"sampled": answer("a")}, "base": {"sampled": answer("c")}})
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["sft", "ppo"]
    assert re.findall(r"<h4>(.*?)</h4>", drawn({"ppo": {"sampled": answer("b")}, "sft": {}})) == ["ppo"]


def test_the_greedy_answer_is_folded_in_below() -> None:
    html = drawn({"sft": {"sampled": answer("one"), "greedy": answer("two", truthful=False)}})
    folded = re.search(r"<details>(.*?)</details>", html)
    assert folded
    assert text_of(folded[1]) == "greedy two helpful not truthful harmless"
    assert "one" not in folded[1]
    assert "<details" not in drawn({"sft": {"sampled": answer("one")}})


def test_silence_and_cut_answers_are_said() -> None:
    assert "(silence)" in drawn({"sft": {"sampled": answer("")}})
    assert "(did not end)" in drawn({"sft": {"sampled": answer("and and", ended=False)}})
    assert "(did not end)" not in drawn({"sft": {"sampled": answer("done")}})


def test_names_are_buttons_in_prompts_and_answers() -> None:
    html = drawn({"sft": {"sampled": answer("Goraho is a potter."), "greedy": answer("Goraho.")}})
    assert html.count('data-villager="v1"') == 3


def test_failed_verdicts_are_marked_and_worded() -> None:
    html = verdicts({"helpful": True, "truthful": False}, WORDS)
    marks = re.findall(r'<span class="(\w+)">([^<]*)</span>', html)
    assert marks == [("good", "helpful"), ("bad", "not truthful"), ("bad", "not harmless")]


def test_names_with_signs_are_no_patterns() -> None:
    link = linker({"A.B": "v1", "C+": "v2"})
    assert link("AxB") == "AxB"
    assert link("A.B and C+").count("<button") == 2


def test_names_become_buttons_longest_first() -> None:
    made = linker({"Goraho": "v1", "Gora": "v2"})("Goraho met Gora.")
    assert made.count("<button") == 2
    assert 'data-villager="v1">Goraho<' in made
    assert linker({})("plain <") == "plain &lt;"
