"""lab search, judge, lint: parse, call, print."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.commands.lab_run import MODEL_OPTIONS, open_model
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.lab.experiments.experiment import Experiment
    from kaiwa.lab.grading.model_judge import JudgeAgreement
    from kaiwa.lab.tasks.task import Task
    from kaiwa.text.chat_model import OpenedModel

SEARCH_USAGE = """usage: kaiwa lab search FILE.toml|FILE.py [--share X] [--out DIR] [--model MODEL] [--url URL] …

The experiment's arms are candidates, its first arm the baseline, and it has one task. Candidates are compared on dev
items (--share of them, default 0.5); the winner meets the baseline on the test items, which nothing was chosen by.
"""
JUDGE_USAGE = """usage: kaiwa lab judge FILE.toml|FILE.py OUTCOMES.jsonl --judge MODEL [--a ARM --b ARM] [--rubric TEXT]
                       [--task NAME] [--url URL] [--api-key-env NAME] [--out DIR]

A model as judge of a finished run (outcomes.jsonl in its folder). First it is checked against answers of known truth
(kappa). Then, with --a and --b: which arm's answers it prefers, both orders asked. Without: each arm's share that it
calls right, beside the grader's.
"""
LINT_USAGE = """usage: kaiwa lab lint FILE…

FILE   an experiment (.toml or .py with tasks and arms), or a prompt (.toml, .md). Exit code 1 where there is an error.
"""


def search(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(SEARCH_USAGE, end="")
        return
    rest, options = read_words(words, MODEL_OPTIONS | {"share": float}, ())
    experiment = _experiment(rest, options)
    share = options.get("share", 0.5)
    if not 0 < share < 1:
        raise UserError(f"--share {share}: give the dev items' share, between 0 and 1")
    from kaiwa.lab.experiments.prompt_search import describe_search
    from kaiwa.lab.experiments.prompt_search import search_prompt as run
    from kaiwa.lab.reports.experiment_report import write_report

    out = Path(options.get("out") or Path("runs") / "lab" / f"{experiment.name}-search")
    found = run(experiment, _opener(experiment, options), out, share)
    print(describe_search(found))
    print(f"report: {write_report(found.test, out / 'test')}")


def judge(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(JUDGE_USAGE, end="")
        return
    kinds = MODEL_OPTIONS | {"judge": str, "a": str, "b": str, "rubric": str, "task": str}
    rest, options = read_words(words, kinds, ())
    if len(rest) != 2 or "judge" not in options:
        raise UserError("an experiment, its outcomes.jsonl and --judge MODEL are needed; see kaiwa lab judge --help")
    from kaiwa.lab.asking.call_cache import Asker, CallCache
    from kaiwa.lab.grading.model_judge import Rubric, cases_from_demonstrations, measure_agreement
    from kaiwa.text.records import read_jsonl

    experiment = _experiment(rest[:1], {k: v for k, v in options.items() if k != "model"})
    task = _task(experiment, options.get("task", ""))
    outcomes = [row for row in read_jsonl(Path(rest[1])) if row.get("task") == task.name]
    if not outcomes:
        raise UserError(f"{rest[1]}: no outcome of task {task.name!r}; give outcomes.jsonl of a run of {rest[0]}")
    opened = _opener(experiment, options)(options["judge"])
    folder = Path(options.get("out") or Path(rest[1]).parent)
    asker = Asker(opened.model, CallCache(folder / "judge.jsonl"), opened.identity)
    rubric = Rubric(text=options.get("rubric", ""))
    pairs = "a" in options or "b" in options
    agreed = measure_agreement(asker, task, cases_from_demonstrations(task, pairs), rubric)
    print(_agreement_text(agreed))
    if pairs:
        _pairwise(asker, task, outcomes, options, agreed, rubric)
    else:
        _graded(asker, task, outcomes, agreed, rubric)


def _agreement_text(agreed: JudgeAgreement) -> str:
    from kaiwa.report.words import Words

    words = Words("en", "kaiwa.lab")
    sensitivity, specificity = agreed.rates()
    told = [words(f"lab.judge.fault.{fault}") for fault in agreed.faults()]
    return (
        f"the judge on {agreed.n} cases of known truth: sensitivity {sensitivity}, specificity {specificity}, kappa"
        f" {agreed.kappa}, {agreed.verdicts.unread} unreadable; faults: {'; '.join(told) or 'none found'}"
    )


def _pairwise(
    asker: Any, task: Task, outcomes: list[dict[str, Any]], options: dict[str, Any], agreed: JudgeAgreement, rubric: Any
) -> None:
    from kaiwa.lab.experiments.verdicts import points_text, verdict_text
    from kaiwa.lab.grading.model_judge import compare_answers
    from kaiwa.stats.judged import compare_judged

    said: dict[str, dict[str, str]] = {}
    for row in outcomes:
        if not row.get("error"):
            said.setdefault(row["arm"], {}).setdefault(row["id"], row["text"])
    names = [options.get(name, "") for name in ("a", "b")]
    for name in names:
        if name not in said:
            raise UserError(f"no arm {name!r} in the outcomes; there is {', '.join(said)}")
    a, b = (said[name] for name in names)
    pairs = [(item, a[item.id], b[item.id]) for item in task.items if item.id in a and item.id in b]
    found = compare_answers(asker, task, pairs, rubric)
    read = [score for score in found.scores if score is not None]
    lost, won = ([float(s == side) for s in read] for side in (0.0, 1.0))
    compared = compare_judged(lost, won, agreed.sensitivity, agreed.specificity)
    d = compared.difference
    ties = len(read) - compared.won - compared.lost
    print(f"{names[1]} against {names[0]}: {compared.won} won, {ties} tied, {compared.lost} lost of {len(pairs)}")
    low, high = points_text(d.low), points_text(d.high)
    print(f"won - lost, freed of the judge's errors: {points_text(d.mean)} points [{low}, {high}]")
    print(f"verdict: {verdict_text(compared)}")
    print(f"survive the swap: {found.survived}; for what stood first: {found.first}; unread {found.unread}")


def _graded(asker: Any, task: Task, outcomes: list[dict[str, Any]], agreed: JudgeAgreement, rubric: Any) -> None:
    from kaiwa.commands.console import table
    from kaiwa.lab.grading.model_judge import grade_answers, kappa
    from kaiwa.stats.intervals import NOTHING
    from kaiwa.stats.shares import corrected_share

    items = {item.id: item for item in task.items}
    rows = [["arm", "read", "judge says right", "freed of its errors", "grader", "kappa with the grader"]]
    a, b = agreed.sensitivity, agreed.specificity
    for arm in dict.fromkeys(row["arm"] for row in outcomes):
        mine = [row for row in outcomes if row["arm"] == arm and not row.get("error") and row["id"] in items]
        said = grade_answers(asker, task, [(items[row["id"]], row["text"]) for row in mine], rubric).scores
        read = [(s, row["score"] or 0) for s, row in zip(said, mine, strict=True) if s is not None]
        called, n = sum(s for s, _ in read), len(read)
        share = (
            corrected_share(called, n, true_positives=a.right, bad=a.n, true_negatives=b.right, good=b.n)
            if agreed.youden_j.low > 0
            else NOTHING
        )
        k = kappa([s > 0.5 for s, _ in read], [score >= 1 for _, score in read])
        figures = [f"{called / max(1, n):.0%}", str(share) if share.n else "–"]
        figures += [f"{sum(score >= 1 for _, score in read) / max(1, n):.0%}", str(k)]
        rows.append([arm, f"{n} of {len(mine)}", *figures])
    print(table(rows))


def lint(words: list[str]) -> None:
    """Exit code 1 where there is an error."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(LINT_USAGE, end="")
        return
    import tomllib

    from kaiwa.lab.experiments.experiment_file import read_experiment
    from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt
    from kaiwa.lab.tasks.prompt_file import read_prompt

    remarks = []
    for word in words:
        path = Path(word)
        whole = path.suffix == ".py"
        if path.suffix == ".toml" and path.is_file():
            try:
                whole = "tasks" in tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{path}: not TOML ({error})") from None
        found = lint_experiment(read_experiment(path)) if whole else lint_prompt(read_prompt(path), str(path))
        remarks += found
    for remark in remarks:
        print(remark)
    print(f"{len(remarks)} remarks" if remarks else "nothing to remark")
    if any(remark.level == "error" for remark in remarks):
        sys.exit(1)


def _experiment(rest: list[str], options: dict[str, Any]) -> Experiment:
    from kaiwa.lab.experiments.experiment_file import read_experiment

    if len(rest) != 1:
        raise UserError(f"one experiment file is needed, got {len(rest)}")
    names = (("model", "model"), ("url", "url"), ("api_key_env", "api-key-env"))
    return dataclasses.replace(read_experiment(Path(rest[0])), **{n: options[o] for n, o in names if o in options})


def _opener(experiment: Experiment, options: dict[str, Any]) -> Any:
    def opened(name: str) -> OpenedModel:
        return open_model(dataclasses.replace(experiment, model=name), options)

    return opened


def _task(experiment: Experiment, name: str) -> Task:
    for task in experiment.tasks:
        if name in ("", task.name):
            return task
    raise UserError(f"no task {name!r}; there is {json.dumps([task.name for task in experiment.tasks])}")
