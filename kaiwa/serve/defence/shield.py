"""The defence that `kaiwa up --defence FILE` puts around every answer: chat, completions, responses and the chat page.

It sits where all of them meet, between a checked request and the engine: `generate` has the engine client's own shape.
What comes in is refused or rewritten before the engine sees it; what goes out passes the filter before anything else
reads it, tool calls included, so that nothing is shown that is not checked. Whatever the defence itself does wrong
closes the answer (finish_reason "content_filter"), it never opens it.

With a `system` in the file, that is the only system text: what a client sends as one becomes part of a user's turn.
Tools and earlier calls of tools pass the checks as untrusted text of their own; they are not rewritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets as random
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import FILTERED, Block, Blocked, Check, Defence, ReplyFilter, Session, Stack
from kaiwa.defend.parse import DefenceFile
from kaiwa.defend.turns import language_of, split
from kaiwa.serve.defence.engine_judge import EngineJudge
from kaiwa.serve.http.errors import APIError
from kaiwa.serve.openai.tools import with_parsed_arguments
from kaiwa.serve.worker.client import EngineBusy, EngineClient, EngineLost, EngineRefused
from kaiwa.text.records import Conversation, Message

if TYPE_CHECKING:
    from kaiwa.serve.services import Services

log = logging.getLogger("kaiwa.defend")
LONG = 20_000  # characters; longer requests are looked at in a thread, so that nobody else waits
ID = re.compile(r"(call_|toolu_|chatcmpl-tool-)?[A-Za-z0-9]{0,32}")  # of a call; anything else may be a text
TOLD = (EngineBusy, EngineLost, EngineRefused, UserError, APIError)  # errors that answer by themselves
Told = AsyncGenerator[tuple[int, dict[str, Any]], None]


@dataclass(slots=True, kw_only=True)
class Shield:
    """What the server runs. The counts are of answers, `seconds` of the defence's own time."""

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

    @property
    def covert(self) -> bool:
        """Whether prompts or answers hold what a client must not see: then no echo and no log-probabilities."""
        parts = self.defence.parts if isinstance(self.defence, Stack) else (None,)
        return bool(self.system) or any(not isinstance(part, Check) for part in parts)

    def permit(self, *, logprobs: bool, echo: bool = False) -> None:
        """APIError for what would show more than the answer that was let out."""
        for name, wanted in (("logprobs", logprobs), ("echo", echo)):
            if wanted and self.covert:
                said = f"{name} would show what this server's defence ({self.defence.name}) holds back; leave it out"
                raise APIError(400, said, "invalid_value", name)

    async def open(self, engine: EngineClient, request: dict[str, Any], seed: int) -> Guarded:
        """The engine's request under the defence. Errors of the engine are raised, faults of the defence close."""
        conversation = _conversation(await _as_text(engine, request), self.system)
        reply = words.REFUSED[language_of(split(conversation))]
        session = self.defence.session(seed, self.secrets)
        if self.judge is not None:
            self.judge.loop = asyncio.get_running_loop()
        began = time.perf_counter()
        made: Conversation | Block
        passing: ReplyFilter | None = None
        try:
            beside = _beside(request)
            if self.defence.asks_model or len(beside) + sum(len(message.content) for message in conversation) > LONG:
                loop = asyncio.get_running_loop()
                made = await loop.run_in_executor(self.pool, self._made, session, conversation, beside, seed)
            else:
                made = self._made(session, conversation, beside, seed)
            passing = None if isinstance(made, Block) else session.reply()
            sent = request if isinstance(made, Block) else _rewritten(request, conversation, made, self.system)
        except TOLD:
            raise
        except Exception as error:
            self.failures += 1
            log.error("the defence failed, so the request is refused", exc_info=error)
            made, sent = Block(reason="the defence failed", reply=reply), request
        self.seconds += time.perf_counter() - began
        if isinstance(made, Block):
            log.info("refused: %s", made.reason)
            return Guarded(self, sent, None, reply, block=made)
        return Guarded(self, sent, session.reply if passing is not None else None, reply)

    def _made(self, session: Session, conversation: Conversation, beside: str, seed: int) -> Conversation | Block:
        """The conversation as the model is to see it; blocked too where the text beside it is, as a user's."""
        if beside:
            system = (message for message in conversation if message.role == "system")
            found = self.defence.session(seed, self.secrets).request((*system, Message("user", beside)))
            if isinstance(found, Block):
                return found
        return session.request(conversation)


def make_shield(file: DefenceFile, engine: EngineClient, judge: Entry | None) -> Shield:
    """`judge`: the model that judges, where one is needed. UserError where the defence cannot run."""
    model = EngineJudge(engine, judge) if judge is not None else None
    defence = file.make(model)
    for part in defence.parts:
        if getattr(part, "threshold", 0.0) is None:
            raise UserError(f"{file.path}: perplexity has no threshold; set it with kaiwa defend calibrate {file.path}")
    return Shield(defence=defence, secrets=file.secrets, system=file.system, judge=model)


class Guarded:
    """One prompt under the defence. `fresh`: makes the filter of one of its answers."""

    def __init__(
        self,
        shield: Shield,
        request: dict[str, Any],
        fresh: Callable[[], ReplyFilter | None] | None,
        reply: str,
        block: Block | None = None,
    ) -> None:
        self.shield, self.request, self.fresh, self.reply, self.block = shield, request, fresh, reply, block

    def refused(self) -> Iterator[dict[str, Any]]:
        """The messages of an answer that the engine is never asked for."""
        assert self.block is not None
        yield {"kind": "admitted"}
        yield {"kind": "start", "prompt_tokens": 0, "cached": 0, "prompt": []}
        yield {"kind": "tokens", "text": self.block.reply, "tokens": [], "n": 0, "finish": FILTERED}


class Passage:
    """One answer on its way out. `over`: the defence has ended it, and what still comes is not told."""

    def __init__(self, guarded: Guarded) -> None:
        self.shield, self.reply = guarded.shield, guarded.reply
        self.filter = guarded.fresh() if guarded.fresh is not None else None
        self.over = False

    def told(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.filter is None or message["kind"] != "tokens":
            return message
        began = time.perf_counter()
        try:
            text = self.filter.feed(message["text"])
            if message["finish"] is not None:
                text += self._finished(text)
            made = message | {"text": text}
        except Blocked as stop:
            self.shield.blocked_replies += 1
            log.info("stopped: %s", stop.block.reason)
            made = self._stopped(message, stop.clean + stop.block.reply)
        except Exception as error:
            self.shield.failures += 1
            log.error("the defence failed, so the answer ends", exc_info=error)
            made = self._stopped(message, self.reply)
        self.shield.seconds += time.perf_counter() - began
        return made

    def _finished(self, text: str) -> str:
        assert self.filter is not None
        try:
            return self.filter.finish()
        except Blocked as stop:
            raise Blocked(stop.block, text + stop.clean) from None

    def _stopped(self, message: dict[str, Any], text: str) -> dict[str, Any]:
        self.over = True
        return message | {"text": text, "finish": FILTERED}


async def generate(services: Services, *requests: dict[str, Any]) -> Told:
    """`EngineClient.generate`, under the server's defence where it has one. Choices of one prompt share a rewrite."""
    shield = services.shield
    if shield is None:
        async with contextlib.aclosing(services.engine.generate(*requests)) as stream:
            async for item in stream:
                yield item
        return
    shield.requests += len(requests)
    seed = random.randbits(62)
    opened: dict[int, Guarded] = {}
    guarded: list[Guarded] = []
    for request in requests:
        key = id(request.get("messages") or request.get("prompt_ids") or request["prompt"])
        if key not in opened:
            opened[key] = await shield.open(services.engine, request, seed)
        guarded.append(opened[key])
    for index, one in enumerate(guarded):
        if one.block is not None:
            shield.blocked_requests += 1
            for message in one.refused():
                yield index, message
    asked = [index for index, one in enumerate(guarded) if one.block is None]
    if asked:
        async with contextlib.aclosing(_passed(services.engine, requests, guarded, asked)) as items:
            async for item in items:
                yield item


async def _passed(
    engine: EngineClient, requests: tuple[dict[str, Any], ...], guarded: list[Guarded], asked: list[int]
) -> Told:
    """The engine's answers to those that were let in. It is left once all have ended, which cancels what still runs."""
    passages = {index: Passage(guarded[index]) for index in asked}
    left = set(asked)
    sent = [guarded[index].request | {"seed": requests[index].get("seed", 0)} for index in asked]
    async with contextlib.aclosing(engine.generate(*sent)) as stream:
        async for place, message in stream:
            index = asked[place]
            if passages[index].over:
                continue
            made = passages[index].told(message)
            yield index, made
            if made["kind"] == "error" or made.get("finish") is not None:
                left.discard(index)
            if not left:
                return


async def _as_text(engine: EngineClient, request: dict[str, Any]) -> dict[str, Any]:
    """A prompt of token ids is read as its text."""
    if "prompt_ids" not in request:
        return request
    about = {name: request[name] for name in ("model", "path", "created")}
    (found,) = await engine.ask({"op": "detokenize", **about, "tokens": request["prompt_ids"]})
    return {"prompt": found["prompt"]}


def _conversation(request: dict[str, Any], system: str) -> Conversation:
    """As defences see it: a tool's result is a user's turn, and the operator's system text comes first."""
    if "messages" not in request:
        said: list[Message] = [Message("user", request["prompt"])]
    else:
        messages = _under(request["messages"]) if system else request["messages"]
        said = [Message("user" if m["role"] == "tool" else m["role"], m["content"] or "") for m in messages]
    return (Message("system", system), *said) if system else tuple(said)


def _beside(request: dict[str, Any]) -> str:
    """What a client writes beside its messages, as models are shown it: tools, and calls of earlier turns; a string a
    line. An id that is one short word is left out: any judge of language would find it odd."""
    found = [tool["function"] for tool in request.get("tools", ())]
    ids: list[str] = []
    for message in with_parsed_arguments(request.get("messages", ())):
        calls = message.get("tool_calls", ())
        found += [call["function"] for call in calls]
        ids += [message.get("tool_call_id", ""), *(call.get("id", "") for call in calls)]
    said = [list(function.values()) for function in found]
    return "\n".join(text for text in _strings([said, [id for id in ids if not ID.fullmatch(id)]]) if text)


def _strings(value: Any) -> Iterator[str]:
    """The strings of a JSON value, in order, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _under(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with clients' system texts in the user's turn that follows."""
    found: list[dict[str, Any]] = []
    carried: list[str] = []
    for message in messages:
        if message["role"] == "system":
            carried.append(message["content"])
            continue
        if carried and message["role"] == "user":
            message = message | {"content": "\n\n".join([*carried, message["content"]])}
        elif carried:
            found.append({"role": "user", "content": "\n\n".join(carried)})
        carried = []
        found.append(message)
    return found + ([{"role": "user", "content": "\n\n".join(carried)}] if carried else [])


def _rewritten(request: dict[str, Any], before: Conversation, made: Conversation, system: str) -> dict[str, Any]:
    """The engine's request with what the defence made of it; roles of tools and calls stay as they were."""
    if made == before and not system:
        return request
    if "messages" not in request:
        rest = {name: value for name, value in request.items() if name != "prompt_ids"}
        return rest | {"prompt": "\n\n".join(message.content for message in made)}
    messages = _under(request["messages"]) if system else request["messages"]
    new = len(made) - len(messages)
    assert new in (0, 1), "a defence may put one message in front"
    assert not new or made[0].role == "system", "what a defence puts in front is the system's"
    front = [made[0].to_json()] if new else []
    return request | {
        "messages": front + [m | {"content": c.content} for m, c in zip(messages, made[new:], strict=True)]
    }
