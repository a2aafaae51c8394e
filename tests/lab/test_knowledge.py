"""Generated knowledge: statements before the question, and the choice that one of them makes likeliest."""

import dataclasses

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.knowledge import GeneratedKnowledge
from kaiwa.text.chat_model import ScoreCall

from .drive import drive, prompts

ITEM = Item(
    id="1", input="What does Olun do?", answer="ferryman", choices=("clerk", "ferryman"), knowledge="Olun rows."
)
OTHERS = (
    Item(id="2", input="x", answer="clerk", choices=("clerk", "ferryman"), knowledge="Tavira writes."),
    Item(id="3", input="y", answer="ferryman", choices=("clerk", "ferryman"), knowledge="Robin rows."),
)
TASK = Task(name="t", kind="choice", items=(ITEM, *OTHERS))


def answer(text: str) -> str:
    """Writes two facts; finds "ferryman" likely behind the right one."""
    if "|" not in text:
        return "Olun rows.\nMore" if "short fact" in text else ""
    choice = text.rpartition("|")[2]
    if "Olun rows." in text:
        return "-0.1" if choice == "ferryman" else "-5"
    return "-1" if choice == "clerk" else "-2"


def test_the_model_writes_its_own_and_the_surest_statement_decides() -> None:
    result, rounds = drive(GeneratedKnowledge(n=3), TASK, ITEM, answer)
    assert [len(calls) for calls in rounds] == [3, 4], (
        "three statements that are equal are one; two contexts, two choices"
    )
    assert [call.sample for call in rounds[0]] == [0, 1, 2]
    assert {call.request.sampling.stop for call in rounds[0]} == {("\n",)}  # type: ignore[union-attr]
    assert result.answer == "ferryman"
    assert result.notes == {"knowledge": ["Olun rows. More"]}
    assert "Fact: Olun rows. More\n\nWhat does Olun do?" in prompts(rounds)[1][2]


def test_without_knowledge_the_question_alone_decides() -> None:
    result, rounds = drive(GeneratedKnowledge(source="none"), TASK, ITEM, answer)
    assert [len(calls) for calls in rounds] == [2]
    assert result.answer == "clerk"


def test_gold_and_shuffled() -> None:
    gold, _ = drive(GeneratedKnowledge(source="gold"), TASK, ITEM, answer)
    assert (gold.answer, gold.notes) == ("ferryman", {"knowledge": ["Olun rows."]})
    shuffled, _ = drive(GeneratedKnowledge(source="shuffled"), TASK, ITEM, answer)
    assert shuffled.notes == {"knowledge": ["Tavira writes."]}, "of an item with another answer"


def test_shares_of_one_context_are_compared_and_not_raw_likelihoods() -> None:
    def rate(text: str) -> str:
        first = "Olun rows." not in text
        choice = text.rpartition("|")[2]
        return {(True, "clerk"): "-1", (True, "ferryman"): "-1.2", (False, "clerk"): "-30", (False, "ferryman"): "-20"}[
            first, choice
        ]

    result, _ = drive(GeneratedKnowledge(source="gold"), TASK, ITEM, rate)
    assert result.answer == "ferryman", "nearly all of the second context's mass"


def test_text_form_has_a_space_before_a_choice() -> None:
    task = dataclasses.replace(TASK, form="text", prompt=dataclasses.replace(TASK.prompt, output_indicator="Answer:"))
    _, rounds = drive(GeneratedKnowledge(source="gold"), task, ITEM, answer)
    request = rounds[0][2].request
    assert isinstance(request, ScoreCall)
    assert request.context == "Fact: Olun rows.\n\nWhat does Olun do?\nAnswer:"
    assert request.continuation == " clerk"


def test_what_is_missing() -> None:
    for item, source, message in (
        (dataclasses.replace(ITEM, choices=()), "none", "there are none"),
        (dataclasses.replace(ITEM, knowledge=""), "gold", "no knowledge noted"),
    ):
        with pytest.raises(UserError, match=message):
            drive(GeneratedKnowledge(source=source), TASK, item, answer)
    with pytest.raises(UserError, match="no other item's knowledge"):
        drive(GeneratedKnowledge(source="shuffled"), Task(name="t", items=(ITEM,)), ITEM, answer)
    with pytest.raises(UserError, match="use one of self"):
        GeneratedKnowledge(source="mine")


def test_names_and_controls() -> None:
    technique = GeneratedKnowledge()
    assert technique.name == "generated knowledge"
    assert list(technique.controls()) == ["plain", "none knowledge", "shuffled knowledge", "gold knowledge"]
    assert technique.demonstration_answer(TASK, ITEM) == "ferryman"
