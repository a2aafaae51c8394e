"""Zero-shot and few-shot."""

import dataclasses
from collections import Counter

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import NEUTRAL, FewShot, ZeroShot, choose_demonstrations, relabel, with_leading_words
from kaiwa.lab.techniques.thought import ChainOfThought

from .drive import drive, prompts

LABELS = ("good", "bad")
DEMOS = tuple(
    Item(id=f"d{i}", input=f"demo {i}", answer=LABELS[i % 4 == 3], choices=LABELS, reasoning=f"because {i}")
    for i in range(12)
)
ITEM = Item(id="1", input="the item", answer="good", choices=LABELS)
TASK = Task(
    name="t", kind="choice", items=(ITEM,), demos=DEMOS, prompt=Prompt(input="R: {input}", output_indicator="L:")
)


def test_zero_shot_asks_once() -> None:
    result, rounds = drive(ZeroShot(), TASK, ITEM, lambda text: "I say good.")
    assert prompts(rounds) == [["[user] R: the item\nL:"]]
    assert result.answer == "good"
    assert rounds[0][0].request.sampling.max_tokens == TASK.max_tokens  # type: ignore[union-attr]


def test_leading_words_are_part_of_the_answer_unless_they_are_repeated() -> None:
    task = dataclasses.replace(TASK, kind="code", prompt=Prompt(leading_words="import\nx ="))
    assert with_leading_words(task, " 3") == "import\nx = 3"
    assert with_leading_words(task, "x = 3") == "x = 3"
    assert with_leading_words(TASK, " 3") == " 3"
    result, _ = drive(ZeroShot(), task, ITEM, lambda text: "5")
    assert result.text == "import\nx = 5"


def test_by_likelihood_nothing_is_written() -> None:
    scores = {"good": "-3.0", "bad": "-2.0"}
    result, rounds = drive(ZeroShot(by="likelihood"), TASK, ITEM, lambda key: scores[key.rpartition("|")[2]])
    assert result.answer == "bad"
    assert result.notes["logprobs"] == {"good": -3.0, "bad": -2.0}
    assert len(rounds[0]) == 2


def test_likelihood_per_token_divides_by_the_length() -> None:
    item = dataclasses.replace(ITEM, choices=("one", "two words long"))
    scores = {"one": "-2.0", "two words long": "-3.0"}
    plain, _ = drive(ZeroShot(by="likelihood"), TASK, item, lambda key: scores[key.rpartition("|")[2]])
    mean, _ = drive(ZeroShot(by="likelihood per token"), TASK, item, lambda key: scores[key.rpartition("|")[2]])
    assert (plain.answer, mean.answer) == ("one", "two words long")


def test_in_text_form_a_space_stands_before_the_choice() -> None:
    task = dataclasses.replace(TASK, form="text")
    _, rounds = drive(ZeroShot(by="likelihood"), task, ITEM, lambda key: "0")
    assert [c.request.continuation for c in rounds[0]] == [" good", " bad"]  # type: ignore[union-attr]
    with pytest.raises(UserError, match="no choices to rate"):
        drive(ZeroShot(by="likelihood"), task, dataclasses.replace(ITEM, choices=()), lambda key: "0")


def test_demonstrations_are_balanced_and_the_seeds() -> None:
    chosen = choose_demonstrations(TASK, 6, 0)
    assert Counter(demo.answer for demo in chosen) == {"good": 3, "bad": 3}
    assert len({demo.id for demo in chosen}) == 6
    assert choose_demonstrations(TASK, 6, 0) == chosen
    assert choose_demonstrations(TASK, 6, 1) != chosen
    assert Counter(demo.answer for demo in choose_demonstrations(TASK, 10, 0)) == {"good": 7, "bad": 3}, "all there are"
    with pytest.raises(UserError, match="12 demonstrations for a 13-shot arm"):
        choose_demonstrations(TASK, 13, 0)


def test_open_answers_need_no_balance() -> None:
    demos = tuple(dataclasses.replace(demo, choices=()) for demo in DEMOS)
    assert len(choose_demonstrations(dataclasses.replace(TASK, demos=demos), 12, 0)) == 12


def test_labels_of_the_arms() -> None:
    demos = list(DEMOS[:4])
    assert relabel(TASK, demos, "gold", 0) == ["good", "good", "good", "bad"]
    assert relabel(TASK, demos, "flipped", 0) == ["bad", "bad", "bad", "good"]
    assert relabel(TASK, demos, "foo-bar", 0) == [NEUTRAL[0]] * 3 + [NEUTRAL[1]]
    random = relabel(TASK, list(DEMOS), "random", 0)
    assert set(random) == set(LABELS)
    assert random == relabel(TASK, list(DEMOS), "random", 0)
    alone = [dataclasses.replace(demo, choices=(), answer="x") for demo in DEMOS]
    with pytest.raises(UserError, match="at least two different answers"):
        relabel(dataclasses.replace(TASK, demos=tuple(alone)), alone, "flipped", 0)


def test_few_shot_puts_examples_before_what_the_inner_asks() -> None:
    result, rounds = drive(FewShot(k=2), TASK, ITEM, lambda text: "bad")
    (text,) = prompts(rounds)[0]
    assert text.count("[assistant]") == 2
    assert text.endswith("[user] R: the item\nL:")
    assert result.answer == "bad"
    shown = FewShot(inner=ChainOfThought(), k=1).examples(TASK)[0]
    assert "because" in shown.output
    assert shown.output.endswith("The answer is " + ("good." if "good" in shown.output else "bad."))


def test_names_and_controls() -> None:
    assert FewShot(k=3).name == "3-shot"
    assert FewShot(k=3, labels="random").name == "3-shot, random labels"
    assert FewShot(k=3, inner=ChainOfThought()).name == "3-shot chain of thought"
    assert ZeroShot(by="likelihood").name == "zero-shot (likelihood)"
    plain = FewShot(k=3).controls()
    assert list(plain) == ["no demonstrations", "random labels", "flipped labels", "foo-bar labels"]
    inner = FewShot(k=3, inner=ChainOfThought()).controls()
    assert inner["dots"] == FewShot(k=3, inner=ChainOfThought(style="dots"))
    with pytest.raises(UserError, match="use one of gold"):
        FewShot(labels="golden")
