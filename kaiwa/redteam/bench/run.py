"""Runs the bench: every attack under every defence, the controls and the benign twins, all side by side.

All trials advance together, a turn a round: one call of the model for all that is asked, so that the beginnings that
prompts share (one system prompt and its canary for all attacks of a trial) are computed once. Replies go through the
defences' own `generate_defended`, the same that the server runs; below it every call is kept in OUT/calls.jsonl
(lab/asking/call_cache.py), so that a run that was killed goes on where it was, and more attacks or trials only pay
for themselves.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.defend.calibrate import calibrated
from kaiwa.defend.defence import NONE, Defence, Session
from kaiwa.defend.defended import DefendedModel
from kaiwa.defend.parse import names, parse, written
from kaiwa.lab.asking.call_cache import Asker, Cache, key
from kaiwa.lab.asking.program import Reply, Wish
from kaiwa.lab.experiments.run import Opened
from kaiwa.redteam.attacks.attack import Attack
from kaiwa.redteam.bench.trial import CONTROL, Trial, TrialOutcome, planned_requests
from kaiwa.redteam.targets.benign_twins import CALIBRATION, benign_requests
from kaiwa.redteam.targets.target import Target
from kaiwa.text.chat_model import GenerateCall, ScoreCall, ScoreResult, generate_alone, score_alone
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

BENIGN_SHARE = 0.1  # times that each benign request is asked, of the trials of an attack
FALSE_BLOCK = 0.05  # for which judging defences are calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is run. `defences`: as written; `none` is added, since all are compared with it."""

    target: Target
    attacks: tuple[Attack, ...]
    defences: tuple[str, ...]
    models: tuple[str, ...]
    trials: int = 20
    seed: int = 0
    max_tokens: int = 48
    temperature: float = 0.3
    top_p: float = 0.95

    def __post_init__(self) -> None:
        for text in self.defences:
            written(text, f"defence {text!r}")  # a slip is told before a model is loaded
        if self.trials < 1:
            raise UserError(f"--trials {self.trials}: at least 1")
        if not self.max_tokens >= 1:
            raise UserError(f"--max-tokens {self.max_tokens}: at least 1")
        if not 0 <= self.temperature <= 2:
            raise UserError(f"--temperature {self.temperature}: between 0 and 2")
        if self.temperature == 0 and self.trials > 1 and not self.target.secrets:
            raise UserError(
                "--temperature 0 gives every trial the same answer; use --trials 1, or a temperature above 0"
            )

    @property
    def arms(self) -> tuple[str, ...]:
        """`none`, then each defence once, as it was first written."""
        return tuple(spellings[0] for spellings in self._spellings())

    @property
    def doubles(self) -> tuple[str, ...]:
        """Left out: further spellings of a defence, as `None` or `delimiters + sandwich`."""
        return tuple(text for spellings in self._spellings()[1:] for text in spellings[1:])

    def _spellings(self) -> list[list[str]]:
        groups: dict[str, list[str]] = {}
        for text in ("none", *self.defences):
            same = repr([(name, sorted(options.items())) for name, options in written(text, "defence")])
            groups.setdefault(same, []).append(text)
        return list(groups.values())

    def plan_json(self) -> dict[str, Any]:
        return {
            "target": self.target.name,
            "language": self.target.language,
            "system": self.target.system,
            "attacks": [attack.name for attack in self.attacks],
            "defences": list(self.arms),
            "models": list(self.models),
            "trials": self.trials,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }


class CachedModel:
    """A ManyModel whose calls are kept. `form`: "text" for a model that has not learnt to chat."""

    def __init__(self, opened: Opened, cache: Cache, form: str) -> None:
        self.form, self.done = form, 0
        self.show: Callable[[int], None] = lambda done: None
        self.asker = Asker(opened.model, cache, opened.identity, self._shown)
        self.name = opened.model.name

    def _shown(self, done: int, total: int) -> None:
        self.show(self.done + done)

    def generate_many(self, asks: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        wishes = [Wish(call=self._formed(ask)) for ask in asks]
        new = len(asks) - sum(self.kept(wish) for wish in wishes)
        self.done += len(asks) - new
        for i, reply in enumerate(self.asker(wishes)):
            yield i, _completion(reply)
        self.done += new
        self.show(self.done)

    def score_many(self, rates: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        before, self.asker.show = self.asker.show, lambda done, total: None
        try:
            replies = self.asker([Wish(call=rate) for rate in rates])
        finally:
            self.asker.show = before
        for i, reply in enumerate(replies):
            if reply.error:
                yield i, ConnectionError(reply.error)
            else:  # the cache keeps the sum and the count: all that a judge reads
                each = reply.logprob / max(1, reply.n_scored)
                yield (
                    i,
                    ScoreResult(logprobs=(each,) * reply.n_scored, n_prompt=reply.n_prompt, n_reused=reply.n_reused),
                )

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return generate_alone(self, prompt, sampling)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return score_alone(self, context, continuation)

    def kept(self, wish: Wish) -> bool:
        return key(self.asker.identity, wish) in self.asker.cache.replies

    def _formed(self, ask: GenerateCall) -> GenerateCall:
        if self.form == "chat" or isinstance(ask.prompt, str):
            return ask
        text = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in ask.prompt)
        sampling = dataclasses.replace(ask.sampling, stop=("\n\nUser:", "\n\nSystem:"))
        return dataclasses.replace(ask, prompt=f"{text}\n\nAssistant:", sampling=sampling)


def _completion(reply: Reply) -> Completion | Exception:
    if reply.error:
        return ConnectionError(reply.error)
    return Completion(
        text=reply.text,
        finish_reason=reply.finish_reason,
        n_prompt=reply.n_prompt,
        n_reused=reply.n_reused,
        n_tokens=reply.n_tokens,
    )


def run(
    plan: BenchPlan,
    open_model: Callable[[str], Opened],
    cache_file: Path | None = None,
    show: Callable[[str, int, int], None] = lambda model, done, total: None,
) -> list[TrialOutcome]:
    """All outcomes, models in their order. `show`: model, requests done, requests planned."""
    cache = Cache(cache_file)
    outcomes: list[TrialOutcome] = []
    for name in plan.models:
        opened = open_model(name)
        label = opened.model.name
        if any(outcome.model == label for outcome in outcomes):
            raise UserError(f"two models are called {label!r}; their results could not be told apart")
        kept = CachedModel(opened, cache, opened.form)
        trials = make_trials(plan, label, make_defences(plan.arms, kept, plan.target.language))
        kept.show = partial(_show, show, label, sum(planned_requests(trial) for trial in trials))
        advance(trials, DefendedModel(model=kept, defence=NONE))
        show(label, kept.done, kept.done)
        outcomes += [trial.outcome() for trial in trials]
    return outcomes


def _show(show: Callable[[str, int, int], None], model: str, total: int, done: int) -> None:
    """A tool's answer adds a request that was not planned: the end is only where the run says so."""
    show(model, done, max(total, done + 1))


def make_defences(arms: Sequence[str], model: Any, language: str) -> list[Defence]:
    """The arms as written, thresholds set on harmless texts for the parts that are written without one. UserError for
    what is not understood; one that this model cannot serve (a judge on a server that does not score) fails as its own
    arm."""
    built: list[Defence] = []
    for text in arms:
        stack = parse(text, model=model)
        try:
            fixed_flags = ["threshold" in options for _, options in written(text, "defence")]
            uncalibrated = tuple(part for part, is_fixed in zip(stack.parts, fixed_flags, strict=True) if not is_fixed)
            calibrated_parts = iter(
                calibrated(dataclasses.replace(stack, parts=uncalibrated), CALIBRATION[language], FALSE_BLOCK).parts
            )
            parts = tuple(
                part if is_fixed else next(calibrated_parts)
                for part, is_fixed in zip(stack.parts, fixed_flags, strict=True)
            )
            built.append(dataclasses.replace(stack, parts=parts))
        except (UserError, ConnectionError) as error:
            built.append(Unusable(name=stack.name, why=f"{stack.name} cannot be used here: {error}"))
    return built


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A defence that could not be made ready: every request under it is a failure that says why."""

    name: str
    why: str
    asks_model: bool = False

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        raise UserError(self.why)


def default_defences() -> tuple[str, ...]:
    return names()


def make_trials(plan: BenchPlan, model: str, arms: Sequence[Defence]) -> list[Trial]:
    """Every trial, begun. Ordered by defence, then trial, then attack: those that begin alike stand together."""
    common = {
        "model": model,
        "target": plan.target,
        "seed": plan.seed,
        "max_tokens": plan.max_tokens,
        "temperature": plan.temperature,
        "top_p": plan.top_p,
    }
    trials = [
        Trial(kind="attack", defence=arm, number=i, attack=attack, name=attack.name, **common)  # type: ignore[arg-type]
        for arm in arms
        for i in range(plan.trials)
        for attack in plan.attacks
    ]
    trials += [
        Trial(kind=CONTROL, defence=NONE, number=i, attack=attack, name=attack.name, **common)  # type: ignore[arg-type]
        for i in range(plan.trials)
        for attack in plan.attacks
    ]
    times = max(1, round(plan.trials * BENIGN_SHARE))
    trials += [
        Trial(kind="benign", defence=arm, number=i, benign=request, name=request.user, **common)  # type: ignore[arg-type]
        for arm in arms
        for i in range(times)
        for request in benign_requests(plan.target)
    ]
    for trial in trials:
        trial.begin()
    return trials


def advance(trials: Sequence[Trial], model: DefendedModel) -> None:
    """All trials to their ends, a turn of each in a round."""
    waiting = list(trials)
    while True:
        pairs = [(trial, ask) for trial in waiting if (ask := trial.next()) is not None]
        if not pairs:
            return
        for i, result in model.generate_defended([ask for _, ask in pairs]):
            pairs[i][0].take(result)
        waiting = [trial for trial, _ in pairs]


def split_list(text: str) -> list[str]:
    """ "none, canary_filter(partial=6, encodings=true)" -> two: commas inside brackets do not part."""
    names = [part.strip() for part in COMMA.split(text)]
    if not all(names):
        raise UserError(f"{text!r}: a name is missing between two commas")
    return names


COMMA = re.compile(r",(?![^(]*\))")
