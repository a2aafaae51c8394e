"""A ChatModel under a defence: what the red team measures is what the server runs.

A plain string is a conversation of one user's message; what a defence makes of it is put together with blank lines.
`generate_defended` takes each ask with its own data, secrets and seed, so that a whole matrix goes to the model as one
call and shared prefixes are computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kaiwa.core.errors import UserError
from kaiwa.defend.defence import FILTERED, Block, Defence, Session, shown
from kaiwa.text.chat_model import (
    ChatModel,
    GenerateCall,
    ScoreCall,
    ScoreResult,
    generate_alone,
    generate_many,
    score_alone,
    score_many,
)
from kaiwa.text.records import Completion, Conversation, Message
from kaiwa.text.sampling import USUAL, Sampling

Count = Callable[[Conversation | str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefendedAsk:
    """`seed`: of the defence's markers; by default the sampling's. `defence`: another than the model's."""

    ask: GenerateCall
    data: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    seed: int | None = None
    defence: Defence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one ask. `prompt`: what the model saw (as sent, where it never came to that); `block`: why it was
    stopped, and `stage` ("request" or "reply") where. Milliseconds are the defence's own, a judge's calls included."""

    completion: Completion
    prompt: Conversation | str
    block: Block | None = None
    stage: str = ""
    request_ms: float = 0.0
    reply_ms: float = 0.0


@dataclass(slots=True)
class Costs:
    """Sums over the requests so far. `characters` and `tokens`: added to prompts (tokens where they are counted)."""

    requests: int = 0
    blocked_requests: int = 0
    blocked_replies: int = 0
    characters: int = 0
    tokens: int = 0
    request_ms: float = 0.0
    reply_ms: float = 0.0

    def add(self, outcome: Outcome, sent: Conversation | str, count: Count | None) -> None:
        self.requests += 1
        self.blocked_requests += outcome.stage == "request"
        self.blocked_replies += outcome.stage == "reply"
        if outcome.stage != "request":
            self.characters += _characters(outcome.prompt) - _characters(sent)
            self.tokens += count(outcome.prompt) - count(sent) if count is not None else 0
        self.request_ms += outcome.request_ms
        self.reply_ms += outcome.reply_ms


@dataclass(slots=True)
class DefendedModel:
    """A ManyModel. What a defence stopped is a Completion with finish_reason "content_filter". `count`: tokens of a
    prompt, for `costs`."""

    model: ChatModel
    defence: Defence
    secrets: tuple[str, ...] = ()
    count: Count | None = None
    costs: Costs = field(default_factory=Costs)

    @property
    def name(self) -> str:
        return self.model.name if self.defence.name == "none" else f"{self.model.name} under {self.defence.name}"

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return generate_alone(self, prompt, sampling)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        """Under the prompt that the defence makes. UserError where it refuses the context."""
        return score_alone(self, context, continuation)

    def generate_many(self, asks: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        for i, found in self.generate_defended([DefendedAsk(ask=ask, secrets=self.secrets) for ask in asks]):
            yield i, found if isinstance(found, Exception) else found.completion

    def score_many(self, rates: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        passed: list[int] = []
        sent: list[ScoreCall] = []
        for i, rate in enumerate(rates):
            try:
                made = apply(self.defence.session(0, self.secrets), rate.context)
                if isinstance(made, Block):
                    raise UserError(f"{self.defence.name} refuses the context: {made.reason}")
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            passed.append(i)
            sent.append(replace(rate, context=made))
        for j, found in score_many(self.model, sent):
            yield passed[j], found

    def generate_defended(self, asks: Sequence[DefendedAsk]) -> Iterator[tuple[int, Outcome | Exception]]:
        """In any order. UserError and ConnectionError are answers; anything else is a fault of ours and is raised."""
        passed: list[tuple[int, Session, Outcome]] = []
        sent: list[GenerateCall] = []
        for i, one in enumerate(asks):
            try:
                session, outcome = self._requested(one)
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            if outcome.block is not None:
                self.costs.add(outcome, one.ask.prompt, self.count)
                yield i, outcome
                continue
            passed.append((i, session, outcome))
            sent.append(replace(one.ask, prompt=outcome.prompt))
        for j, found in generate_many(self.model, sent):
            i, session, outcome = passed[j]
            if isinstance(found, Exception):
                yield i, found
                continue
            try:
                outcome = _replied(session, outcome, found)
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            self.costs.add(outcome, asks[i].ask.prompt, self.count)
            yield i, outcome

    def _requested(self, one: DefendedAsk) -> tuple[Session, Outcome]:
        defence = one.defence or self.defence
        session = defence.session(one.ask.sampling.seed if one.seed is None else one.seed, one.secrets or self.secrets)
        began = time.perf_counter()
        made = apply(session, one.ask.prompt, one.data)
        spent = 1000 * (time.perf_counter() - began)
        if isinstance(made, Block):
            stopped = Completion(text=made.reply, finish_reason=FILTERED)
            outcome = Outcome(completion=stopped, prompt=one.ask.prompt, block=made, stage="request", request_ms=spent)
            return session, outcome
        return session, Outcome(completion=Completion(text=""), prompt=made, request_ms=spent)


def _replied(session: Session, outcome: Outcome, found: Completion) -> Outcome:
    began = time.perf_counter()
    text, block = "", None
    for piece, stopped in shown(session.reply(), [found.text]):
        text, block = text + piece, stopped
    spent = 1000 * (time.perf_counter() - began)
    if block is None:
        kept = found if text == found.text else replace(found, text=text, ids=(), logprobs=())
        return replace(outcome, completion=kept, reply_ms=spent)
    stopped_at = replace(found, text=text, ids=(), logprobs=(), finish_reason=FILTERED)
    return replace(outcome, completion=stopped_at, block=block, stage="reply", reply_ms=spent)


def apply(session: Session, prompt: Conversation | str, data: tuple[str, ...] = ()) -> Conversation | str | Block:
    """`session.request` for messages and for plain text alike."""
    if not isinstance(prompt, str):
        return session.request(prompt, data)
    made = session.request((Message("user", prompt),), data)
    return made if isinstance(made, Block) else "\n\n".join(message.content for message in made)


def _characters(prompt: Conversation | str) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)


def defended(
    model: ChatModel, defence: Defence, *, secrets: tuple[str, ...] = (), count: Count | None = None
) -> DefendedModel:
    """The model as people meet it behind this defence."""
    return DefendedModel(model, defence, secrets, count)
