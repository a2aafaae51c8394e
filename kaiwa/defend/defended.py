"""A ChatModel under a defence: the red team measures the same code that the server runs.

A plain string is a conversation of one user's message; the rewritten messages are joined with blank lines.
`generate_defended` takes each call with its own data, secrets and seed, so that a whole matrix goes to the model at
once and shared prefixes are computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kaiwa.core.errors import UserError
from kaiwa.defend.defence import FILTERED, BlockDecision, Defence, Session, filter_reply
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
class DefendedCall:
    """A call with its defence (None: the model's). seed: of the defence's markers, by default the sampling's."""

    call: GenerateCall
    data: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    seed: int | None = None
    defence: Defence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefendedAnswer:
    """The answer to one call.

    prompt: as the model saw the prompt (as sent, if the model never did). block: the refusal; `stage`: "request" or
    "reply". Milliseconds are the defence's own, a judge's calls included.
    """

    completion: Completion
    prompt: Conversation | str
    block: BlockDecision | None = None
    stage: str = ""
    request_ms: float = 0.0
    reply_ms: float = 0.0


@dataclass(slots=True)
class Costs:
    """Sums over the requests so far. characters, tokens: added to prompts (tokens only if counted)."""

    requests: int = 0
    blocked_requests: int = 0
    blocked_replies: int = 0
    characters: int = 0
    tokens: int = 0
    request_ms: float = 0.0
    reply_ms: float = 0.0

    def add(self, answer: DefendedAnswer, sent: Conversation | str, count: Count | None) -> None:
        self.requests += 1
        self.blocked_requests += answer.stage == "request"
        self.blocked_replies += answer.stage == "reply"
        if answer.stage != "request":
            self.characters += _characters(answer.prompt) - _characters(sent)
            self.tokens += count(answer.prompt) - count(sent) if count is not None else 0
        self.request_ms += answer.request_ms
        self.reply_ms += answer.reply_ms


@dataclass(slots=True)
class DefendedModel:
    """A ManyModel. A stopped answer is a Completion with finish_reason "content_filter".

    count: counts the tokens of a prompt, for `costs`.
    """

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
        """Score under the prompt that the defence makes. UserError where the defence refuses the context."""
        return score_alone(self, context, continuation)

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        for i, outcome in self.generate_defended([DefendedCall(call=call, secrets=self.secrets) for call in calls]):
            yield i, outcome if isinstance(outcome, Exception) else outcome.completion

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        indices: list[int] = []
        rewritten: list[ScoreCall] = []
        for i, call in enumerate(calls):
            try:
                context = apply_defence(self.defence.session(0, self.secrets), call.context)
                if isinstance(context, BlockDecision):
                    raise UserError(f"{self.defence.name} refuses the context: {context.reason}")
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            indices.append(i)
            rewritten.append(replace(call, context=context))
        for j, result in score_many(self.model, rewritten):
            yield indices[j], result

    def generate_defended(self, calls: Sequence[DefendedCall]) -> Iterator[tuple[int, DefendedAnswer | Exception]]:
        """Yield (index, answer) in any order. UserError and ConnectionError are answers; other errors are raised."""
        admitted: list[tuple[int, Session, DefendedAnswer]] = []
        rewritten: list[GenerateCall] = []
        for i, call in enumerate(calls):
            try:
                session, answer = self._open(call)
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            if answer.block is not None:
                self.costs.add(answer, call.call.prompt, self.count)
                yield i, answer
                continue
            admitted.append((i, session, answer))
            rewritten.append(replace(call.call, prompt=answer.prompt))
        for j, completion in generate_many(self.model, rewritten):
            i, session, answer = admitted[j]
            if isinstance(completion, Exception):
                yield i, completion
                continue
            try:
                answer = _filter_completion(session, answer, completion)
            except (UserError, ConnectionError) as error:
                yield i, error
                continue
            self.costs.add(answer, calls[i].call.prompt, self.count)
            yield i, answer

    def _open(self, call: DefendedCall) -> tuple[Session, DefendedAnswer]:
        """Return the call's session, and the answer so far: the rewritten prompt, or the refusal."""
        defence, prompt = call.defence or self.defence, call.call.prompt
        seed = call.call.sampling.seed if call.seed is None else call.seed
        session = defence.session(seed, call.secrets or self.secrets)
        start = time.perf_counter()
        outcome = apply_defence(session, prompt, call.data)
        ms = 1000 * (time.perf_counter() - start)
        if isinstance(outcome, BlockDecision):
            refusal = Completion(text=outcome.reply, finish_reason=FILTERED)
            answer = DefendedAnswer(completion=refusal, prompt=prompt, block=outcome, stage="request", request_ms=ms)
            return session, answer
        return session, DefendedAnswer(completion=Completion(text=""), prompt=outcome, request_ms=ms)


def _filter_completion(session: Session, answer: DefendedAnswer, completion: Completion) -> DefendedAnswer:
    """Return the answer with the text of the completion that may be shown."""
    start = time.perf_counter()
    text, block = "", None
    for piece, decision in filter_reply(session.reply(), [completion.text]):
        text, block = text + piece, decision
    if block is None and completion.tool_calls:
        block = _filter_calls(session, text, completion)
    ms = 1000 * (time.perf_counter() - start)
    if text != completion.text or block is not None:
        completion = replace(completion, text=text, ids=(), logprobs=())
    if block is not None:
        completion = replace(completion, tool_calls=())
    if block is None:
        return replace(answer, completion=completion, reply_ms=ms)
    return replace(
        answer, completion=replace(completion, finish_reason=FILTERED), block=block, stage="reply", reply_ms=ms
    )


def _filter_calls(session: Session, text: str, completion: Completion) -> BlockDecision | None:
    """Return the filter's decision on what the calls of tools say, read behind the answer's text."""
    block = None
    calls = "\n".join(f"{call.name}: {call.argument_text()}" for call in completion.tool_calls)
    for _, decision in filter_reply(session.reply(), [text, "\n", calls]):
        block = decision
    return block


def apply_defence(
    session: Session, prompt: Conversation | str, data: tuple[str, ...] = ()
) -> Conversation | str | BlockDecision:
    """Return `session.request` of messages, or of plain text as one user's message."""
    if not isinstance(prompt, str):
        return session.request(prompt, data)
    outcome = session.request((Message("user", prompt),), data)
    return outcome if isinstance(outcome, BlockDecision) else "\n\n".join(message.content for message in outcome)


def _characters(prompt: Conversation | str) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)
