"""The defence of `kaiwa up --defence FILE` around every answer: chat, completions, responses and the chat page.

`generate` stands between a checked request and the engine, and yields the same replies as EngineClient.generate. A
request is refused or rewritten before the engine gets the request. An answer, tool calls included, passes the filter
before anything else reads the text, so nothing unchecked is shown. A fault of the defence itself ends the answer
(finish_reason "content_filter") and never lets text through.

A `system` in the file is the only system text: a client's own becomes part of a user's turn. Tools and earlier tool
calls pass the checks as untrusted text and are not rewritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets as random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import FILTERED, BlockDecision, Blocked, Defence, ReplyFilter, RequestCheck, Session, Stack
from kaiwa.defend.parse import DefenceFile, read_parts
from kaiwa.defend.turns import language_of, split
from kaiwa.serve.defence.conversation import conversation_of, text_outside_messages, with_conversation
from kaiwa.serve.defence.engine_judge import EngineJudge
from kaiwa.serve.exceptions import APIError, EngineBusy, EngineLost
from kaiwa.serve.worker.client import EngineClient
from kaiwa.serve.worker.wire import (
    Admitted,
    ChatPrompt,
    Generate,
    ModelPrompt,
    Reply,
    Started,
    TextPrompt,
    TokenPrompt,
    Tokens,
    has_ended,
)
from kaiwa.text.records import Conversation, Message

log = logging.getLogger("kaiwa.defend")
LONG = 20_000  # characters; longer requests are checked in a thread, so that other requests need not wait
NO_FAULTS = (EngineBusy, EngineLost, UserError, APIError)  # errors of the request or the engine, not of the defence
Replies = AsyncGenerator[tuple[int, Reply], None]


@dataclass(slots=True, kw_only=True)
class Shield:
    """The server's defence. The counts are of answers; `seconds` is the defence's own time."""

    defence: Defence
    secrets: tuple[str, ...] = ()
    system: str = ""
    judge: EngineJudge | None = None
    requests: int = 0
    blocked_requests: int = 0
    blocked_replies: int = 0
    failures: int = 0
    seconds: float = 0.0
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "defence"))

    def start(self) -> None:
        """Bind the judge to the running event loop, where the judge asks the engine."""
        if self.judge is not None:
            self.judge.loop = asyncio.get_running_loop()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    @property
    def is_covert(self) -> bool:
        """Whether prompts or answers hold text hidden from clients: then no echo and no log-probabilities."""
        parts = self.defence.parts if isinstance(self.defence, Stack) else (None,)
        return bool(self.system) or any(not isinstance(part, RequestCheck) for part in parts)

    def permit(self, *, logprobs: bool, echo: bool = False) -> None:
        """Raise APIError for options with which a client would see more than the filtered answer."""
        for name, requested in (("logprobs", logprobs), ("echo", echo)):
            if requested and self.is_covert:
                message = f"{name} would show what this server's defence ({self.defence.name}) holds back; leave it out"
                raise APIError(400, message, "invalid_value", name)

    async def open(self, engine: EngineClient, request: Generate, seed: int) -> GuardedPrompt:
        """Return the request's prompt under the defence. Errors of the engine are raised, faults of the defence close.

        seed: draws the defence's random markers.
        """
        prompt = await _with_text(engine, request)
        conversation = conversation_of(prompt, self.system)
        reply = words.REFUSED[language_of(split(conversation))]
        session = self.defence.session(seed, self.secrets)
        start = time.perf_counter()
        guarded = GuardedPrompt(self, request.prompt, reply)
        try:
            outside = text_outside_messages(prompt)
            if self.defence.asks_model or len(outside) + sum(len(message.content) for message in conversation) > LONG:
                loop = asyncio.get_running_loop()
                outcome = await loop.run_in_executor(self.pool, self._check, session, conversation, outside, seed)
            else:
                outcome = self._check(session, conversation, outside, seed)
            if isinstance(outcome, BlockDecision):
                guarded.block = outcome
            else:
                guarded.new_filter = session.reply if session.reply() is not None else None
                guarded.prompt = with_conversation(request.prompt, conversation, outcome, self.system)
        except NO_FAULTS:
            raise
        except Exception as error:
            self.failures += 1
            log.error("the defence failed, so the request is refused", exc_info=error)
            guarded.block = BlockDecision(reason="the defence failed", reply=reply)
        self.seconds += time.perf_counter() - start
        if guarded.block is not None:
            log.info("refused: %s", guarded.block.reason)
        return guarded

    def _check(
        self, session: Session, conversation: Conversation, outside: str, seed: int
    ) -> Conversation | BlockDecision:
        """Return the conversation as sent to the model, or a block. The text outside is checked as a user's."""
        if outside:
            system = (message for message in conversation if message.role == "system")
            outcome = self.defence.session(seed, self.secrets).request((*system, Message("user", outside)))
            if isinstance(outcome, BlockDecision):
                return outcome
        return session.request(conversation)


def make_shield(file: DefenceFile, engine: EngineClient, judge: Entry | None) -> Shield:
    """Return the shield of a defence file. judge: the judging model, if any. UserError if the defence cannot run."""
    model = EngineJudge(engine, judge) if judge is not None else None
    defence = file.make(model)
    for (name, _), part in zip(read_parts(file.defence, file.path), defence.parts, strict=True):
        if getattr(part, "threshold", 0.0) is None:
            raise UserError(
                f"{file.path}: {name} has no threshold; set it with kaiwa defend calibrate {file.path} --benign "
                "TEXTS.txt, or copy the line that kaiwa redteam run printed"
            )
    return Shield(defence=defence, secrets=file.secrets, system=file.system, judge=model)


@dataclass(slots=True)
class GuardedPrompt:
    """A prompt under the defence: rewritten, or blocked.

    reply: the text for the user where the defence fails. new_filter: makes the filter for an answer to the prompt.
    """

    shield: Shield
    prompt: ModelPrompt
    reply: str
    new_filter: Callable[[], ReplyFilter | None] | None = None
    block: BlockDecision | None = None

    def refusal(self) -> Iterator[Reply]:
        """Yield the replies of a blocked answer, which the engine never gets."""
        assert self.block is not None
        yield Admitted()
        yield Started(prompt_tokens=0)
        yield Tokens(text=self.block.reply, n=0, finish=FILTERED)


class GuardedAnswer:
    """An answer on its way out. `is_over`: the defence has ended the answer, and later text is dropped."""

    def __init__(self, prompt: GuardedPrompt) -> None:
        self.shield, self.reply = prompt.shield, prompt.reply
        self.filter = prompt.new_filter() if prompt.new_filter is not None else None
        self.is_over = False

    def checked(self, reply: Reply) -> Reply:
        """Return the reply with the text released by the filter so far."""
        if self.filter is None or not isinstance(reply, Tokens):
            return reply
        start = time.perf_counter()
        try:
            text = self.filter.feed(reply.text)
            if reply.finish is not None:
                text += self._finish(self.filter, text)
            checked = replace(reply, text=text)
        except Blocked as stop:
            self.shield.blocked_replies += 1
            log.info("stopped: %s", stop.block.reason)
            checked = self._end(reply, stop.clean + stop.block.reply)
        except Exception as error:
            self.shield.failures += 1
            log.error("the defence failed, so the answer ends", exc_info=error)
            checked = self._end(reply, self.reply)
        self.shield.seconds += time.perf_counter() - start
        return checked

    def _finish(self, filter: ReplyFilter, text: str) -> str:
        try:
            return filter.finish()
        except Blocked as stop:
            raise Blocked(stop.block, text + stop.clean) from None

    def _end(self, reply: Tokens, text: str) -> Tokens:
        self.is_over = True
        return replace(reply, text=text, finish=FILTERED)


async def generate(engine: EngineClient, shield: Shield | None, requests: Sequence[Generate]) -> Replies:
    """Yield the replies of EngineClient.generate, under the defence if any. Equal prompts share a rewrite."""
    if shield is None:
        async with contextlib.aclosing(engine.generate(*requests)) as stream:
            async for item in stream:
                yield item
        return
    shield.requests += len(requests)
    seed = random.randbits(62)
    opened: list[tuple[ModelPrompt, GuardedPrompt]] = []
    guarded: list[GuardedPrompt] = []
    for request in requests:
        prompt = next((prompt for original, prompt in opened if original == request.prompt), None)
        if prompt is None:
            prompt = await shield.open(engine, request, seed)
            opened.append((request.prompt, prompt))
        guarded.append(prompt)
    for index, prompt in enumerate(guarded):
        if prompt.block is not None:
            shield.blocked_requests += 1
            for reply in prompt.refusal():
                yield index, reply
    admitted = {index: prompt for index, prompt in enumerate(guarded) if prompt.block is None}
    if admitted:
        async with contextlib.aclosing(_generate_admitted(engine, requests, admitted)) as items:
            async for item in items:
                yield item


async def _generate_admitted(
    engine: EngineClient, requests: Sequence[Generate], prompts: dict[int, GuardedPrompt]
) -> Replies:
    """Yield the checked answers to the admitted prompts, by their index among the requests.

    Return when every answer has ended. An answer ended by the defence is cancelled in the engine.
    """
    indices = list(prompts)
    answers = {index: GuardedAnswer(prompt) for index, prompt in prompts.items()}
    unfinished = set(indices)
    rewritten = [replace(requests[index], prompt=prompt.prompt) for index, prompt in prompts.items()]
    async with contextlib.aclosing(engine.generate(*rewritten)) as stream:
        async for i, reply in stream:
            index = indices[i]
            if answers[index].is_over:
                continue
            checked = answers[index].checked(reply)
            yield index, checked
            if has_ended(checked):
                unfinished.discard(index)
            if not unfinished:
                return


async def _with_text(engine: EngineClient, request: Generate) -> ChatPrompt | TextPrompt:
    """Return the request's prompt, with token ids read as their text."""
    if isinstance(request.prompt, TokenPrompt):
        return TextPrompt(await engine.detokenize(request.model, request.prompt.ids))
    return request.prompt
