"""What a defence is: it rewrites or refuses a request, and lets a reply out as far as it is checked.

    defence = parse("delimiters+canary_filter", model=None)         # parse.py
    session = defence.session(seed=7, secrets=("4f1c…",))           # one request under one defence
    found = session.request(conversation, data=("the mail's text",))   # rewritten, or a Block
    passing = session.reply()                                       # None: the reply goes out as it is

A defence is a stack of parts, each doing one of three things: `check` what comes in, `rewrite` it, or make a filter
for what goes out. Whatever the order written, checks come first (they read what was sent, not what another part made
of it); rewrites and filters keep their order. The undefended arm is the empty stack, `none`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from kaiwa.defend.turns import Turns, join, language_of, split
from kaiwa.text.records import Conversation

FILTERED = "content_filter"  # the finish reason of what a defence stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`reason`: one line for the log, which the user must not see; `reply`: what the user is told instead."""

    reason: str
    reply: str


class Blocked(Exception):
    """The reply must stop. `clean` is what may still be shown of it, before `block.reply`."""

    def __init__(self, block: Block, clean: str = "") -> None:
        super().__init__(block.reason)
        self.block, self.clean = block, clean


class ReplyFilter(Protocol):
    """One reply. What the two methods return, put together, does not depend on how the reply was cut."""

    def feed(self, text: str) -> str:
        """What may be shown now; the rest is held back until it is checked. Raises Blocked."""
        ...

    def finish(self) -> str:
        """What was still held back. Raises Blocked."""
        ...


class Session(Protocol):
    """One request under one defence, made afresh for each."""

    def request(self, conversation: Conversation, data: tuple[str, ...] = ()) -> Conversation | Block:
        """The conversation as the model is to see it. `data`: literal substrings of users' messages that are untrusted
        documents; without them all that users say is. A rewrite changes contents and may put one system message in
        front, nothing else: messages keep their number, order and roles. UserError for data that is not there."""
        ...

    def reply(self) -> ReplyFilter | None: ...


class Defence(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def asks_model(self) -> bool:
        """Whether a request costs calls of a model, so that it must not run where nothing may wait."""
        ...

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        """`seed` draws random markers; `secrets` are what the canary filter must not let out."""
        ...


@runtime_checkable
class Check(Protocol):
    def check(self, turns: Turns) -> Block | None: ...


@runtime_checkable
class Rewrite(Protocol):
    def rewrite(self, turns: Turns, seed: int) -> Turns: ...


@runtime_checkable
class Output(Protocol):
    def output(self, secrets: tuple[str, ...], language: str, said: str = "") -> ReplyFilter | None:
        """`said`: the assistant's earlier turns."""
        ...


Part = Check | Rewrite | Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Parts by the name they were written with."""

    name: str
    parts: tuple[Part, ...] = ()

    @property
    def asks_model(self) -> bool:
        return any(getattr(part, "model", None) is not None for part in self.parts)

    def session(self, seed: int = 0, secrets: tuple[str, ...] = ()) -> Session:
        return StackSession(parts=self.parts, seed=seed, secrets=secrets)


NONE = Stack(name="none")


@dataclass(slots=True, kw_only=True)
class StackSession:
    parts: tuple[Part, ...]
    seed: int
    secrets: tuple[str, ...]
    language: str = field(default="en", init=False)
    said: str = field(default="", init=False)

    def request(self, conversation: Conversation, data: tuple[str, ...] = ()) -> Conversation | Block:
        turns = split(conversation, data)
        self.language = language_of(turns)
        self.said = "\n".join(turn.text for turn in turns if turn.role == "assistant")
        for part in self.parts:
            if isinstance(part, Check) and (block := part.check(turns)) is not None:
                return block
        for part in self.parts:
            if isinstance(part, Rewrite):
                turns = part.rewrite(turns, self.seed)
        return join(turns)

    def reply(self) -> ReplyFilter | None:
        made = [part.output(self.secrets, self.language, self.said) for part in self.parts if isinstance(part, Output)]
        filters = [one for one in made if one is not None]
        return Chain(filters) if filters else None


class Chain:
    """Filters one behind the other: what the first lets out goes through the next."""

    def __init__(self, filters: list[ReplyFilter]) -> None:
        self._filters = filters

    def feed(self, text: str) -> str:
        return self._through(text, 0)

    def finish(self) -> str:
        out = ""
        try:
            for i in range(len(self._filters)):
                out += self._finished(i)
        except Blocked as stop:
            raise Blocked(stop.block, out + stop.clean) from None
        return out

    def _finished(self, i: int) -> str:
        try:
            rest = self._filters[i].finish()
        except Blocked as stop:
            raise Blocked(stop.block, self._last(stop.clean, i + 1)) from None
        return self._through(rest, i + 1)

    def _through(self, text: str, first: int) -> str:
        for i in range(first, len(self._filters)):
            try:
                text = self._filters[i].feed(text)
            except Blocked as stop:
                raise Blocked(stop.block, self._last(stop.clean, i + 1)) from None
        return text

    def _last(self, clean: str, first: int) -> str:
        """What the filters from `first` on let out when nothing but `clean` comes any more; a Block of theirs wins."""
        return Chain(self._filters[first:]).whole(clean)

    def whole(self, text: str) -> str:
        out = self.feed(text)
        try:
            return out + self.finish()
        except Blocked as stop:
            raise Blocked(stop.block, out + stop.clean) from None


def shown(passing: ReplyFilter | None, pieces: Iterable[str]) -> Iterator[tuple[str, Block | None]]:
    """(text to show, why the reply stops here or None) for the pieces of a reply. After a Block nothing comes."""
    if passing is None:
        yield from ((piece, None) for piece in pieces)
        return
    try:
        for piece in pieces:
            yield passing.feed(piece), None
        yield passing.finish(), None
    except Blocked as stop:
        yield stop.clean + stop.block.reply, stop.block
