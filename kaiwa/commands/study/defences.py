"""kaiwa study defences: the lecture's statements about attacks and defences, each held, not held or undecided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.commands.model_options import ModelOptions
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.redteam.bench.adaptive import AdaptiveResult
    from kaiwa.studies.statements import StatementResult


@dataclass(kw_only=True)
class Options(ModelOptions):
    """Test the lecture's statements about injection, leaking, jailbreaks and each defence on a password keeper.

    Writes DIR/statements.html (English and Japanese): held, did not hold, or cannot tell (n = …).
    """

    models: str = ""  # names separated by commas: folders, GGUF files, names of the server at --url
    target: str = "keeper.en"  # a target's file or an example's name
    attacks: str = "all"
    trials: int = 5  # trials of each attack under each defence
    budget: int = 20  # queries of the adaptive attackers (0: none)
    adaptive: str = "instruction,canary_filter"  # defences that they try
    out: Path = Path("runs/studies/defences")


def main(words: list[str]) -> None:
    """Run the bench on every model, and print the statements."""
    options = read_options(Options, "kaiwa study defences", words)
    if options.budget < 0:
        raise UserError(f"--budget {options.budget}: 0 or more")
    from kaiwa.commands.console import table
    from kaiwa.studies.defences import TITLES
    from kaiwa.studies.statements import WORDS, count_line, rows_of, write_page

    results: list[StatementResult] = []
    for name in (name.strip() for name in (options.models or options.model).split(",")):
        results += _statements_of(options, name)
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        print(f"\n{model}: {count_line(own)}")
        print(table([list(WORDS["en"]["heads"]), *rows_of(own, "en")], lambda i: "<"))
    print(f"page: {write_page(results, TITLES, options.out)}")


def _statements_of(options: Options, name: str) -> list[StatementResult]:
    """Run the matrix and the adaptive attackers on one model."""
    import time

    from kaiwa.catalog.open_model import open_model
    from kaiwa.commands.redteam.matrix_text import progress
    from kaiwa.defend.defence import NONE
    from kaiwa.defend.defended import DefendedModel
    from kaiwa.lab.asking.cached_model import CachedModel
    from kaiwa.lab.asking.call_cache import CallCache
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack_files import attacks_of
    from kaiwa.redteam.bench.adaptive import WITHOUT_WEIGHTS, AdaptivePlan, search
    from kaiwa.redteam.bench.matrix import analyse_trials
    from kaiwa.redteam.bench.run import BenchPlan, make_defences, run, split_list
    from kaiwa.redteam.targets.target import read_target
    from kaiwa.studies.defences import DEFENCES, statements

    target = read_target(options.target)
    attacks = tuple(attacks_of(options.attacks, ATTACKS, target))
    plan = BenchPlan(target=target, attacks=attacks, defences=DEFENCES, models=(name,), trials=options.trials)
    folder = options.out / (Path(name).name or "model")
    folder.mkdir(parents=True, exist_ok=True)
    opened = open_model(options.choice(name, options.url or target.url))
    outcomes = run(plan, lambda _: opened, folder / "calls.jsonl", progress(time.monotonic()), print)
    adaptive: list[AdaptiveResult] = []
    if options.budget and options.adaptive:
        cached = CachedModel(
            opened.model, CallCache(folder / "calls.jsonl"), identity=opened.identity, form=opened.form
        )
        search_plan = AdaptivePlan(target=target, attacks=attacks, trials=4 * options.trials, budget=options.budget)
        for defence in make_defences(split_list(options.adaptive), cached, target.language):
            model = DefendedModel(model=cached, defence=NONE)
            adaptive += [search(search_plan, defence, attacker, model) for attacker in WITHOUT_WEIGHTS]
    return statements(analyse_trials(outcomes), target.language, adaptive)
