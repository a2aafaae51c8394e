"""What is no answer is failed or named, and never wrong."""

import json
from pathlib import Path

import pytest

from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.run import ItemOutcome, run
from kaiwa.lab.reports.experiment_report import write_report
from kaiwa.lab.reports.gate import check_gate, parse_gate
from kaiwa.lab.tasks.by_name import task_from_file
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import read_rows
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


class Ends:
    """Answers every prompt with one completion."""

    name = "ends"

    def __init__(self, *completions: Completion) -> None:
        self.completions = list(completions)

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return self.completions.pop(0) if len(self.completions) > 1 else self.completions[0]

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return [0.0]


def task(n: int = 2, kind: str = "number") -> Task:
    items = tuple(Item(id=str(i), input=f"q{i}", answer="7") for i in range(n))
    return Task(name="t", kind=kind, items=items, grader=Grader(name="number" if kind == "number" else "exact"))


def outcomes(*completions: Completion, folder: Path | None = None, kind: str = "number") -> list[ItemOutcome]:
    experiment = Experiment(name="e", tasks=(task(kind=kind),), arms=(Arm(name="a", technique=ZeroShot()),))
    return run(experiment, Ends(*completions), folder / "calls.jsonl" if folder else None)


@pytest.mark.parametrize(("reason", "message"), [("content_filter", "content filter"), ("tool_calls", "called a tool")])
def test_what_the_server_stopped_is_failed(reason: str, message: str) -> None:
    first, second = outcomes(Completion(text="", finish_reason=reason), Completion(text="7"))
    assert message in first.error
    assert (second.score, second.error) == (1.0, "")


@pytest.mark.parametrize(
    ("text", "reason", "name"),
    [
        ("I cannot help with that.", "stop", "refused"),
        ("No.", "refusal", "refused"),
        ("", "stop", "empty"),
        ("", "length", "cut at the limit"),
        ("<think>7 or", "length", "only thoughts"),
        ("First I add 3 and 4, which", "length", "cut at the limit"),
        ("It is blue.", "stop", "unreadable"),
    ],
)
def test_no_answer_has_a_name(text: str, reason: str, name: str) -> None:
    first, _ = outcomes(Completion(text=text, finish_reason=reason))
    assert (first.answer, first.valid, first.no_answer, first.error) == (None, False, name, "")


@pytest.mark.parametrize(
    ("kind", "text", "choices", "answer"),
    [
        ("number", "The answer is 7. I know because 3", (), "7"),
        ("number", "7.\n\nThe reason is that 3 and", (), "7"),
        ("number", "7\n\nQuestion: What is 3", (), "7"),
        ("number", "3 apples and 4 pears are", (), None),
        ("choice", "The review sounds positive and the", ("positive", "negative"), "positive"),
        ("choice", "The positive and negative parts of the", ("positive", "negative"), None),
        ("word", "Paris\nParis is the capital of", (), "Paris"),
        ("word", "The capital of the whole country of France is", (), None),
    ],
)
def test_of_a_reply_that_was_cut_only_what_is_stated_counts(
    kind: str, text: str, choices: tuple[str, ...], answer: str | None
) -> None:
    assert extract(kind, text, choices, cut=True) == answer


def test_the_report_names_what_was_no_answer(tmp_path: Path) -> None:
    experiment = Experiment(name="e", tasks=(task(),), arms=(Arm(name="a", technique=ZeroShot()),))
    model = Ends(Completion(text="I cannot help with that."), Completion(text="7"))
    analysis = analyse(experiment, run(experiment, model))
    assert dict(analysis.arms[0].histogram) == {"— refused": 1, "7": 1}
    write_report(analysis, tmp_path)
    assert "refused" in (tmp_path / "report.html").read_text()


def test_lone_surrogates_end_no_run(tmp_path: Path) -> None:
    first, _ = outcomes(Completion(text="7 \ud83d"), folder=tmp_path)
    assert first.answer == "7"
    assert "\ufffd" in (tmp_path / "calls.jsonl").read_text()
    rows = "".join(json.dumps({"q": f"x \ud800 {i}", "answer": "7"}) + "\n" for i in range(3))
    (tmp_path / "rows.jsonl").write_text(rows)
    assert len(read_rows(tmp_path / "rows.jsonl")) == 3
    made = task_from_file(tmp_path / "rows.jsonl", prompt=Prompt(input="{q}"), n_demos=1)
    assert made.items[0].input.encode()


def test_a_gate_does_not_pass_over_failed_items() -> None:
    gate = parse_gate("B not worse than A by 5 points")
    same = [1.0, 0.0] * 100
    assert check_gate(gate, same, same).passed
    half = check_gate(gate, same, same, n_failed=200)
    assert not half.passed
    assert "200 failed, counted against it" in half.sentence
    assert "3 items are in one log only" in check_gate(gate, same, same, n_unmatched=3).sentence
