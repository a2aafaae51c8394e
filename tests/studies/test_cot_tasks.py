"""Worked-out sums: right at every step, and taught in five ways."""

import re

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment import Experiment
from kaiwa.lab.tasks.tools import calculate
from kaiwa.lab.techniques.thought import STYLES
from kaiwa.studies.cot import ASKED, CLAIMS, QUICK, CoTConfig, experiment
from kaiwa.studies.cot_tasks import DEMOS, MOST, PAIRS, SHOTS, arms, documents, sums


@pytest.mark.parametrize("length", ASKED)
def test_every_step_is_right_and_stays_in_range(length: int) -> None:
    task = sums(length, 50)
    assert len({item.input for item in (*task.items, *task.demos)}) == 50 + DEMOS
    for item in task.items:
        expression = item.input.removeprefix("What is ").rstrip("?")
        assert calculate(expression) == item.answer
        steps = item.reasoning.split(". ")
        assert len(steps) == length - 1
        total = int(expression.split()[0])
        for step in steps:
            left, result = step.rstrip(".").split(" = ")
            assert left.split()[0] == str(total)
            assert calculate(left) == result
            total = int(result)
            assert 0 <= total <= MOST
        assert str(total) == item.answer
        assert item.equation == f"{expression} = {item.answer}."


def test_documents_take_the_ways_in_turn_and_leave_out_the_graded() -> None:
    graded = {item.input for item in sums(2, 200).items}
    made = list(documents(50, graded))
    assert len({document.text for document in made}) == 50
    texts = [document.text for document in made]
    assert not any(question in text for question in graded for text in texts)
    for text in texts:
        assert text.count("Question:") == SHOTS + 1
    assert all("The answer is" in text for text in texts)
    dots = [text for text in texts if ". . ." in text]
    assert len(dots) == 50 // len(STYLES)
    assert list(documents(5, graded)) == made[:5]


def test_a_documents_last_answer_is_right() -> None:
    for document in documents(40, ()):
        question = re.findall(r"What is (.*?)\?", document.text)[-1]
        answers = re.findall(r"The answer is (\d+)\.", document.text)
        assert answers[-1] == calculate(question)


def test_the_arms_and_what_is_claimed_of_them() -> None:
    assert list(arms()) == ["answer alone", "chain of thought", "equation only", "dots", "reasoning after"]
    one = experiment(CoTConfig(n=5))
    assert isinstance(one, Experiment)
    assert [task.name for task in one.tasks] == ["2 numbers", "4 numbers", "6 numbers"]
    assert {(c.a, c.b) for c in one.contrasts} == {(a, b) for a, b, _ in CLAIMS}
    assert {len(task.items) for task in one.tasks} == {5}
    assert one.form == "text"


def test_there_are_only_so_many_sums_of_two_numbers() -> None:
    pairs = {(a, sign, b) for a in range(1, 60) for b in range(1, 20) for sign in "+-" if sign == "+" or a >= b}
    assert len(pairs) == PAIRS, "59 · 19 sums, and the differences that do not go below 0"
    for n in (0, PAIRS - DEMOS + 1):
        with pytest.raises(UserError, match="different sums of two numbers"):
            CoTConfig(n=n)
    assert QUICK.pretrain().steps == 20
