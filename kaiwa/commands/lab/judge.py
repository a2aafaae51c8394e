"""kaiwa lab judge: judging of a finished run by a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.console import table
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.lab.asking.call_cache import Asker
    from kaiwa.lab.experiments.experiment import Experiment
    from kaiwa.lab.grading.model_judge import JudgeAgreement, Rubric
    from kaiwa.lab.tasks.task import Task


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Let a model judge a finished run (outcomes.jsonl in the run's folder).

    First the judge is checked on answers of known truth (kappa). With --a and --b the judge compares the two arms'
    answers in both orders; otherwise the judge grades each arm's answers, shown with the grader's share.
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]  # the experiment: FILE.toml or FILE.py
    outcomes: Positional[Annotated[Path, arg(metavar="OUTCOMES.jsonl")]]  # outcomes.jsonl of a run of the experiment
    judge: str  # the model that judges
    a: str = ""  # an arm
    b: str = ""  # another arm
    rubric: str = ""  # the judge's instructions
    task: str = ""  # default: the experiment's first task
    out: Path | None = None  # folder for the judge's calls (default: the folder of the outcomes)


def main(words: list[str]) -> None:
    """Check the judge model, let the model judge, and print the results."""
    options = read_options(Options, "kaiwa lab judge", words)
    from kaiwa.commands.lab.experiments import with_model
    from kaiwa.lab.asking.call_cache import Asker, CallCache
    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.grading.model_judge import Rubric, cases_from_demonstrations, measure_agreement
    from kaiwa.text.records import read_jsonl

    experiment = with_model(read_experiment(options.file), options)
    task = _task(experiment, options.task)
    outcomes = [row for row in read_jsonl(options.outcomes) if row.get("task") == task.name]
    if not outcomes:
        raise UserError(
            f"{options.outcomes}: no outcome of task {task.name!r}; give outcomes.jsonl of a run of {options.file}"
        )
    opened = open_model(options.choice(options.judge, experiment.url, experiment.api_key_env))
    folder = options.out or options.outcomes.parent
    asker = Asker(opened.model, CallCache(folder / "judge.jsonl"), opened.identity)
    rubric = Rubric(text=options.rubric)
    pairs = bool(options.a or options.b)
    agreed = measure_agreement(asker, task, cases_from_demonstrations(task, pairs), rubric)
    print(_agreement_text(agreed))
    if pairs:
        _print_preferences(asker, task, outcomes, (options.a, options.b), agreed, rubric=rubric)
    else:
        _print_grades(asker, task, outcomes, agreed, rubric)


def _task(experiment: Experiment, name: str) -> Task:
    """Return the experiment's task of this name, or the first task for ""."""
    for task in experiment.tasks:
        if name in ("", task.name):
            return task
    raise UserError(f"no task {name!r}; there is {json.dumps([task.name for task in experiment.tasks])}")


def _agreement_text(agreed: JudgeAgreement) -> str:
    from kaiwa.report.words import Words

    words = Words("en", "kaiwa.lab")
    sensitivity, specificity = agreed.rates()
    faults = [words(f"lab.judge.fault.{fault}") for fault in agreed.faults()]
    return (
        f"the judge on {agreed.n} cases of known truth: sensitivity {sensitivity}, specificity {specificity}, kappa"
        f" {agreed.kappa}, {agreed.verdicts.unread} unreadable; faults: {'; '.join(faults) or 'none found'}"
    )


def _print_preferences(
    asker: Asker,
    task: Task,
    outcomes: Sequence[Mapping[str, Any]],
    arms: tuple[str, str],
    agreed: JudgeAgreement,
    *,
    rubric: Rubric,
) -> None:
    """Print the judge's preferences between two arms, corrected for the judge's errors."""
    from kaiwa.lab.experiments.verdicts import points_text, verdict_text
    from kaiwa.lab.grading.model_judge import compare_answers
    from kaiwa.stats.judged import compare_judged

    replies: dict[str, dict[str, str]] = {}
    for row in outcomes:
        if not row.get("error"):
            replies.setdefault(row["arm"], {}).setdefault(row["id"], row["text"])
    for name in arms:
        if name not in replies:
            raise UserError(f"no arm {name!r} in the outcomes; there is {', '.join(replies)}")
    a, b = (replies[name] for name in arms)
    pairs = [(item, a[item.id], b[item.id]) for item in task.items if item.id in a and item.id in b]
    preferences = compare_answers(asker, task, pairs, rubric)
    scores = [score for score in preferences.scores if score is not None]
    lost, won = ([float(s == side) for s in scores] for side in (0.0, 1.0))
    compared = compare_judged(lost, won, agreed.sensitivity, agreed.specificity)
    d = compared.difference
    ties = len(scores) - compared.won - compared.lost
    print(f"{arms[1]} against {arms[0]}: {compared.won} won, {ties} tied, {compared.lost} lost of {len(pairs)}")
    low, high = points_text(d.low), points_text(d.high)
    print(f"won - lost, corrected for the judge's errors: {points_text(d.mean)} points [{low}, {high}]")
    print(f"verdict: {verdict_text(compared)}")
    print(
        f"same preference in both orders: {preferences.survived}; preference for the first answer: {preferences.first};"
        f" unreadable: {preferences.unread}"
    )


def _print_grades(
    asker: Asker, task: Task, outcomes: Sequence[Mapping[str, Any]], agreed: JudgeAgreement, rubric: Rubric
) -> None:
    """Print for each arm the judge's share of right answers, corrected for its errors, and the grader's share."""
    from kaiwa.lab.grading.model_judge import grade_answers, kappa
    from kaiwa.stats.intervals import NOTHING
    from kaiwa.stats.shares import corrected_share

    items = {item.id: item for item in task.items}
    rows = [["arm", "read", "judge: right", "corrected for its errors", "grader", "kappa with the grader"]]
    a, b = agreed.sensitivity, agreed.specificity
    for arm in dict.fromkeys(row["arm"] for row in outcomes):
        answers = [row for row in outcomes if row["arm"] == arm and not row.get("error") and row["id"] in items]
        scores = grade_answers(asker, task, [(items[row["id"]], row["text"]) for row in answers], rubric).scores
        pairs = [(s, row["score"] or 0) for s, row in zip(scores, answers, strict=True) if s is not None]
        right, n = sum(s for s, _ in pairs), len(pairs)
        share = (
            corrected_share(right, n, true_positives=a.right, bad=a.n, true_negatives=b.right, good=b.n)
            if agreed.youden_j.low > 0
            else NOTHING
        )
        k = kappa([s > 0.5 for s, _ in pairs], [score >= 1 for _, score in pairs])
        cells = [f"{right / max(1, n):.0%}", str(share) if share.n else "–"]
        cells += [f"{sum(score >= 1 for _, score in pairs) / max(1, n):.0%}", str(k)]
        rows.append([arm, f"{n} of {len(answers)}", *cells])
    print(table(rows))
