"""The report of an experiment: its files, and what stands in them."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.judge_scores import JudgeCheck
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.grading.model_judge import JudgeAgreement, Verdicts
from kaiwa.lab.reports.experiment_report import (
    decided_items,
    difference_text,
    findings_csv,
    markdown,
    summary,
    write_logs,
    write_report,
)
from kaiwa.lab.reports.judge_report import faults_text, judge_cells, judge_heads, judge_rows
from kaiwa.lab.reports.logs import match, read_log
from kaiwa.lab.tasks.task import Grader, Item, Judge, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.report.words import Words
from kaiwa.stats.intervals import Interval, wilson
from kaiwa.stats.judged import JudgeRate

ITEMS = tuple(Item(id=f"q{i}", input=f"q{i}", answer="yes") for i in range(30))
TASK = Task(name="my.task", items=ITEMS)
ARMS = (Arm(name="A/1", technique=ZeroShot()), Arm(name="B", technique=ZeroShot()))
EXPERIMENT = Experiment(name="own", tasks=(TASK,), arms=ARMS, contrasts=(Contrast(a="A/1", b="B", claim="B helps"),))
WORDS = Words("en", "kaiwa.lab")


def outcomes(arm: str, right: int, **changes: object) -> list[ItemOutcome]:
    return [
        ItemOutcome(
            **{"task": "my.task", "arm": arm, "seed": 0, "id": f"q{i}", "answer": "yes" if i < right else "no | x",
               "valid": True, "score": float(i < right), "text": f"<b>{arm} says {i}</b>", "prompt": f"prompt {i}"}
            | changes  # type: ignore[arg-type]
        )
        for i in range(30)
    ]  # fmt: skip


ANALYSIS = analyse(EXPERIMENT, [*outcomes("A/1", 6), *outcomes("B", 26)], "tiny")


def test_the_files(tmp_path: Path) -> None:
    path = write_report(ANALYSIS, tmp_path / "run", {"en": "Too small.", "ja": "小さい。"})
    assert path == tmp_path / "run" / "report.html"
    assert {file.name for file in path.parent.iterdir()} == {
        "report.html", "report.md", "report.ja.md", "findings.csv", "outcomes.jsonl", "logs"
    }  # fmt: skip
    html = path.read_text()
    for text in (
        "Too small.",
        "小さい。",
        "better by 66.7 points",
        "B helps",
        "&lt;b&gt;B says 7&lt;/b&gt;",
        "prompt 7",
    ):
        assert text in html, text
    assert "<b>B says" not in html
    lines = (path.parent / "outcomes.jsonl").read_text().splitlines()
    assert len(lines) == 60
    assert json.loads(lines[0])["arm"] == "A/1"


def test_logs_can_be_compared_again(tmp_path: Path) -> None:
    write_logs(ANALYSIS, tmp_path / "logs")
    assert sorted(file.name for file in (tmp_path / "logs").iterdir()) == [
        "my__task__A_1.jsonl", "my__task__B.jsonl"
    ]  # fmt: skip
    a, b = (read_log(file) for file in sorted((tmp_path / "logs").iterdir()))
    pair = match(a, b)
    assert pair.compare(0.05).difference.mean == pytest.approx(20 / 30)


def test_failed_items_and_seeds_in_logs(tmp_path: Path) -> None:
    some = [*outcomes("A/1", 6), *outcomes("A/1", 8, seed=1), *outcomes("B", 26)]
    some[0] = dataclasses.replace(some[0], error="broken")
    write_logs(analyse(dataclasses.replace(EXPERIMENT, seeds=(0, 1)), some), tmp_path)
    log = read_log(tmp_path / "my__task__A_1.jsonl")
    assert log.failed == ("q0",)
    assert (log.values["q3"], log.values["q7"], log.values["q9"]) == (1.0, 0.5, 0.0)


def test_no_logs_where_scores_belong_to_pairs(tmp_path: Path) -> None:
    task = dataclasses.replace(TASK, grader=Grader(name="pairwise", judge=Judge(model="j")))
    experiment = dataclasses.replace(EXPERIMENT, tasks=(task,))
    analysis = dataclasses.replace(ANALYSIS, experiment=experiment)
    write_logs(analysis, tmp_path / "logs")
    assert list((tmp_path / "logs").iterdir()) == []


def test_markdown_is_a_table_that_survives_bars_and_lines() -> None:
    text = markdown(ANALYSIS, "en", "Too small.")
    assert text.startswith("# own\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table[:3]}) == 1
    assert "| B | A/1 | my.task | B helps | 30 | +66.7 [" in text
    assert "Too small." in text
    assert "判定" in markdown(ANALYSIS, "ja")


def test_csv_has_a_row_per_finding() -> None:
    (row,) = csv.DictReader(findings_csv(ANALYSIS).splitlines())
    assert (row["a"], row["b"], row["won"], row["lost"]) == ("A/1", "B", "20", "0")
    empty = analyse(dataclasses.replace(EXPERIMENT, arms=ARMS[:1], contrasts=()), outcomes("A/1", 6))
    assert findings_csv(empty) == ""


def test_differences_are_cut_at_what_is_possible() -> None:
    (finding,) = ANALYSIS.findings
    wide = dataclasses.replace(finding.comparison, difference=Interval(0.5, -1.2, 1.4, 3))
    assert difference_text(dataclasses.replace(finding, comparison=wide)) == "+50.0 [-100.0, +100.0]"


def test_decided_items_are_shown_from_both_sides() -> None:
    (finding,) = ANALYSIS.findings
    html = str(decided_items(ANALYSIS, finding, WORDS))
    assert html.count("<article") == 2, "two of those that B won, and none that it lost"
    assert "q6 · " in html
    assert "✗ no | x" in html
    assert "✓ yes" in html
    assert decided_items(ANALYSIS, dataclasses.replace(finding, won=(), lost=()), WORDS) is None


def test_the_summary_counts_verdicts() -> None:
    text = summary(ANALYSIS, WORDS)
    assert "1" in text
    assert summary(dataclasses.replace(ANALYSIS, findings=()), WORDS) != text


def check(**changes: object) -> JudgeCheck:
    rate = wilson(9, 10)
    verdicts = Verdicts(scores=(1.0, 0.0, None), survived=rate, yes=rate, first=wilson(0, 0), unread=1)
    agreed = JudgeAgreement(
        n=20, sensitivity=JudgeRate(right=9, n=10), specificity=JudgeRate(right=8, n=10), kappa=rate, verdicts=verdicts
    )
    values: dict[str, object] = {"task": "t", "judge": "big", "agreement": agreed, "run": verdicts}
    return JudgeCheck(**(values | changes))  # type: ignore[arg-type]


def test_a_judges_line() -> None:
    cells = judge_cells(check(), WORDS)
    assert len(cells) == len(judge_heads(WORDS))
    assert cells[:3] == ["t", "big", "20"]
    assert cells[3].startswith("90\u00a0% [")
    assert cells[5].startswith("0.70 [")
    assert cells[8] == "2 / 23"
    assert "<b>" in str(judge_rows(check(), WORDS)[-1])
    blind = JudgeAgreement(
        n=0, sensitivity=JudgeRate(right=0, n=0), specificity=JudgeRate(right=0, n=0),
        kappa=Interval(math.nan, math.nan, math.nan, 0), verdicts=check().run,
    )  # fmt: skip
    assert judge_cells(check(agreement=blind), WORDS)[3:7] == ["–"] * 4


def test_faults_in_words() -> None:
    assert faults_text(check(), WORDS) == WORDS("lab.judge.fault.yes") + "; " + WORDS("lab.judge.fault.unread")
    assert "lab.judge" not in faults_text(check(), WORDS)
    for fault in ("unread", "first", "yes", "no", "chance", "none"):
        assert WORDS.has(f"lab.judge.fault.{fault}")
        assert Words("ja", "kaiwa.lab").has(f"lab.judge.fault.{fault}")
