"""A model as an experiment's grader: from the file to the verdict, with good judges and bad ones."""

import json
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kaiwa.commands.lab.experiments import check_judges
from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import Analysis, analyse, finding_rows
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.experiment_file import experiment_from_toml
from kaiwa.lab.experiments.judge_scores import apply_judges, read_labels
from kaiwa.lab.experiments.run import run
from kaiwa.lab.experiments.verdicts import verdict_text
from kaiwa.lab.reports.experiment_report import write_report
from kaiwa.lab.tasks.task import Grader, Item, Judge, Task
from kaiwa.text.chat_model import OpenedModel
from tests.lab.fakes import Rule, RuleModel
from tests.lab.test_lab_judge import honest

SHARES = {"plain": 0.4, "good": 0.7, "twin": 0.4}


@dataclass(frozen=True)
class Weighted:
    """A technique that is right as often as its name says; the model repeats what it is told."""

    name: str

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return demo.answer

    def run(self, task: Task, item: Item, decoding: object) -> object:
        right = random.Random(f"{self.name} {item.id}").random() < SHARES[self.name]
        (reply,) = yield (decoding.call(f"say {item.answer if right else item.answer + 'x'}", 8),)  # type: ignore[attr-defined]
        from kaiwa.lab.asking.program import ProgramResult

        return ProgramResult(text=reply.text)

    def controls(self) -> dict[str, object]:
        return {}


def task(n: int, grader: str = "model", labels: str = "") -> Task:
    made = [Item(id=f"i{i}", input=f"question {i}", answer=f"word{i}") for i in range(n + 40)]
    judge = Judge(model="judge", labels=labels)
    return Task(name="t", items=tuple(made[40:]), demos=tuple(made[:40]), grader=Grader(name=grader, judge=judge))


def analysed(rule: Rule, n: int = 160, grader: str = "model", labels: str = "") -> Analysis:
    arms = tuple(Arm(name=name, technique=Weighted(name)) for name in SHARES)  # type: ignore[arg-type]
    contrasts = (Contrast(a="plain", b="good"), Contrast(a="plain", b="twin"))
    made = Experiment(name="x", tasks=(task(n, grader, labels),), arms=arms, contrasts=contrasts, model="m")
    outcomes = run(made, RuleModel(lambda text, t, s: text.removeprefix("say ")))
    outcomes, checks = apply_judges(made, outcomes, lambda judge: OpenedModel(RuleModel(rule, name=judge.model)))
    return analyse(made, outcomes, "m", checks)


def test_a_judge_is_opened_once_for_all_its_tasks() -> None:
    def with_key(name: str, key: str) -> Task:
        judge = Judge(model="judge", url="http://there/v1", api_key_env=key)
        return replace(task(2), name=name, grader=Grader(name="model", judge=judge))

    opened: list[str] = []

    def open_judge(judge: Judge) -> OpenedModel:
        opened.append(judge.api_key_env)
        return OpenedModel(RuleModel(honest, name=judge.model))

    tasks = (with_key("a", "ONE"), with_key("b", "ONE"), with_key("c", "TWO"))
    made = Experiment(name="x", tasks=tasks, arms=(Arm(name="plain", technique=Weighted("plain")),), model="m")  # type: ignore[arg-type]
    _, checks = apply_judges(made, [], open_judge)
    assert (set(checks), opened) == ({"a", "b", "c"}, ["ONE", "TWO"])


def noisy(text: str, t: float, s: int) -> str:
    """Errs in a fifth of the cases, whatever the order."""
    said = honest(text)
    wrong = random.Random("".join(sorted(text))).random() < 0.2
    return {"yes": "no", "no": "yes"}[said] if wrong else said


def test_a_good_judge_grades_as_a_rule_would() -> None:
    found = analysed(honest)
    plain, good = found.arms[:2]
    assert plain.accuracy.mean == pytest.approx(sum(o.score for o in found.outcomes if o.arm == "plain") / 160)
    assert found.findings[0].comparison.verdict == "better"
    assert found.findings[0].comparison.difference.mean == pytest.approx(good.accuracy.mean - plain.accuracy.mean)
    assert found.checks["t"].faults() == ()


def test_a_noisy_judges_errors_are_taken_out_and_widen_the_interval() -> None:
    true, told = (analysed(rule, 600).findings[0].comparison for rule in (honest, noisy))
    called = told.mean_b - told.mean_a
    assert called < true.difference.mean - 0.05, "a judge that errs hides a part of the difference"
    assert abs(told.difference.mean - true.difference.mean) < 0.09
    assert told.difference.low < true.difference.mean < told.difference.high
    assert told.difference.high - told.difference.low > true.difference.high - true.difference.low


@pytest.mark.parametrize(
    ("said", "fault"), [("yes", "yes"), ("no", "no"), ("well, it depends", "unread")], ids=["yes", "no", "unread"]
)
def test_bad_judges_decide_nothing_and_are_named(said: str, fault: str, tmp_path: Path) -> None:
    if fault == "unread":
        found = analysed(lambda *_: said, 12)
        assert {o.error for o in found.outcomes} == {
            f"item {o.id}: the judge's verdict could not be read" for o in found.outcomes
        }
        assert all(arm.failed == 12 for arm in found.arms), "unreadable is failed, never wrong"
    else:
        found = analysed(lambda *_: said)
        assert {verdict_text(f.comparison) for f in found.findings} == {
            "cannot tell: the judge is not shown to be better than a coin"
        }
        assert math.isnan(found.arms[0].accuracy.mean)
    assert found.checks["t"].faults() == (fault, "chance")
    write_report(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "not shown to be better than a coin" in text
    assert "偶然より正しいと示されていない" in (tmp_path / "report.html").read_text()
    json.loads((tmp_path / "outcomes.jsonl").read_text().splitlines()[0])


def test_pairwise_prefers_between_the_arms_of_a_contrast(tmp_path: Path) -> None:
    def right_one(text: str, t: float, s: int) -> str:
        a, b = (text.split(f"Answer {letter}:\n")[1].split("\n")[0] for letter in "AB")
        question = text.split("question ")[1].split("\n")[0]
        return "tie" if (a == f"word{question}") == (b == f"word{question}") else "A" if a == f"word{question}" else "B"

    found = analysed(right_one, grader="pairwise")
    rule = analysed(honest)
    for one, two in zip(found.findings, rule.findings, strict=True):
        assert (one.comparison.lost, one.comparison.won) == (two.comparison.lost, two.comparison.won), (
            "preferring the right is grading"
        )
        assert one.comparison.difference.mean == pytest.approx(two.comparison.difference.mean)
    assert math.isnan(found.arms[0].accuracy.mean), "shares belong to pairs"
    write_report(found, tmp_path)
    assert not list((tmp_path / "logs").iterdir())
    first = analysed(lambda *_: "A", grader="pairwise")
    assert first.checks["t"].faults() == ("first", "chance")
    assert {f.comparison.verdict for f in first.findings} == {"unjudged"}
    assert finding_rows(first)[0]["judge"] == "first, chance"


def test_labels_by_people_and_their_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    made = [
        {"input": f"q{i}", "right": "yes", "answer": "yes" if i % 2 else "nay", "correct": i % 2 == 1}
        for i in range(60)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    found = analysed(honest, 20, labels=str(file))
    assert (found.checks["t"].agreement.n, found.checks["t"].agreement.sensitivity.n) == (60, 30)
    file.write_text(json.dumps(made[0] | {"correct": "perhaps"}) + "\n")
    with pytest.raises(UserError, match="row 1: correct is 'perhaps'"):
        read_labels(file, task(1))
    file.write_text(json.dumps(made[1]) + "\n")
    with pytest.raises(UserError, match="no wrong answer among the labelled"):
        analysed(honest, 4, labels=str(file))
    with pytest.raises(UserError, match=r"row 1: no 'a'"):
        read_labels(file, task(1, "pairwise"))


def test_labels_of_pairs(tmp_path: Path) -> None:
    """right: whether B, the pair's second, is the better one."""
    row = {"input": "q", "a": "one", "b": "two"}
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row | {"better": better}) + "\n" for better in ("a", " B ")))
    pairs = read_labels(file, task(1, "pairwise"))
    assert [(p.other, p.answer, p.right) for p in pairs] == [("one", "two", False), ("one", "two", True)]
    assert [p.item.id for p in pairs] == ["label-0", "label-1"]
    file.write_text(json.dumps(row | {"better": "both"}) + "\n")
    with pytest.raises(UserError, match=r"row 1: better is 'both'; a or b"):
        read_labels(file, task(1, "pairwise"))
    file.write_text("")
    with pytest.raises(UserError, match="no labels in it"):
        read_labels(file, task(1))


def test_labels_of_answers_say_true_in_several_ways(tmp_path: Path) -> None:
    row = {"input": "q", "right": 4, "answer": 5}
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row | {"correct": value}) + "\n" for value in (True, "TRUE", 1, False, "0")))
    labels = read_labels(file, task(1))
    assert [label.right for label in labels] == [True, True, True, False, False]
    assert {(label.item.answer, label.answer) for label in labels} == {("4", "5")}


def test_a_judge_from_a_file(tmp_path: Path) -> None:
    grader = {"name": "model", "model": "j", "rubric": "Be kind.", "labels": "l.jsonl"}
    values = {"tasks": [{"name": "facts-en", "n": 4, "grader": grader}], "arms": [{"technique": "zero-shot"}]}
    made = experiment_from_toml(values, tmp_path / "x.toml")
    assert made.tasks[0].grader.judge == Judge(model="j", rubric="Be kind.", labels=str(tmp_path / "l.jsonl"))
    assert "Be kind." in json.dumps(made.plan_json())
    for grader, told in (
        ({"name": "model"}, "needs model"),
        ({"name": "modle"}, "did you mean 'model'"),
        ({"name": "model", "model": "j", "rubrik": ""}, "did you mean 'rubric'"),
        ({"name": "exact", "model": "j"}, "has no 'model'"),
    ):
        values["tasks"] = [{"name": "facts-en", "n": 4, "grader": grader}]
        with pytest.raises(UserError, match=told):
            experiment_from_toml(values, tmp_path / "x.toml")
    with pytest.raises(UserError, match="belongs to"):
        Grader(name="exact", judge=Judge(model="j"))
    alone = Experiment(name="x", tasks=(task(2),), arms=(Arm(name="plain", technique=Weighted("plain")),))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="graded by a model"):
        analyse(alone, run(alone, RuleModel(lambda text, t, s: "x")))


def test_a_judge_that_is_not_here_is_told_before_the_first_question(tmp_path: Path) -> None:
    grader = {"name": "model", "model": "nosuch"}
    values = {"tasks": [{"name": "facts-en", "n": 4, "grader": grader}], "arms": [{"technique": "zero-shot"}]}
    experiment = experiment_from_toml(values, tmp_path / "x.toml")
    with pytest.raises(UserError, match="no model 'nosuch'"):
        check_judges(experiment)
    check_judges(replace(experiment, url="http://127.0.0.1:9/v1"))  # its names are the server's
