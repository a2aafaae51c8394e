"""lab run, plan, assignment, selftest, tasks: parse, call, print."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.commands.console import clock, report_checks, table
from kaiwa.commands.sampling_options import read_sampling, sampling_help, sampling_kinds
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.open_model import ModelChoice
    from kaiwa.lab.experiments.analysis import Analysis
    from kaiwa.lab.experiments.experiment import Experiment
    from kaiwa.lab.tasks.task import Judge
    from kaiwa.text.chat_model import OpenedModel

RUN_USAGE = """usage: kaiwa lab run FILE.toml|FILE.py [--out DIR] [--model MODEL] [--pilot N]
                     [--url URL] [--api-key-env NAME] [--concurrency N] [--per-minute N]

Runs an experiment (docs/lab.md). Arms are registered in DIR/plan.json before the first call; the same command goes on
where it stopped, and answers are never asked for twice (DIR/calls.jsonl holds every request and reply).
--out          default: runs/lab/NAME
--model        a name from `kaiwa models`, a folder, a .gguf file; with --url the server's name for it
--pilot N      only the first N items of each task, and the n needed for differences of 3 to 30 points
--url          any OpenAI-compatible server, such as http://127.0.0.1:7860/v1
--api-key-env  the environment variable that holds the server's key (it is never written down)
"""
ASSIGNMENT_USAGE = """usage: kaiwa lab assignment [--model MODEL] [--out DIR] [--quick] [--scale X] [--language en|ja]
                            [--plan] [--url URL] [--api-key-env NAME]

Every technique with its control arms, what was claimed and what was measured, as a report to hand in.
--quick     a tenth of the items: to see how it works, too few to tell anything
--scale     1 is the full size (default)
--plan      print n and the detectable difference of every arm, and stop
"""
MODEL_OPTIONS: dict[str, type] = {
    "model": str,
    "url": str,
    "api-key-env": str,
    "concurrency": int,
    "per-minute": float,
    "out": str,
}
FIXED_SAMPLING = ("max_tokens", "seed")  # set by tasks, and by the experiment's seeds


def run_file(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(RUN_USAGE + sampling_help(FIXED_SAMPLING), end="")
        return
    rest, options = read_words(words, MODEL_OPTIONS | {"pilot": int} | sampling_kinds(FIXED_SAMPLING), ())
    if len(rest) != 1:
        raise UserError(f"one experiment file is needed, got {len(rest)}; kaiwa lab run FILE.toml")
    from kaiwa.lab.experiments.experiment_file import read_experiment

    experiment = read_experiment(Path(rest[0]))
    changes = {
        n: options[o] for n, o in (("model", "model"), ("url", "url"), ("api_key_env", "api-key-env")) if o in options
    }
    sampling = read_sampling(experiment.sampling, options, FIXED_SAMPLING)
    experiment = dataclasses.replace(experiment, sampling=sampling, **changes)
    out = Path(options.get("out") or Path("runs") / "lab" / experiment.name)
    if "pilot" in options:
        pilot = experiment.with_first_items(options["pilot"])
        analysis = run_all(pilot, out / "pilot", options)
        print(pilot_text(analysis))
        return
    print(plan_text(experiment))
    analysis = run_all(experiment, out, options)
    finish(analysis, out)


def plan_file(words: list[str]) -> None:
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: kaiwa lab plan FILE.toml|FILE.py")
        return
    from kaiwa.lab.experiments.experiment_file import read_experiment

    print(plan_text(read_experiment(Path(words[0]))))


def assignment(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(ASSIGNMENT_USAGE, end="")
        return
    rest, options = read_words(words, MODEL_OPTIONS | {"scale": float, "language": str}, ("quick", "plan"))
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa lab assignment --help")
    languages = ("en", "ja") if "language" not in options else (options["language"],)
    if not set(languages) <= {"en", "ja"}:
        raise UserError(f"--language {options['language']!r}: en or ja")
    from kaiwa.lab.experiments.assignment import LIMITS
    from kaiwa.lab.experiments.assignment import assignment as make

    scale = options.get("scale", 0.1 if "quick" in options else 1.0)
    if not scale > 0:
        raise UserError(f"--scale {scale} must be above 0")
    experiment = make(scale, languages)
    changes = {
        n: options[o] for n, o in (("model", "model"), ("url", "url"), ("api_key_env", "api-key-env")) if o in options
    }
    experiment = dataclasses.replace(experiment, **changes)
    print(plan_text(experiment))
    if "plan" in options:
        return
    out = Path(options.get("out") or Path("runs") / "lab" / "assignment")
    finish(run_all(experiment, out, options, planted=True), out, LIMITS)


def selftest(words: list[str]) -> None:
    """Exit code 1 where a check fails."""
    rest, options = read_words(words, {"trials": int, "seed": int}, ("h", "help"))
    if rest or "h" in options or "help" in options:
        print("usage: kaiwa lab selftest [--trials N] [--seed S]")
        return
    trials = options.get("trials", 1000)
    if trials < 50:
        raise UserError(f"--trials {trials}: at least 50 are needed to tell anything")
    from kaiwa.lab.experiments.selftest import selftest as run

    checks = run(trials, options.get("seed", 0))
    report_checks(checks)


def tasks(words: list[str]) -> None:
    from kaiwa.lab.tasks.benchmarks import LOADERS
    from kaiwa.lab.tasks.by_name import GENERATED
    from kaiwa.lab.techniques.by_name import NAMED

    print("tasks       " + " ".join(f"{stem}-{language}" for stem in GENERATED for language in ("en", "ja")))
    print("loaders     " + " ".join(LOADERS))
    print("techniques  " + " ".join(NAMED))


def check_judges(experiment: Experiment) -> None:
    """UserError for a judge that is not here: told before the first question, not after the last answer."""
    from kaiwa.catalog.entries import find

    for task in experiment.tasks:
        judge = task.grader.judge
        if judge is not None and not (judge.url or experiment.url):
            find(judge.model)


def run_all(experiment: Experiment, out: Path, options: dict[str, Any], planted: bool = False) -> Analysis:
    """Registers, asks, analyses. `planted`: the planted effect and null are added to the findings."""
    from kaiwa.lab.experiments.analysis import analyse
    from kaiwa.lab.experiments.experiment import register
    from kaiwa.lab.experiments.judge_scores import apply_judges
    from kaiwa.lab.experiments.run import run, run_models

    check_judges(experiment)
    register(experiment, out)
    began = time.monotonic()
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if live or done == total or done % 200 == 0:
            seconds = clock(time.monotonic() - began)
            print(f"asked {done} of {total} in this round, {seconds}", end="\r" if live else "\n", file=sys.stderr)

    first: list[str] = []

    def open_named(name: str) -> OpenedModel:
        opened = open_model(dataclasses.replace(experiment, model=name), options)
        first.append(opened.model.name)
        return opened

    def open_judge(judge: Judge) -> OpenedModel:
        key = judge.api_key_env or experiment.api_key_env
        return open_model(
            dataclasses.replace(experiment, model=judge.model, url=judge.url or experiment.url, api_key_env=key),
            options,
        )

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
    return analyse(experiment, outcomes, ", ".join(first), checks)


def open_model(chosen: Experiment | ModelChoice, options: dict[str, Any]) -> OpenedModel:
    """Open an experiment's model: a server's, or one on this machine."""
    from kaiwa.catalog.open_model import ModelChoice
    from kaiwa.catalog.open_model import open_model as open_choice

    return open_choice(
        ModelChoice(
            model=chosen.model,
            url=chosen.url,
            api_key_env=chosen.api_key_env,
            concurrency=options.get("concurrency", 8),
            per_minute=options.get("per-minute", 0.0),
        )
    )


def plan_text(experiment: Experiment) -> str:
    """n and the detectable difference of every comparison, and how much will be asked."""
    from kaiwa.lab.experiments.experiment import DISCORDANT, detectable_differences

    rows = [["task", "B", "A", "n", "finds"]]
    for p in detectable_differences(experiment):
        rows.append(
            [
                p.task,
                p.contrast.b,
                p.contrast.a,
                str(p.n),
                f"{p.detectable * 100:.0f} points" if p.detectable < 1 else "nothing",
            ]
        )
    answers = sum(len(t.items) * len(experiment.arms_of(t)) for t in experiment.tasks) * len(experiment.seeds)
    told = f"{answers:,} answers; 'finds': with power 80 %, if {DISCORDANT:.0%} of the pairs are decided"
    return f"{table(rows, lambda i: '>' if i >= 3 else '<')}\n{told}\n"


def pilot_text(analysis: Analysis) -> str:
    from kaiwa.stats.power import GAINS, pairs_by_gain

    rows = [["task", "B - A", "decided", *(f"n for {gain * 100:.0f}" for gain in GAINS)]]
    for f in analysis.findings:
        c = f.comparison
        needed = pairs_by_gain(c.won, c.lost, c.n) if c.n else {}
        cells = [str(needed.get(gain) or "–") for gain in GAINS]
        rows.append([f.task, f"{f.contrast.b} - {f.contrast.a}", f"{c.won + c.lost} of {c.n}", *cells])
    return table(rows, lambda i: ">" if i >= 2 else "<") + "\nn: items that find a true gain of so many points"


def finish(analysis: Analysis, out: Path, limits: dict[str, str] | None = None) -> None:
    from kaiwa.lab.experiments.verdicts import verdict_text
    from kaiwa.lab.reports.experiment_report import difference_text, write_report
    from kaiwa.lab.reports.judge_report import judge_cells, judge_heads
    from kaiwa.report.words import Words

    rows = [["task", "B", "A", "n", "B - A, points", "verdict"]]
    rows += [
        [f.task, f.contrast.b, f.contrast.a, str(f.comparison.n), difference_text(f), verdict_text(f.comparison)]
        for f in analysis.findings
    ]
    print(table(rows, lambda i: ">" if i == 3 else "<"))
    if analysis.checks:
        words = Words("en", "kaiwa.lab")
        for check in analysis.checks.values():
            cells = zip(judge_heads(words), judge_cells(check, words), strict=True)
            print("\n" + table([["who graded", ""], *([head, cell] for head, cell in cells)]))
    prompt, reused = sum(a.n_prompt for a in analysis.arms), sum(a.n_reused for a in analysis.arms)
    failed = sum(a.failed for a in analysis.arms)
    answer = sum(a.n_tokens for a in analysis.arms)
    print(f"{prompt:,} prompt tokens ({reused:,} reused), {answer:,} answer tokens; {failed} answers failed")
    print(f"report: {write_report(analysis, out, limits)}")
