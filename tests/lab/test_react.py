"""ReAct: steps, observations, forced and invalid actions."""

import dataclasses

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.tools import ToolError
from kaiwa.lab.techniques.react import SHOTS, ReAct, observe

from .drive import drive, prompts

TEXTS = ("Olun is a ferryman. Olun lives on Reed Bank.",)
ITEM = Item(id="1", input="What does Olun do?", answer="ferryman")
TASK = Task(name="t", kind="word", items=(ITEM,))


def scripted(*replies: str):  # type: ignore[no-untyped-def]
    rest = list(replies)
    return lambda text: rest.pop(0)


def test_thought_action_observation_until_finish() -> None:
    answer = scripted(" I look.\nAction 1: Search[Olun]", " It is ferryman.\nAction 2: Finish[ferryman]")
    result, rounds = drive(ReAct(texts=TEXTS), TASK, ITEM, answer)
    assert result.answer == "ferryman"
    assert (result.notes["actions"], result.notes["forced"], result.notes["invalid"]) == (2, 0, 0)
    second = prompts(rounds)[1][0]
    assert "Action 1: Search[Olun]\nObservation 1: Olun is a ferryman. Olun lives on Reed Bank.\nThought 2:" in second
    assert rounds[0][0].request.sampling.stop == ("\nObservation", "\n\n")  # type: ignore[union-attr]
    assert "Search[…], Lookup[…]" in prompts(rounds)[0][0]


def test_a_line_without_an_action_is_forced() -> None:
    result, rounds = drive(ReAct(), TASK, ITEM, scripted("I think so.\nand more", " Finish[x]"))
    assert prompts(rounds)[1][0].endswith("Thought 1: I think so.\nAction 1:")
    assert result.notes["forced"] == 1
    assert result.answer == "x"


def test_an_invalid_action_ends_the_program() -> None:
    result, rounds = drive(ReAct(), TASK, ITEM, scripted("Hm.", "Hm again."))
    assert (result.answer, result.notes["invalid"], len(rounds)) == (None, 1, 2)
    acts, rounds = drive(ReAct(thoughts=False), TASK, ITEM, scripted("Hm."))
    assert (acts.answer, len(rounds)) == (None, 1), "act only: nothing is forced"


def test_steps_are_bounded() -> None:
    result, rounds = drive(ReAct(steps=2), TASK, ITEM, lambda text: "a\nAction: Calc[1+1]")
    assert len(rounds) == 2
    assert result.answer is None
    assert result.notes["transcript"].count("Observation") >= 2 + 2, "two of the examples and two of its own"


def test_japanese_names_of_actions_and_text_form() -> None:
    task = dataclasses.replace(TASK, language="ja")
    result, rounds = drive(ReAct(form="text"), task, ITEM, scripted("思う\n行動 1: 計算[2*3]", "\n行動 2: 終了［6］"))
    assert "観察 1: 6" in prompts(rounds)[1][0]
    assert isinstance(rounds[0][0].request.prompt, str)  # type: ignore[union-attr]
    assert result.answer == "6"


def test_what_tools_answer() -> None:
    def cannot(text: str) -> str:
        raise ToolError("not that")

    def breaks(text: str) -> str:
        raise KeyError("bug")

    tools = {"Calc": lambda text: "x" * 900, "Date": cannot, "Search": breaks}
    assert len(observe(tools, "Calc", "1")) == 400
    assert observe(tools, "Date", "1") == "not that"
    assert observe(tools, "Look", "1") == "there is no action Look; use Calc, Date, Search or Finish"
    with pytest.raises(UserError, match=r"Search.*KeyError"):
        observe(tools, "Search", "1")


def test_controls_and_demonstrations() -> None:
    react = ReAct(texts=TEXTS, steps=3)
    controls = react.controls()
    assert controls["act only"] == ReAct(texts=TEXTS, steps=3, thoughts=False)
    assert [react.name, controls["act only"].name] == ["ReAct", "act only"]
    assert react.demonstration_answer(TASK, ITEM) == "Finish[ferryman]"


def test_the_demonstrations_are_written_as_they_were_measured() -> None:
    """Each answer in the log was measured with these words, and cached calls are found by them."""
    first, second = (question for question, _ in SHOTS["en"])
    assert first == "Question: A box holds 12 pens. How many pens are in 7 boxes?"
    assert second == "Question: Rosa had 31 stamps and gave away 9. How many are left?"
