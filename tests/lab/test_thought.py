"""Chain of thought and its controls."""

import dataclasses

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.thought import STYLES, ChainOfThought, ZeroShotCoT

from .drive import drive, prompts

DEMO = Item(id="d", input="q", answer="5", reasoning="Two and three make five.", equation="2 + 3 = 5.")
ITEM = Item(id="1", input="What is 2 + 3?", answer="5")
TASK = Task(name="t", kind="number", items=(ITEM,), max_tokens=8)


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        ("reasoning", "Two and three make five. The answer is 5."),
        ("answer", "The answer is 5."),
        ("equation", "2 + 3 = 5. The answer is 5."),
        ("dots", ". . . . . The answer is 5."),
        ("after", "The answer is 5. Two and three make five."),
    ],
)
def test_styles(style: str, answer: str) -> None:
    assert ChainOfThought(style=style).demonstration_answer(TASK, DEMO) == answer


def test_every_style_is_a_control_of_the_first() -> None:
    controls = ChainOfThought(max_tokens=40).controls()
    assert set(controls) == set(STYLES) - {"reasoning"}
    assert controls["dots"] == ChainOfThought(style="dots", max_tokens=40)
    assert ChainOfThought().name == "chain of thought"
    assert controls["after"].name == "chain of thought, after"


def test_what_there_is_to_show() -> None:
    with pytest.raises(UserError, match="demo d: no reasoning"):
        ChainOfThought().demonstration_answer(TASK, dataclasses.replace(DEMO, reasoning=""))
    bare = dataclasses.replace(DEMO, equation="")
    assert ChainOfThought(style="equation").demonstration_answer(TASK, bare) == "5 The answer is 5."
    japanese = dataclasses.replace(DEMO, reasoning="二足す三は五です。")
    dots = ChainOfThought(style="dots").demonstration_answer(TASK, japanese)
    assert dots.count(".") - 1 == len("二足す三は五です。") // 2
    with pytest.raises(UserError, match="use one of reasoning"):
        ChainOfThought(style="maths")


def test_an_answer_has_room_for_its_reasoning() -> None:
    result, rounds = drive(ChainOfThought(max_tokens=96), TASK, ITEM, lambda text: "Two and three. The answer is 5.")
    assert rounds[0][0].request.sampling.max_tokens == 96  # type: ignore[union-attr]
    assert result.answer == "5"


def answer(text: str) -> str:
    return "So it is 5." if "Therefore" in text else "Two and three"


def test_zero_shot_in_two_calls() -> None:
    result, rounds = drive(ZeroShotCoT(), TASK, ITEM, answer)
    first, second = prompts(rounds)
    assert first == ["[user] What is 2 + 3?\nLet's think step by step."]
    assert second == [
        "[user] What is 2 + 3?\nLet's think step by step.\n[assistant] Two and three\n"
        "[user] Therefore, the answer (arabic numerals) is"
    ]
    assert result.answer == "5"
    assert [calls[0].request.sampling.max_tokens for calls in rounds] == [96, 8]  # type: ignore[union-attr]


def test_the_control_has_the_same_calls_without_the_trigger() -> None:
    (control,) = ZeroShotCoT().controls().values()
    _, rounds = drive(control, TASK, ITEM, answer)
    assert len(rounds) == 2
    assert "step by step" not in str(prompts(rounds))
    assert control.name == "two calls, no trigger"


def test_other_triggers_languages_and_kinds() -> None:
    own = ZeroShotCoT(trigger="First,")
    assert own.name == "zero-shot CoT 'First,'"
    assert "First," in prompts(drive(own, TASK, ITEM, answer)[1])[0][0]
    japanese = dataclasses.replace(TASK, language="ja", kind="word")
    assert "ステップ" in prompts(drive(ZeroShotCoT(), japanese, ITEM, lambda t: "x")[1])[0][0]
    choices = dataclasses.replace(ITEM, choices=("yes", "no"))
    task = dataclasses.replace(TASK, kind="choice", items=(choices,))
    result, rounds = drive(ZeroShotCoT(), task, choices, lambda t: "no")
    assert "(yes / no)" in prompts(rounds)[1][0]
    assert result.answer == "no"
    assert ZeroShotCoT().demonstration_answer(TASK, DEMO) == "Two and three make five. The answer is 5."
