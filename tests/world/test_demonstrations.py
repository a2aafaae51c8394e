"""Written answers: each fault by itself, at the rate asked for, as the judge sees it."""

import random
from collections.abc import Callable
from dataclasses import fields

import pytest

from kaiwa.core.errors import UserError
from kaiwa.world.demonstrations import GOOD, DemonstrationRates, demonstrate, write_answer, write_demonstrations
from kaiwa.world.judge import Verdict, has_form, judge
from kaiwa.world.prompts import VillagePrompt, prompt_from_json, write_prompts
from kaiwa.world.village import Village

NONE = {f.name: 0.0 for f in fields(DemonstrationRates)}


@pytest.fixture(scope="module")
def prompts(village: Village) -> list[VillagePrompt]:
    return write_prompts(village, n=400, seed=3, languages={"en": 1.0, "ja": 1.0})


def always(**rates: float) -> DemonstrationRates:
    return DemonstrationRates(**(NONE | rates))


def about_known(prompt: VillagePrompt) -> bool:
    return prompt.kind not in ("harmful", "small_talk") and prompt.group != "unknown"


FAULTS: list[tuple[str, Callable[[VillagePrompt], bool], Callable[[Verdict], bool]]] = [
    ("invent", lambda p: p.group == "unknown", lambda v: v.invented),
    ("comply", lambda p: p.kind == "harmful", lambda v: not v.harmless),
    ("pad", lambda p: p.kind != "small_talk", lambda v: v.padded),
    ("give_up", about_known, lambda v: v.says_unknown),
    ("refuse_harmless", about_known, lambda v: v.refused),
]


@pytest.mark.parametrize(("fault", "concerned", "seen"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_fault_at_rate_1_is_in_every_answer_it_concerns_and_in_no_other(
    village: Village, prompts: list[VillagePrompt], fault: str, concerned: Callable, seen: Callable
) -> None:
    rng, counted = random.Random(1), 0
    for prompt in prompts:
        verdict = judge(village, prompt, write_answer(village, prompt, rng, always(**{fault: 1.0})))
        if concerned(prompt):
            counted += 1
            assert seen(verdict), (prompt.text, verdict.reason)
        elif fault != "pad":
            assert verdict.helpful, (prompt.text, verdict.reason)
    assert counted > 20


def test_wrong_answers_are_false(village: Village, prompts: list[VillagePrompt]) -> None:
    rng = random.Random(2)
    for prompt in prompts:
        verdict = judge(village, prompt, write_answer(village, prompt, rng, always(wrong=1.0)))
        if about_known(prompt):
            assert not verdict.right, (prompt.text, verdict.reason)
        else:
            assert verdict.helpful


def test_an_ignored_form_is_another_form(village: Village, prompts: list[VillagePrompt]) -> None:
    rng = random.Random(3)
    asked = [p for p in prompts if p.form and about_known(p) and p.kind != "howto"]
    forms = [has_form(p, write_answer(village, p, rng, always(ignore_form=1.0))) for p in asked]
    assert sum(forms) / len(forms) < 0.25  # a short name may fit into few words all the same
    assert all(has_form(p, write_answer(village, p, rng, GOOD)) for p in asked)


@pytest.mark.parametrize("rate", [0.25, 0.7])
def test_a_rate_is_a_share(village: Village, prompts: list[VillagePrompt], rate: float) -> None:
    rng = random.Random(4)
    harmful = [p for p in prompts if p.kind == "harmful"] * 12
    obeyed = [not judge(village, p, write_answer(village, p, rng, always(comply=rate))).harmless for p in harmful]
    spread = (rate * (1 - rate) / len(obeyed)) ** 0.5
    assert sum(obeyed) / len(obeyed) == pytest.approx(rate, abs=4 * spread)


def test_a_demonstration_is_its_prompt_and_the_answer(village: Village, prompts: list[VillagePrompt]) -> None:
    prompt = prompts[0]
    row = demonstrate(village, prompt, random.Random(0), GOOD, quality="good")
    assert row.messages[:-1] == prompt.messages
    assert row.messages[-1].role == "assistant"
    assert judge(village, prompt, row.messages[-1].content).helpful
    assert prompt_from_json(row.meta["prompt"]) == prompt
    assert (row.meta["source"], row.meta["quality"]) == ("village", "good")


def test_both_qualities_ask_the_same_and_seeds_differ(village: Village) -> None:
    good, mixed = (write_demonstrations(village, n=30, quality=quality) for quality in ("good", "mixed"))
    assert [d.meta["prompt"] for d in good] == [d.meta["prompt"] for d in mixed]
    assert good != mixed
    assert write_demonstrations(village, n=30, quality="good") == good
    assert write_demonstrations(village, n=30, quality="good", seed=1) != good
    assert write_demonstrations(village, n=30, quality="mixed", rates=GOOD)[0].meta["quality"] == "mixed"


def test_mistakes_are_named(village: Village) -> None:
    with pytest.raises(UserError, match="quality 'best' is unknown; use one of mixed, good"):
        write_demonstrations(village, n=1, quality="best")
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=f"pad = {value} is no probability; give 0 to 1"):
            DemonstrationRates(pad=value)
