"""Defences: a defence rewrites or refuses a request, and lets out as much of a reply as is checked.

    defence = parse("delimiters+canary_filter", model=None)              # parse.py
    session = defence.session(seed=7, secrets=("4f1c…",))                # one request under one defence
    outcome = session.request(conversation, data=("the mail's text",))   # rewritten, or a BlockDecision
    reply_filter = session.reply()                                       # None: the reply goes out as it is

A defence is a stack of parts. Each part does one of three things: check the request, rewrite the request, or make a
filter for the reply. Whatever the order written, checks come first, since checks read the request as sent; rewrites and
filters keep their order. The undefended arm is the empty stack, `none`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from kaiwa.defend.turns import Turns, join, language_of, split
from kaiwa.text.records import Conversation

FILTERED = "content_filter"  # the finish reason of what a defence stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDecision:
    """A refusal. reason: one line for the log, which the user must not see. reply: the text for the user instead."""

    reason: str
    reply: str


class Blocked(Exception):
    """The reply must stop. `clean` is the reply's text that may still be shown, before `block.reply`."""

    def __init__(self, block: BlockDecision, clean: str = "") -> None:
        super().__init__(block.reason)
        self.block, self.clean = block, clean


class ReplyFilter(Protocol):
    """The filter of one reply. The returned texts, joined, do not depend on how the reply was cut."""

    def feed(self, text: str) -> str:
        """Return the text that may be shown now; the rest waits to be checked. Raises Blocked."""
        ...

    def finish(self) -> str:
        """Return the text still waiting. Raises Blocked."""
        ...


class Session(Protocol):
    """One request under one defence, made afresh for each."""

    def request(self, conversation: Conversation, data: tuple[str, ...] = ()) -> Conversation | BlockDecision:
        """Return the conversation for the model, or a decision to block the request.

        data: literal substrings of users' messages that are untrusted documents; without data every user message is
        untrusted. A rewrite changes contents and may put one system message in front, nothing else: messages keep their
        number, order and roles. UserError for data that is in no message.
        """
        ...

    def reply(self) -> ReplyFilter | None: ...


class Defence(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def asks_model(self) -> bool:
        """Whether a request costs calls of a model, so that the request must not run where nothing may wait."""
        ...

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        """Return a session for one request. seed: of random markers. secrets: for the canary filter."""
        ...


@runtime_checkable
class RequestCheck(Protocol):
    def check(self, turns: Turns) -> BlockDecision | None: ...


@runtime_checkable
class RequestRewrite(Protocol):
    def rewrite(self, turns: Turns, seed: int) -> Turns: ...


@runtime_checkable
class ReplyFilterMaker(Protocol):
    def output(self, secrets: tuple[str, ...], language: str, earlier: str = "") -> ReplyFilter | None:
        """Return a filter for one reply, or None. earlier: the text of the assistant's earlier turns."""
        ...


DefencePart = RequestCheck | RequestRewrite | ReplyFilterMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A defence made of parts; `name` is the defence as written."""

    name: str
    parts: tuple[DefencePart, ...] = ()

    @property
    def asks_model(self) -> bool:
        return any(getattr(part, "model", None) is not None for part in self.parts)

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        return StackSession(parts=self.parts, seed=seed, secrets=secrets)


NONE = Stack(name="none")


@dataclass(slots=True, kw_only=True)
class StackSession:
    parts: tuple[DefencePart, ...]
    seed: int
    secrets: tuple[str, ...]
    language: str = field(default="en", init=False)
    earlier: str = field(default="", init=False)  # the assistant's turns

    def request(self, conversation: Conversation, data: tuple[str, ...] = ()) -> Conversation | BlockDecision:
        turns = split(conversation, data)
        self.language = language_of(turns)
        self.earlier = "\n".join(turn.text for turn in turns if turn.role == "assistant")
        for part in self.parts:
            if isinstance(part, RequestCheck) and (block := part.check(turns)) is not None:
                return block
        for part in self.parts:
            if isinstance(part, RequestRewrite):
                turns = part.rewrite(turns, self.seed)
        return join(turns)

    def reply(self) -> ReplyFilter | None:
        makers = [part for part in self.parts if isinstance(part, ReplyFilterMaker)]
        filters = [maker.output(self.secrets, self.language, self.earlier) for maker in makers]
        active = [filter for filter in filters if filter is not None]
        return FilterChain(active) if active else None


class FilterChain:
    """Filters in a row: the text that a filter lets out goes through the next filter."""

    def __init__(self, filters: list[ReplyFilter]) -> None:
        self._filters = filters

    def feed(self, text: str) -> str:
        return self._pass_through(text, 0)

    def finish(self) -> str:
        out = ""
        try:
            for i in range(len(self._filters)):
                out += self._finish_filter(i)
        except Blocked as stop:
            raise Blocked(stop.block, out + stop.clean) from None
        return out

    def _finish_filter(self, i: int) -> str:
        try:
            rest = self._filters[i].finish()
        except Blocked as stop:
            raise Blocked(stop.block, self._pass_last(stop.clean, i + 1)) from None
        return self._pass_through(rest, i + 1)

    def _pass_through(self, text: str, first: int) -> str:
        for i in range(first, len(self._filters)):
            try:
                text = self._filters[i].feed(text)
            except Blocked as stop:
                raise Blocked(stop.block, self._pass_last(stop.clean, i + 1)) from None
        return text

    def _pass_last(self, clean: str, first: int) -> str:
        """Return the output of the filters from `first` on for `clean`, the last text. A block by any of these filters
        counts.
        """
        return FilterChain(self._filters[first:]).filter_whole(clean)

    def filter_whole(self, text: str) -> str:
        out = self.feed(text)
        try:
            return out + self.finish()
        except Blocked as stop:
            raise Blocked(stop.block, out + stop.clean) from None


def filter_reply(reply_filter: ReplyFilter | None, pieces: Iterable[str]) -> Iterator[tuple[str, BlockDecision | None]]:
    """Yield (text to show, None) for the pieces of a reply, and (last text, decision) where the reply is stopped."""
    if reply_filter is None:
        yield from ((piece, None) for piece in pieces)
        return
    try:
        for piece in pieces:
            yield reply_filter.feed(piece), None
        yield reply_filter.finish(), None
    except Blocked as stop:
        yield stop.clean + stop.block.reply, stop.block
