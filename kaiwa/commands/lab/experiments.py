"""Common parts of the lab's commands: an experiment's plan, its run with the chosen model, and the final table."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.console import clock, table
from kaiwa.commands.model_options import ModelOptions

if TYPE_CHECKING:
    from kaiwa.lab.asking.budget import RunBudget
    from kaiwa.lab.experiments.analysis import Analysis
    from kaiwa.lab.experiments.experiment import Experiment
    from kaiwa.lab.tasks.task import Judge
    from kaiwa.text.chat_model import OpenedModel


PROMPTS = "prompts.md"


def with_model(experiment: Experiment, options: ModelOptions) -> Experiment:
    """Return the experiment with model, server and key variable replaced by those of the command line, if set."""
    changes = {name: getattr(options, name) for name in ("model", "url", "api_key_env") if getattr(options, name)}
    return dataclasses.replace(experiment, **changes)


def budget_of(experiment: Experiment) -> RunBudget | None:
    """Return the experiment's budget, None for no limit."""
    from kaiwa.lab.asking.budget import RunBudget

    money, tokens = experiment.budget
    return RunBudget(money=money or math.inf, tokens=tokens or math.inf) if money or tokens else None


def open_server(experiment: Experiment, name: str, options: ModelOptions, budget: RunBudget | None) -> OpenedModel:
    """Open the model that arms call `name` ("": the experiment's), on its own server or the experiment's.

    A key goes only to the server that it is given for.
    """
    from kaiwa.lab.asking.budget import BudgetedModel

    server = experiment.server(name or experiment.model)
    url = server.url or experiment.url
    key = server.api_key_env or (experiment.api_key_env if url == experiment.url else "")
    choice = dataclasses.replace(options.choice(server.model or server.name, url), api_key_env=key)
    opened = open_model(dataclasses.replace(choice, provider=server.provider))
    if budget is None:
        return opened
    limited = BudgetedModel(opened.model, budget, experiment.prices_of(name or experiment.model))
    return dataclasses.replace(opened, model=limited)


def check_judges(experiment: Experiment) -> None:
    """Raise UserError for a missing judge model, before the first question and not after the last answer."""
    from kaiwa.catalog.entries import entry_by_name_or_path

    for task in experiment.tasks:
        judge = task.grader.judge
        if judge is not None and not (judge.url or experiment.url):
            entry_by_name_or_path(judge.model)


def run_experiment(experiment: Experiment, out: Path, options: ModelOptions, *, planted: bool = False) -> Analysis:
    """Register the experiment, ask its questions and analyse the answers.

    planted: add the planted effect and the planted null to the findings.
    """
    from kaiwa.lab.experiments.analysis import analyse
    from kaiwa.lab.experiments.experiment import register
    from kaiwa.lab.experiments.judge_scores import apply_judges
    from kaiwa.lab.experiments.preflight import check_first_calls, describe_prompts, planned_prompts
    from kaiwa.lab.experiments.run import run, run_models

    check_judges(experiment)
    check_first_calls(experiment)
    register(experiment, out)
    (out / PROMPTS).write_text(describe_prompts(planned_prompts(experiment)), encoding="utf-8", errors="replace")
    print(f"one whole prompt of every arm: {out / PROMPTS}", file=sys.stderr)
    began = time.monotonic()
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if live or done == total or done % 200 == 0:
            seconds = clock(time.monotonic() - began)
            print(f"asked {done} of {total} in this round, {seconds}", end="\r" if live else "\n", file=sys.stderr)

    names: list[str] = []
    budget = budget_of(experiment)

    def open_named(name: str) -> OpenedModel:
        opened = open_server(experiment, name, options, budget)
        names.append(opened.model.name)
        return opened

    def open_judge(judge: Judge) -> OpenedModel:
        key_variable = judge.api_key_env or experiment.api_key_env
        return open_model(options.choice(judge.model, judge.url or experiment.url, key_variable))

    outcomes = run_models(experiment, open_named, out / "calls.jsonl", show)
    outcomes, checks = apply_judges(experiment, outcomes, open_judge, out / "judge.jsonl")
    if planted:
        from kaiwa.lab.experiments.selftest import PlantedShareModel, planted_experiment

        extra = planted_experiment()
        experiment = dataclasses.replace(
            experiment,
            tasks=(*experiment.tasks, *extra.tasks),
            arms=(*experiment.arms, *(dataclasses.replace(arm, task="planted") for arm in extra.arms)),
            contrasts=(*experiment.contrasts, *(dataclasses.replace(c, task="planted") for c in extra.contrasts)),
        )
        outcomes += run(extra, PlantedShareModel())
    print(f"{clock(time.monotonic() - began)} for {len(outcomes)} answers", file=sys.stderr)
    return analyse(experiment, outcomes, ", ".join(names), checks)


def plan_text(experiment: Experiment) -> str:
    """Return n and the detectable difference of every comparison, and the number of answers."""
    from kaiwa.lab.experiments.experiment import DISCORDANT, detectable_differences

    rows = [["task", "B − A", "n", "finds"]]
    for p in detectable_differences(experiment):
        finds = f"{p.detectable * 100:.0f} points" if p.detectable < 1 else "nothing"
        rows.append([p.task, p.contrast.text, str(p.n), finds])
    answers = sum(len(t.items) * len(experiment.arms_of(t)) for t in experiment.tasks) * len(experiment.seeds)
    note = f"{answers:,} answers; 'finds': with power 80 %, if {DISCORDANT:.0%} of the pairs are decided"
    return f"{table(rows, lambda i: '>' if i >= 2 else '<')}\n{note}\n"


def pilot_text(analysis: Analysis) -> str:
    """Return, for each comparison of a pilot, the items needed to find gains of several sizes."""
    from kaiwa.stats.power import GAINS, pairs_by_gain

    rows = [["task", "B - A", "decided", *(f"n for {gain * 100:.0f}" for gain in GAINS)]]
    for f in analysis.findings:
        c = f.comparison
        needed = pairs_by_gain(c.won, c.lost, c.n) if c.n else {}
        cells = [str(needed.get(gain) or "–") for gain in GAINS]
        rows.append([f.task, f.contrast.text, f"{c.won + c.lost} of {c.n}", *cells])
    return table(rows, lambda i: ">" if i >= 2 else "<") + "\nn for G: items needed to find a true gain of G points"


def print_analysis(analysis: Analysis, out: Path, limits: dict[str, str] | None = None) -> None:
    """Print the verdicts, write the report and print its path. limits: sentences on the design's limits."""
    from kaiwa.lab.experiments.baselines import baselines_text
    from kaiwa.lab.experiments.ledger import FILE as LEDGER
    from kaiwa.lab.experiments.ledger import enter_ledger
    from kaiwa.lab.experiments.verdicts import verdict_text
    from kaiwa.lab.reports.experiment_report import difference_text, pairs_text, write_report
    from kaiwa.lab.reports.judge_report import judge_cells, judge_heads
    from kaiwa.report.words import Words

    words = Words("en", "kaiwa.lab")
    rows = [["task", "B − A", "n", "points", "verdict"]]
    for f in analysis.findings:
        pairs = pairs_text(f, words)
        rows.append([f.task, f.contrast.text, pairs, difference_text(f), verdict_text(f.comparison)])
    print(table(rows, lambda i: ">" if i == 2 else "<"))
    for one in analysis.baselines.values():
        print(baselines_text(one))
    for view in enter_ledger(analysis, str(out.resolve()), out.parent / LEDGER):
        print(view.text())
    if analysis.checks:
        for check in analysis.checks.values():
            cells = zip(judge_heads(words), judge_cells(check, words), strict=True)
            print("\n" + table([["who graded", ""], *([head, cell] for head, cell in cells)]))
    prompt, reused = sum(a.n_prompt for a in analysis.arms), sum(a.n_reused for a in analysis.arms)
    failed = sum(a.failed for a in analysis.arms)
    answer = sum(a.n_tokens for a in analysis.arms)
    print(f"{prompt:,} prompt tokens ({reused:,} reused), {answer:,} answer tokens; {failed} answers failed")
    print(f"report: {write_report(analysis, out, limits)}")
