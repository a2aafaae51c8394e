"""kaiwa redteam adapt: attackers that adapt to each defence, with a budget of queries."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.console import clock, table
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.redteam.bench.adaptive import AdaptivePlan, AdaptiveResult
    from kaiwa.text.chat_model import ChatModel, OpenedModel


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Let attackers adapt to each defence: best-of-n, evolution of wordings, crescendo over turns, and gcg (gradients).

    Writes DIR/adaptive.json: success against the number of queries, with intervals; kaiwa redteam run with the same DIR
    shows it as a column. Calls are kept in DIR/calls.jsonl.
    """

    target: Positional[Annotated[str, arg(metavar="TARGET")]]
    defences: str = ""  # as for kaiwa redteam run (default: the target's, or none)
    # gcg: greedy coordinate gradient, for a model in this process; its gradients and losses are queries too
    attackers: str = "best-of-n,evolution,crescendo"
    attacks: str = "all"  # the wordings to begin with: families, names, files
    attacker_model: str = ""  # a model that writes crescendo's turns (default: a list of ours)
    models: str = ""  # as for kaiwa redteam run: several, separated by commas
    budget: int = 25  # queries of each trial
    trials: int = 20  # secrets drawn
    seed: int = 0
    out: Path | None = None  # default: runs/redteam/TARGET


def main(words: list[str]) -> None:
    """Run every attacker against every defence of every model, and print the column."""
    options = read_options(Options, "kaiwa redteam adapt", words)
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack_files import attacks_of
    from kaiwa.redteam.bench.adaptive import AdaptivePlan, by_defence, marks, strength, write_results
    from kaiwa.redteam.bench.run import split_list
    from kaiwa.redteam.targets.target import read_target

    target = read_target(options.target)
    plan = AdaptivePlan(
        target=target,
        attacks=tuple(attacks_of(options.attacks, ATTACKS, target)),
        attackers=tuple(split_list(options.attackers)),
        trials=options.trials,
        budget=options.budget,
        seed=options.seed,
    )
    arms = split_list(options.defences) if options.defences else list(target.defences) or ["none"]
    names = options.models or options.model or target.model
    url = options.url or target.url
    if url and not names:
        raise UserError("a server needs the model's name: --models NAME (or name in the target's [model])")
    out = options.out or Path("runs") / "redteam" / target.name
    out.mkdir(parents=True, exist_ok=True)
    writer = open_model(options.choice(options.attacker_model, url)).model if options.attacker_model else None
    results: list[AdaptiveResult] = []
    for name in split_list(names) if names else [""]:
        results += attack_model(plan, arms, open_model(options.choice(name, url)), out, writer)
        write_results(results, plan, out)
    rows = [["model", "defence", "attacker", *(f"@{k}" for k in marks(plan.budget)), "95 %"]]
    for one in results:
        last = one.success_at(plan.budget)
        shares = [f"{100 * one.success_at(k).mean:.0f} %" if one.broken_at else "–" for k in marks(plan.budget)]
        limits = f"[{100 * last.low:.0f}, {100 * last.high:.0f}]" if one.broken_at else "–"
        rows.append([one.model, one.defence, one.attacker, *shares, limits])
    print(table(rows, lambda i: "<" if i < 3 else ">"))
    for (model, defence), own in by_defence(results).items():
        print(f"{model}, {defence}: {strength(own)}")
    print(f"{plan.trials} trials, {plan.budget} queries each; {out / 'adaptive.json'}")


def attack_model(
    plan: AdaptivePlan, arms: list[str], opened: OpenedModel, out: Path, writer: ChatModel | None
) -> list[AdaptiveResult]:
    """Run every attacker against every defence of one model."""
    from kaiwa.defend.defence import NONE
    from kaiwa.defend.defended import DefendedModel
    from kaiwa.lab.asking.cached_model import CachedModel
    from kaiwa.lab.asking.call_cache import CallCache
    from kaiwa.redteam.bench.adaptive import search
    from kaiwa.redteam.bench.run import make_defences

    cached = CachedModel(opened.model, CallCache(out / "calls.jsonl"), identity=opened.identity, form=opened.form)
    began, results = time.monotonic(), []
    for defence in make_defences(arms, cached, plan.target.language):
        for attacker in plan.attackers:
            model = DefendedModel(model=cached, defence=NONE)
            results.append(search(plan, defence, attacker, model, writer=writer, weights=opened.model))
            line = f"{cached.name}, {defence.name}, {attacker}: {clock(time.monotonic() - began)}"
            print(line, file=sys.stderr)
    return results
