"""kaiwa redteam run: trials of every attack under every defence."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.console import clock
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, Repeated, arg
from kaiwa.commands.sampling_options import change_by_options, read_with_sampling
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.redteam.bench.gate import MatrixGate
    from kaiwa.redteam.bench.matrix import Matrix
    from kaiwa.redteam.bench.run import BenchPlan
    from kaiwa.redteam.targets.target import Target
    from kaiwa.text.chat_model import OpenedModel

FIXED_SAMPLING = ("seed",)  # --seed is the plan's own


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Test every attack under every defence, with benign twins and controls (docs/redteam.md).

    TARGET is a file, or an example's name (kaiwa redteam targets). After a stop the same command continues; calls are
    stored in DIR/calls.jsonl and never made twice.
    """

    target: Positional[Annotated[str, arg(metavar="TARGET")]]
    # families, names or files, separated by commas; transforms after a +: leaking,mine.csv,persona+leet. Files: CSV,
    # JSONL, text, promptfoo's and garak's (docs/redteam.md)
    attacks: str = "all"
    benign: Path | None = None  # file of harmless requests, which are added to the target's: user, expect
    # defences, separated by commas, combined by +: none,sandwich,delimiters+canary_filter (default: target's or all)
    defences: str = ""
    # names from `kaiwa models`, folders, .gguf files; with --url names of the server (default: the target's model)
    models: str = ""
    trials: int | None = None  # trials of each attack under each defence (default 20)
    out: Path | None = None  # default: runs/redteam/TARGET
    seed: int | None = None
    plan: bool = False  # print the size of the run, and stop
    # "sandwich better than none", "sandwich not worse than none by 5 points", "sandwich below 10 percent",
    # "not worse than DIR by 3 points" (an earlier run): exit 1 if the run does not show this
    gate: Repeated[tuple[str, ...]] = ()
    junit: Path | None = None  # file for the gates and all cells as JUnit XML
    compare: Path | None = None  # a garak or promptfoo result to show in the report with the matrix


def main(words: list[str]) -> None:
    """Run the bench, print the matrix and check the gates. Exit code 1 if a gate fails."""
    options, changes = read_with_sampling(Options, "kaiwa redteam run", words, FIXED_SAMPLING)
    from kaiwa.commands.redteam.matrix_text import matrix_notes, matrix_text, plan_text
    from kaiwa.redteam.bench.gate import parse_gate
    from kaiwa.redteam.bench.other_tools import read_results

    gates = [parse_gate(text) for text in options.gate]
    imported = read_results(options.compare) if options.compare is not None else ()
    plan, target = make_plan(options, changes)
    print(plan_text(plan))
    if options.plan:
        return
    out = options.out or Path("runs") / "redteam" / target.name
    matrix, seconds = run_bench(plan, out, options)
    from kaiwa.redteam.bench.adaptive import read_results as read_adaptive
    from kaiwa.redteam.bench.report import write_report

    adaptive = read_adaptive(out / "adaptive.json", target) if (out / "adaptive.json").is_file() else []
    print(matrix_text(matrix))
    for line in matrix_notes(matrix):
        print(line)
    print(f"{clock(seconds)} for {len(matrix.outcomes):,} trials")
    print(f"report: {write_report(plan, matrix, out, seconds, imported, adaptive=adaptive)}")
    if not adaptive:
        print(f"no defence is called strong by attacks that do not adapt: kaiwa redteam adapt {options.target}")
    _judge_gates(gates, matrix, options.junit, out)


def make_plan(options: Options, changes: dict[str, Any]) -> tuple[BenchPlan, Target]:
    """Return the plan of the run and its target. UserError for unknown names.

    changes: sampling fields set on the command line.
    """
    from kaiwa.defend.parse import names as defence_names
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack_files import attacks_of, read_benign
    from kaiwa.redteam.bench.run import SAMPLING, BenchPlan, split_list
    from kaiwa.redteam.targets.target import read_target

    target = read_target(options.target)
    names = options.models or options.model or target.model
    models = tuple(split_list(names)) if names else ("",)
    if (options.url or target.url) and models == ("",):
        raise UserError("a server needs the model's name: --models NAME (or name in the target's [model])")
    numbers = {name: value for name in ("trials", "seed") if (value := getattr(options, name)) is not None}
    sampling = change_by_options(SAMPLING, changes, FIXED_SAMPLING)
    defences = tuple(split_list(options.defences)) if options.defences else target.defences or defence_names()
    if options.benign is not None:
        target = dataclasses.replace(target, benign=(*target.benign, *read_benign(options.benign)))
    attacks = tuple(attacks_of(options.attacks, ATTACKS, target))
    plan = BenchPlan(target=target, attacks=attacks, defences=defences, models=models, sampling=sampling, **numbers)
    return plan, target


def run_bench(plan: BenchPlan, out: Path, options: Options) -> tuple[Matrix, float]:
    """Run the plan's trials; return the matrix and the duration in seconds."""
    from kaiwa.commands.redteam.matrix_text import progress
    from kaiwa.core.artifact import write_atomic
    from kaiwa.core.lock import lock
    from kaiwa.redteam.bench.matrix import analyse_trials
    from kaiwa.redteam.bench.rule_judge import apply_judge
    from kaiwa.redteam.bench.run import run

    url = options.url or plan.target.url
    began = time.monotonic()
    with lock(out):
        write_atomic(out / "plan.json", json.dumps(plan.plan_json(), ensure_ascii=False, indent=1))
        opened: dict[str, OpenedModel] = {}

        def open_named(name: str) -> OpenedModel:
            if name not in opened:
                opened.clear()  # one model at a time in memory
                opened[name] = open_model(options.choice(name, url))
            return opened[name]

        outcomes = run(plan, open_named, out / "calls.jsonl", progress(began), print)
        outcomes, corrected = apply_judge(plan, outcomes, open_named, out / "calls.jsonl")
    return analyse_trials(outcomes, corrected), time.monotonic() - began


def _judge_gates(gates: Sequence[MatrixGate], matrix: Matrix, junit_file: Path | None, out: Path) -> None:
    from kaiwa.redteam.bench.gate import check_gate
    from kaiwa.redteam.bench.junit import matrix_junit

    judged = [check_gate(gate, matrix, out) for gate in gates]
    if junit_file is not None:
        junit_file.write_text(matrix_junit(matrix, judged), encoding="utf-8")
    for result in judged:
        print(f"gate {'passed' if result.passed else 'FAILED'}: {result.text}: {result.sentence}", file=sys.stderr)
    if not all(result.passed for result in judged):
        sys.exit(1)
