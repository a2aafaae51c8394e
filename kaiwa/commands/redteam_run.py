"""redteam run: parse, call, print."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.commands.console import clock, table
from kaiwa.commands.lab_run import MODEL_OPTIONS, open_model
from kaiwa.commands.sampling_options import read_sampling, sampling_help, sampling_kinds
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.open_model import ModelChoice
    from kaiwa.redteam.bench.matrix import Matrix
    from kaiwa.redteam.bench.run import BenchPlan
    from kaiwa.redteam.targets.target import Target
    from kaiwa.text.chat_model import OpenedModel

USAGE = """usage: kaiwa redteam run TARGET.toml [--attacks LIST] [--defences LIST] [--models LIST] [--trials N]
                         [--out DIR] [--seed S] [--max-tokens N] [--temperature T] [--plan]
                         [--url URL] [--api-key-env NAME] [--concurrency N] [--per-minute N]
                         [--gate TEXT]… [--junit FILE] [--compare FILE]

Every attack under every defence, with benign twins and controls (docs/redteam.md). The same command goes on where it
stopped; calls are kept in DIR/calls.jsonl and never made twice.
TARGET         a file, or an example's name (kaiwa redteam targets)
--attacks      families or names, commas between; transforms behind a +: leaking,persona+leet (default: all)
--defences     defences, commas between; stacked with +: none,sandwich,delimiters+canary_filter (default: the target's,
               or all)
--models       names from `kaiwa models`, folders, .gguf files; with --url the server's names (default: the target's)
--trials       of each attack under each defence (default 20)
--plan         print what would be asked, and stop
--url          any OpenAI-compatible server, such as http://127.0.0.1:7860/v1
--api-key-env  the environment variable that holds the server's key (it is never written down)
--gate         "sandwich better than none", "sandwich not worse than none by 5 points", "sandwich below 10 percent",
               "not worse than DIR by 3 points" (an earlier run): exit 1 where that is not shown; may be repeated
--junit        the gates and all cells as JUnit XML
--compare      a garak or promptfoo result, put beside the matrix in the report
"""
OPTIONS: dict[str, type] = (
    MODEL_OPTIONS
    | {
        "attacks": str,
        "defences": str,
        "models": str,
        "trials": int,
        "seed": int,
        "junit": str,
        "compare": str,
    }
    | sampling_kinds(("seed",))
)


def run_file(words: list[str]) -> None:
    """Exit code 1 where a gate does not hold."""
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE + sampling_help(("seed",)), end="")
        return
    words, gates = _gates(words)
    rest, options = read_words(words, OPTIONS, ("plan",))
    if len(rest) != 1:
        raise UserError(f"one target is needed, got {len(rest)}; kaiwa redteam run TARGET.toml")
    from kaiwa.redteam.bench.gate import parse_gate
    from kaiwa.redteam.bench.other_tools import read_results

    parsed = [parse_gate(text) for text in gates]
    imported = read_results(Path(options["compare"])) if "compare" in options else ()
    plan, target = make_plan(rest[0], options)
    print(plan_text(plan))
    if "plan" in options:
        return
    out = Path(options.get("out") or Path("runs") / "redteam" / target.name)
    matrix, seconds = run_all(plan, out, options)
    from kaiwa.redteam.bench.report import write_report

    print(matrix_text(matrix))
    for line in told(matrix):
        print(line)
    print(f"{clock(seconds)} for {len(matrix.outcomes):,} trials")
    print(f"report: {write_report(plan, matrix, out, seconds, imported)}")
    _judge(parsed, matrix, options, out)


def _gates(words: list[str]) -> tuple[list[str], list[str]]:
    """--gate may stand several times."""
    rest: list[str] = []
    gates: list[str] = []
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if word == "--gate":
            if not todo:
                raise UserError("--gate needs a sentence, as in 'sandwich better than none'")
            gates.append(todo.pop(0))
        elif word.startswith("--gate="):
            gates.append(word.partition("=")[2])
        else:
            rest.append(word)
    return rest, gates


def make_plan(name: str, options: dict[str, Any]) -> tuple[BenchPlan, Target]:
    from kaiwa.defend.parse import names
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack import choose_attacks
    from kaiwa.redteam.bench.run import SAMPLING, BenchPlan, split_list
    from kaiwa.redteam.targets.target import read_target

    target = read_target(name)
    given = options.get("models") or options.get("model") or target.model
    models = tuple(split_list(given)) if given else ("",)
    if (options.get("url") or target.url) and models == ("",):
        raise UserError("a server needs the model's name: --models NAME (or name in the target's [model])")
    named = {option: options[word] for option, word in (("trials", "trials"), ("seed", "seed")) if word in options}
    plan = BenchPlan(
        target=target,
        attacks=tuple(choose_attacks(options.get("attacks", "all"), ATTACKS)),
        defences=tuple(split_list(options["defences"])) if "defences" in options else target.defences or names(),
        models=models,
        sampling=read_sampling(SAMPLING, options, ("seed",)),
        **named,
    )
    return plan, target


def run_all(plan: BenchPlan, out: Path, options: dict[str, Any]) -> tuple[Matrix, float]:
    from kaiwa.core.artifact import write_atomic
    from kaiwa.core.lock import lock
    from kaiwa.redteam.bench.matrix import analyse_trials
    from kaiwa.redteam.bench.rule_judge import apply_judge
    from kaiwa.redteam.bench.run import run

    url = options.get("url") or plan.target.url
    began = time.monotonic()
    with lock(out):
        write_atomic(out / "plan.json", json.dumps(plan.plan_json(), ensure_ascii=False, indent=1))
        opened: dict[str, OpenedModel] = {}

        def open_named(name: str) -> OpenedModel:
            if name not in opened:
                opened.clear()  # one model at a time in memory
                opened[name] = open_model(wanted(name, url, options), options)
            return opened[name]

        outcomes = run(plan, open_named, out / "calls.jsonl", progress(began))
        outcomes, corrected = apply_judge(plan, outcomes, open_named, out / "calls.jsonl")
    return analyse_trials(outcomes, corrected), time.monotonic() - began


def wanted(name: str, url: str, options: dict[str, Any]) -> ModelChoice:
    from kaiwa.catalog.open_model import ModelChoice

    return ModelChoice(model=name, url=url, api_key_env=options.get("api-key-env", ""))


def progress(began: float) -> Callable[[str, int, int], None]:
    """One line, with the time left by the pace of what was asked anew."""
    live = sys.stderr.isatty()
    first: dict[str, tuple[int, float]] = {}
    last = [0.0]

    def show(model: str, done: int, total: int) -> None:
        now = time.monotonic()
        start, since = first.setdefault(model, (done, now))
        if now - last[0] < (0.2 if live else 15) and done < total:
            return
        last[0] = now
        pace = (done - start) / (now - since) if now > since else 0.0
        left = f", {clock((total - done) / pace)} left" if pace > 0 and done < total else ""
        text = f"{model}: {done:,} of {total:,} requests, {clock(now - began)}{left}"
        print(f"{text:<79}" if live else text, end="\r" if live else "\n", file=sys.stderr, flush=True)

    return show


def plan_text(plan: BenchPlan) -> str:
    from kaiwa.redteam.attacks.attack import reason_not_applicable
    from kaiwa.redteam.targets.benign_twins import benign_requests

    there = [attack for attack in plan.attacks if not reason_not_applicable(attack, plan.target)]
    turns = sum(attack.turns for attack in there)
    arms = len(plan.arms)
    twins = len(benign_requests(plan.target)) * max(1, round(plan.trials * 0.1))
    total = (turns * plan.trials * (arms + 1) + twins * arms) * len(plan.models)
    doubles = "".join(f"\n{text!r} is a defence that is there already; left out" for text in plan.doubles)
    return (
        f"{plan.target.name}: {len(there)} attacks × {arms} defences × {plan.trials} trials on {len(plan.models)}"
        f" model{'s' if len(plan.models) > 1 else ''}, with controls and benign twins: at most {total:,}"
        f" requests{doubles}"
    )


def matrix_text(matrix: Matrix) -> str:
    """Defences as rows: success by family, against none, what it costs."""
    from kaiwa.redteam.bench.report import against_text
    from kaiwa.report import figures

    families = list(dict.fromkeys(c.family for c in matrix.cells))
    rows = [["model", "defence", *families, "all", "against none", "false blocks", "useful", "tokens", "ms"]]
    rows_by = {(row.model, row.defence): row for row in matrix.benign}
    for arm in matrix.arms:
        row = rows_by.get((arm.model, arm.defence))
        shares = [_share(arm.families.get(f)) for f in families] + [_share(arm.share)]
        blocks = (
            [f"{row.blocked}/{row.trials}", figures.percent(row.utility.mean)] if row and row.trials else ["–", "–"]
        )
        cost = [f"{arm.tokens:+.0f}" if arm.tokens == arm.tokens else "–", f"{arm.ms:.2f}"]
        rows.append([arm.model, arm.defence, *shares, against_text(arm), *blocks, *cost])
    return table(rows, lambda i: "<" if i < 2 else ">")


def _share(interval: Any) -> str:
    from kaiwa.report import figures

    if interval is None or interval.n == 0:
        return "–"
    return f"{figures.percent(interval.mean)} [{figures.limits(interval.to_json())}]".replace("\N{NO-BREAK SPACE}", "")


def told(matrix: Matrix) -> list[str]:
    """What the table does not say: what was not testable, what failed, which defences do not help."""
    from kaiwa.redteam.bench.report import unhelpful_defences

    lines = []
    for status in ("not_testable", "not_applicable"):
        names = list(dict.fromkeys(c.attack for c in matrix.cells if c.status == status))
        if names:
            lines.append(f"{status.replace('_', ' ')}: {len(names)} attacks ({', '.join(names)})")
    failed = [c for c in matrix.cells if c.failed]
    if failed:
        n = sum(c.failed for c in failed)
        lines.append(
            f"failed: {n:,} trials in {len(failed)} cells, counted as neither; the first: {failed[0].why[:160]}"
        )
    for arm in matrix.arms:
        if "canary_filter" in arm.defence:
            other = ", ".join(f"{form} {n}" for form, n in arm.leaks.items() if form != "whole") or "no other form"
            lines.append(f"{arm.model}, {arm.defence}: {arm.leaks.get('whole', 0)} verbatim leaks; {other}")
    for model in dict.fromkeys(arm.model for arm in matrix.arms):
        if names := unhelpful_defences(matrix, model):
            lines.append(f"{model}: not shown to help against these attacks: {', '.join(names)}")
    return lines


def _judge(gates: Any, matrix: Matrix, options: dict[str, Any], out: Path) -> None:
    from kaiwa.redteam.bench.gate import check_gate
    from kaiwa.redteam.bench.junit import matrix_junit

    judged = [check_gate(gate, matrix, out) for gate in gates]
    if "junit" in options:
        Path(options["junit"]).write_text(matrix_junit(matrix, judged), encoding="utf-8")
    for one in judged:
        print(f"gate {'passed' if one.passed else 'FAILED'}: {one.text}: {one.sentence}", file=sys.stderr)
    if not all(one.passed for one in judged):
        sys.exit(1)
