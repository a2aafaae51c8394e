"""Running the bench: every attack under every defence, the controls and the benign twins, all side by side.

All trials advance together, one turn per round: one call of the model for all requests, so that common prefixes of
prompts (one system prompt and its canary for all attacks of a trial) are computed once. Replies go through the
defences' own `generate_defended`, the same code that the server runs; below, every call is kept in OUT/calls.jsonl
(lab/asking/call_cache.py), so that a killed run continues, and added attacks or trials cost only their own calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.defend.calibrate import HasThreshold, complete
from kaiwa.defend.defence import NONE, Defence, Session, Stack
from kaiwa.defend.defended import DefendedModel
from kaiwa.defend.parse import JUDGES, parse, read_parts
from kaiwa.lab.asking.cached_model import CachedModel
from kaiwa.lab.asking.call_cache import CallCache
from kaiwa.redteam.attacks.attack import Attack
from kaiwa.redteam.bench.trial import CONTROL, Trial, TrialOutcome, TrialSpec, planned_requests
from kaiwa.redteam.targets.benign_twins import CALIBRATION, benign_requests
from kaiwa.redteam.targets.target import BenignRequest, Target
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.sampling import Sampling

BENIGN_SHARE = 0.1  # times that each benign request is asked, of the trials of an attack
SAMPLING = Sampling(max_tokens=48, temperature=0.3, top_p=0.95)
FALSE_BLOCK = 0.05  # for which judges without a threshold of their own are calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """A benchmark to run. `defences`: as written; `none` is added, since every defence is compared with `none`."""

    target: Target
    attacks: tuple[Attack, ...]
    defences: tuple[str, ...]
    models: tuple[str, ...]
    trials: int = 20
    seed: int = 0
    sampling: Sampling = SAMPLING  # its seed is not used: each trial has its own, drawn from `seed`

    def __post_init__(self) -> None:
        for text in self.defences:
            read_parts(text, f"defence {text!r}")  # a slip is told before a model is loaded
        if self.trials < 1:
            raise UserError(f"--trials {self.trials}: at least 1")
        if self.sampling.max_tokens < 1:
            raise UserError(f"--max-tokens {self.sampling.max_tokens}: at least 1", field="max_tokens")
        if self.sampling.temperature > 2:
            raise UserError(f"--temperature {self.sampling.temperature}: between 0 and 2", field="temperature")
        if self.sampling.temperature == 0 and self.trials > 1 and not self.target.secrets:
            raise UserError(
                "--temperature 0 gives every trial the same answer; use --trials 1, or a temperature above 0"
            )

    @property
    def arms(self) -> tuple[str, ...]:
        """`none`, then each defence once, as first written."""
        return tuple(spellings[0] for spellings in self._spellings())

    @property
    def doubles(self) -> tuple[str, ...]:
        """Left out: further spellings of a defence, as `None` or `delimiters + sandwich`."""
        return tuple(text for spellings in self._spellings()[1:] for text in spellings[1:])

    def _spellings(self) -> list[list[str]]:
        groups: dict[str, list[str]] = {}
        for text in ("none", *self.defences):
            same = repr([(name, sorted(options.items())) for name, options in read_parts(text, "defence")])
            groups.setdefault(same, []).append(text)
        return list(groups.values())

    def plan_json(self) -> dict[str, Any]:
        """Return plan.json: the plan, and the sampling parameters in force."""
        sampling = self.sampling.to_json()
        if not self.sampling.stop:
            del sampling["stop"]
        return sampling | {
            "target": self.target.name,
            "language": self.target.language,
            "system": self.target.system,
            "attacks": [attack.name for attack in self.attacks],
            "defences": list(self.arms),
            "models": list(self.models),
            "trials": self.trials,
            "seed": self.seed,
        }


def run(
    plan: BenchPlan,
    open_model: Callable[[str], OpenedModel],
    cache_file: Path | None = None,
    show: Callable[[str, int, int], None] = lambda model, done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> list[TrialOutcome]:
    """Run the plan. Return all outcomes, models in their order. `show` is told (model, requests done, requests
    planned), `say` a line for each threshold that the run chose."""
    cache = CallCache(cache_file)
    outcomes: list[TrialOutcome] = []
    for name in plan.models:
        opened = open_model(name)
        label = opened.model.name
        if any(outcome.model == label for outcome in outcomes):
            raise UserError(f"two models are called {label!r}; their results could not be told apart")
        cached = CachedModel(opened.model, cache, identity=opened.identity, form=opened.form)
        built = make_defences(plan.arms, cached, plan.target.language)
        for arm, text in chosen_thresholds(plan.arms, built).items():
            say(f"{label}: {arm} was measured as {text}; that text deploys it")
        trials = make_trials(plan, label, built)
        cached.show = partial(_show, show, label, sum(planned_requests(trial) for trial in trials))
        advance(trials, DefendedModel(model=cached, defence=NONE))
        show(label, cached.done, cached.done)
        outcomes += [trial.outcome() for trial in trials]
    return outcomes


def _show(show: Callable[[str, int, int], None], model: str, total: int, done: int) -> None:
    """Report progress. A tool's answer adds an unplanned request, so only the run itself reports the end."""
    show(model, done, max(total, done + 1))


def make_defences(arms: Sequence[str], model: Any, language: str) -> list[Defence]:
    """Build the arms as written and as they would be deployed.

    A part whose threshold depends on the model, and for which none is written, gets one from harmless texts; the run
    says which (`chosen_thresholds`).

    UserError for a defence that is not understood. A defence that the model cannot serve (a judge on a server that does
    not score) fails as a separate arm.
    """
    built: list[Defence] = []
    for text in arms:
        stack = parse(text, model=model)
        try:
            built.append(complete(stack, CALIBRATION[language], FALSE_BLOCK))
        except (UserError, ConnectionError) as error:
            built.append(Unusable(name=stack.name, why=f"{stack.name} cannot be used here: {error}"))
    return built


def chosen_thresholds(arms: Sequence[str], built: Sequence[Defence]) -> dict[str, str]:
    """Return, for each arm with a threshold that the run chose, the text that deploys the arm as it was measured."""
    texts: dict[str, str] = {}
    for text, defence in zip(arms, built, strict=True):
        parts = read_parts(text, "defence")
        if not isinstance(defence, Stack):
            continue
        chosen = {
            name: part.threshold
            for (name, options), part in zip(parts, defence.parts, strict=True)
            if isinstance(part, HasThreshold) and "threshold" not in options and name in JUDGES
        }
        if chosen:
            texts[text] = "+".join(
                name if not options else f"{name}({','.join(f'{k}={v}' for k, v in options.items())})"
                for name, options in (
                    (name, options | ({"threshold": f"{chosen[name]:.6g}"} if name in chosen else {}))
                    for name, options in parts
                )
            )
    return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A defence that could not be made ready: every request under this defence fails with the reason `why`."""

    name: str
    why: str
    asks_model: bool = False

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        raise UserError(self.why)


def make_trials(plan: BenchPlan, model: str, arms: Sequence[Defence]) -> list[Trial]:
    """Build and begin every trial, ordered by defence, trial and attack: prompts that begin alike stand together."""
    numbers = range(plan.trials)
    benign_numbers = range(max(1, round(plan.trials * BENIGN_SHARE)))

    def spec(
        kind: str, arm: Defence, number: int, attack: Attack | None = None, benign: BenignRequest | None = None
    ) -> TrialSpec:
        return TrialSpec(
            kind=kind,
            model=model,
            target=plan.target,
            defence=arm,
            number=number,
            seed=plan.seed,
            sampling=plan.sampling,
            attack=attack,
            benign=benign,
        )

    specs = [spec("attack", arm, i, attack) for arm in arms for i in numbers for attack in plan.attacks]
    specs += [spec(CONTROL, NONE, i, attack) for i in numbers for attack in plan.attacks]
    requests = benign_requests(plan.target)
    specs += [spec("benign", arm, i, benign=request) for arm in arms for i in benign_numbers for request in requests]
    trials = [Trial(one_spec) for one_spec in specs]
    for trial in trials:
        trial.begin()
    return trials


def advance(trials: Sequence[Trial], model: DefendedModel) -> None:
    """Run all trials to their ends, one turn of each per round."""
    waiting = list(trials)
    while True:
        pairs = [(trial, ask) for trial in waiting if (ask := trial.next_call()) is not None]
        if not pairs:
            return
        for i, result in model.generate_defended([ask for _, ask in pairs]):
            pairs[i][0].take(result)
        waiting = [trial for trial, _ in pairs]


def split_list(text: str) -> list[str]:
    """Split "none, canary_filter(partial=6, encodings=true)" into two: commas inside brackets do not separate."""
    names = [part.strip() for part in COMMA.split(text)]
    if not all(names):
        raise UserError(f"{text!r}: a name is missing between two commas")
    return names


COMMA = re.compile(r",(?![^(]*\))")
