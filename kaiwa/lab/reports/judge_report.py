"""A judge's quality in a report: on labelled cases and over the run, with its faults in words."""

from __future__ import annotations

from kaiwa.lab.experiments.judge_scores import JudgeCheck
from kaiwa.report import figures
from kaiwa.report.html import Child, tag
from kaiwa.report.words import Words
from kaiwa.stats.intervals import Interval

KEYS = ("task", "judge", "labelled", "sensitivity", "specificity", "told", "kappa", "survived", "unread", "faults")


def judge_cells(check: JudgeCheck, words: Words) -> list[str]:
    """Return a line of the judges' table as text; intervals in brackets."""
    agreed = check.agreement
    sensitivity, specificity = agreed.rates()
    shares = [_share(i) for i in (sensitivity, specificity)]
    numbers = [
        f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]" if i.n else figures.NONE for i in (agreed.youden_j, agreed.kappa)
    ]
    unread = agreed.verdicts.unread + check.run.unread
    of = agreed.n + len(check.run.scores)
    survived = _share(check.run.survived)
    return [
        check.task,
        check.judge,
        str(agreed.n),
        *shares,
        *numbers,
        survived,
        f"{unread} / {of}",
        faults_text(check, words),
    ]


def faults_text(check: JudgeCheck, words: Words) -> str:
    texts = [words(f"lab.judge.fault.{fault}") for fault in check.faults()]
    return "; ".join(texts) or words("lab.judge.fault.none")


def judge_heads(words: Words) -> list[str]:
    return [words("lab.task"), *(words(f"lab.judge.{key}") for key in KEYS[1:])]


def judge_rows(check: JudgeCheck, words: Words) -> list[Child]:
    """Return the same line as cells of an HTML table, the faults in bold."""
    cells: list[Child] = [*judge_cells(check, words)]
    cells[-1] = tag("td", tag("b", str(cells[-1])))
    return [cells[0], *(c if i == len(cells) - 2 else tag("td", str(c)) for i, c in enumerate(cells[1:]))]


def _share(interval: Interval) -> str:
    value = interval.to_json()
    if value["mean"] is None:
        return figures.NONE
    return f"{figures.percent(value['mean'])} [{figures.limits(value)}]"
