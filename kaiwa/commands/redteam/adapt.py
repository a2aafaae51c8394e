"""kaiwa redteam adapt: attackers that adapt to each defence, with a budget of queries."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.catalog.open_model import open_model
from kaiwa.commands.console import clock, table
from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Let attackers adapt to each defence: best-of-n, evolution of wordings, crescendo over turns (docs/redteam.md).

    Writes DIR/adaptive.json: success against the number of queries, with intervals. Calls are kept in DIR/calls.jsonl.
    """

    target: Positional[Annotated[str, arg(metavar="TARGET")]]
    defences: str = ""  # as for kaiwa redteam run (default: the target's, or none)
    attackers: str = "best-of-n,evolution,crescendo"
    attacks: str = "all"  # the wordings to begin with: families, names, files
    attacker_model: str = ""  # a model that writes crescendo's turns (default: a list of ours)
    budget: int = 25  # queries of each trial
    trials: int = 20  # secrets drawn
    seed: int = 0
    out: Path | None = None  # default: runs/redteam/TARGET


def main(words: list[str]) -> None:
    """Run every attacker against every defence, and print the column."""
    options = read_options(Options, "kaiwa redteam adapt", words)
    from kaiwa.core.artifact import write_atomic
    from kaiwa.defend.defence import NONE
    from kaiwa.defend.defended import DefendedModel
    from kaiwa.lab.asking.cached_model import CachedModel
    from kaiwa.lab.asking.call_cache import CallCache
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack_files import attacks_of
    from kaiwa.redteam.bench.adaptive import AdaptivePlan, marks, search, strength
    from kaiwa.redteam.bench.run import make_defences, split_list
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
    name = options.model or target.model
    url = options.url or target.url
    if url and not name:
        raise UserError("a server needs the model's name: --model NAME (or name in the target's [model])")
    out = options.out or Path("runs") / "redteam" / target.name
    out.mkdir(parents=True, exist_ok=True)
    opened = open_model(options.choice(name, url))
    cached = CachedModel(opened.model, CallCache(out / "calls.jsonl"), identity=opened.identity, form=opened.form)
    writer = open_model(options.choice(options.attacker_model, url)).model if options.attacker_model else None
    began = time.monotonic()
    results = []
    rows = [["defence", "attacker", *(f"@{k}" for k in marks(plan.budget)), "95 %"]]
    verdicts = []
    for defence in make_defences(arms, cached, target.language):
        own = []
        for attacker in plan.attackers:
            result = search(plan, defence, attacker, DefendedModel(model=cached, defence=NONE), writer=writer)
            last = result.success_at(plan.budget)
            shares = [f"{100 * result.success_at(k).mean:.0f} %" for k in marks(plan.budget)]
            rows.append([defence.name, attacker, *shares, f"[{100 * last.low:.0f}, {100 * last.high:.0f}]"])
            own.append(result)
            print(f"{defence.name}, {attacker}: {clock(time.monotonic() - began)}", file=sys.stderr)
        verdicts.append((defence.name, strength(own)))
        results += own
    content = {"results": [r.to_json() for r in results], "verdicts": dict(verdicts), "trials": plan.trials}
    write_atomic(out / "adaptive.json", json.dumps(content, ensure_ascii=False, indent=1))
    print(table(rows, lambda i: "<" if i < 2 else ">"))
    for defence_name, text in verdicts:
        print(f"{defence_name}: {text}")
    print(f"{plan.trials} trials, {plan.budget} queries each; {out / 'adaptive.json'}")
