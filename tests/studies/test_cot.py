"""Chain of thought at laptop size: what is taught, that nothing graded is in it, and the whole at the smallest size."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.extract import extract
from kaiwa.studies.cot import QUICK, CoTConfig, experiment, study, train
from kaiwa.studies.cot_tasks import LENGTHS, arms, documents, sums
from kaiwa.text.chat_model import OpenedModel
from tests.lab.fakes import RuleModel


def test_the_working_is_right_and_the_graded_sums_are_in_no_document() -> None:
    graded = {item.input for item in sums(2, 300).items}
    texts = [d.text for d in documents(500, graded)]
    for text in texts:
        questions = re.findall(r"Question: (.*)", text)
        assert len(questions) == 3
        assert not graded & set(questions)
        for left, right in re.findall(r"([\d+\- ]+) = (\d+)\.", text):
            assert eval(left) == int(right), text
        for question, answer in zip(questions, re.findall(r"The answer is (\d+)\.", text), strict=True):
            assert eval(question.removeprefix("What is ").rstrip("?")) == int(answer)
    assert {text.count(" + ") + text.count(" - ") > 0 for text in texts} == {True}
    assert all(0 <= int(item.answer) <= 99 for length in LENGTHS for item in sums(length, 20).items)


def test_no_more_sums_are_asked_for_than_there_are() -> None:
    most = sums(2, CoTConfig(n=2055).n)
    assert len({item.input for item in (*most.items, *most.demos)}) == 2071
    for n in (0, 2056):
        with pytest.raises(UserError, match="1 to 2,055"):
            CoTConfig(n=n)


def test_every_arm_shows_the_same_sums_in_its_own_way() -> None:
    task = sums(4, 5)
    shown = {name: technique.examples(task) for name, technique in arms().items()}  # type: ignore[attr-defined]
    assert len({tuple(e.input for e in examples) for examples in shown.values()}) == 1
    assert len({examples[0].output for examples in shown.values()}) == 5
    assert {extract("number", examples[0].output) for examples in shown.values()} == {
        extract("number", shown["answer alone"][0].output)
    }


def test_the_whole_at_the_smallest_size(tmp_path: Path) -> None:
    """A stand-in that works sums out only where it was shown to: found by the harness, and nothing is trained twice."""
    config = replace(QUICK, n=20, documents=60, steps=2, d_model=16)
    right = {item.input: item for task in experiment(config).tasks for item in task.items}

    def rule(text: str, t: float, s: int) -> str:
        *_, shown, last = text.split("Question: ")
        item = right[last.split("\n")[0]]
        return f"{item.reasoning} The answer is {item.answer}." if "= " in shown.split("The answer")[0] else "12."

    said: list[str] = []
    ctx = Context(say=said.append)
    analysis = study(config, ctx, tmp_path, lambda place: OpenedModel(RuleModel(rule), "x", "text"))
    verdicts = {
        (f.task, f.contrast.b): f.comparison.verdict for f in analysis.findings if f.contrast.a == "answer alone"
    }
    assert verdicts["6 numbers", "chain of thought"] == "better"
    assert verdicts["6 numbers", "dots"] != "better"
    made = (tmp_path / "model" / "kaiwa.json").stat().st_mtime_ns
    assert train(config, ctx, tmp_path).path == tmp_path / "model"
    assert (tmp_path / "model" / "kaiwa.json").stat().st_mtime_ns == made
