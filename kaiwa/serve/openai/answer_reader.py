"""A streamed answer read into content, reasoning and tool calls.

`push` and `finish` return the pieces that a text adds, in order: so a stream and a whole answer are read by the same
code and never differ. A possible beginning of a tag waits until more text decides. What is no call, or calls a function
that is not offered, stays in the content unchanged. A call that the answer's end cuts is a call with the arguments
written so far.
"""

from __future__ import annotations

import contextlib
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaiwa.serve.openai.call_bodies import read_calls
from kaiwa.serve.openai.call_forms import HERMES, OWN_BEGINNING, CallForm
from kaiwa.serve.openai.chat_turn import CalledTool
from kaiwa.serve.openai.text_scan import Cut, Malformed, Step, TextScan, nearest, overlap
from kaiwa.serve.openai.tools import SHORT_ID

STRAY = " \t\r\n}]"  # what models leave behind a call


@dataclass(frozen=True, slots=True)
class ContentPiece:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A part of call number `index`: its beginning has a name and an id, the others only text of its arguments."""

    index: int
    arguments: str = ""
    name: str = ""
    id: str = ""


Piece = ContentPiece | ReasoningPiece | CallPiece


@dataclass(slots=True)
class ModelCall:
    """A call by a model; `arguments` is JSON text, incomplete if the answer was cut within the call."""

    name: str
    id: str
    arguments: str = ""
    complete: bool = False

    def to_json(self) -> CalledTool:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


class AnswerReader:
    """Reads one answer. schemas: the parameters of each function that may be called, by name; none: no calls are read.

    parallel: several calls may be made; otherwise those after the first are left out. reasoning: the tags around the
    model's reasoning, if it reasons. thinking: the prompt has opened the reasoning already.
    """

    def __init__(
        self,
        schemas: Mapping[str, Mapping[str, Any]],
        form: CallForm = HERMES,
        *,
        parallel: bool = True,
        reasoning: tuple[str, str] | None = None,
        thinking: bool = False,
    ) -> None:
        self.schemas, self.form, self.parallel = schemas, form, parallel
        self.reasoning, self.thinking = reasoning, thinking
        self.calls: list[ModelCall] = []
        self._scan = TextScan()
        self._pieces: list[Piece] = []
        self._space = ""  # at the content's end, left out if a call follows
        self._muted = False
        self._steps = self._read()

    def push(self, text: str) -> list[Piece]:
        """Read a piece of the answer and return what it adds."""
        return self._advance(text, ended=False)

    def finish(self) -> list[Piece]:
        """Return what was waiting for more text at the answer's end."""
        pieces = self._advance("", ended=True)
        if self._space and not self.calls:
            pieces.append(ContentPiece(self._space))
        return pieces

    def _advance(self, text: str, *, ended: bool) -> list[Piece]:
        self._scan.feed(text, ended=ended)
        next(self._steps, None)
        pieces, self._pieces = _joined(self._pieces), []
        return pieces

    def _read(self) -> Step[None]:
        if self.reasoning is not None:
            yield from self._read_reasoning(*self.reasoning)
        scan, tags = self._scan, self.form.tags if self.schemas else ()
        if self.schemas and self.form.bare:
            scan.mark()
            if (yield from scan.skip()) in ("{", "["):
                yield from self._try_calls()
            else:
                self._add_content(scan.since_mark())
        while True:
            at, tag = nearest(scan.rest, tags)
            if not tag:
                self._add_content(scan.take(len(scan.rest) - (0 if scan.ended else overlap(scan.rest, tags))))
                if scan.ended:
                    return
                yield
                continue
            self._add_content(scan.take(at))
            scan.mark()
            scan.take(OWN_BEGINNING.get(tag, len(tag)))
            yield from self._try_calls()

    def _try_calls(self) -> Step[None]:
        """Read calls after a tag, or leave in the content what is none."""
        scan, n_before = self._scan, len(self.calls)
        self._muted = False
        try:
            yield from read_calls(scan, self, self.form.quotes, lines=self.form.lines)
        except (Malformed, Cut):
            if len(self.calls) == n_before and not self._muted:
                self._add_content(scan.since_mark())
                return
            with contextlib.suppress(Cut):  # the call stands; what follows within its tags is no content
                yield from scan.take_until(*self.form.ends, *self.form.tags)
        while True:
            yield from scan.skip(STRAY)
            end = yield from scan.begins(*self.form.ends)
            if not end:
                return
            scan.take(len(end))

    def _read_reasoning(self, opening: str, closing: str) -> Step[None]:
        scan = self._scan
        scan.mark()
        if not self.thinking:
            yield from scan.skip()
            if not (yield from scan.begins(opening)):
                scan.rest = scan.since_mark() + scan.rest
                return
        if (yield from scan.begins(opening)):
            scan.take(len(opening))
        yield from scan.skip("\n")
        while True:
            at, tag = nearest(scan.rest, (closing,))
            if tag:
                self._pieces.append(ReasoningPiece(scan.take(at)))
                scan.take(len(tag))
                yield from scan.skip()
                return
            self._pieces.append(
                ReasoningPiece(scan.take(len(scan.rest) - (0 if scan.ended else overlap(scan.rest, (closing,)))))
            )
            if scan.ended:
                return
            yield

    def _add_content(self, text: str) -> None:
        """Release text of the answer. White space waits, since it is left out before a call."""
        text = self._space + text
        end = len(text.rstrip()) if self.schemas else len(text)
        self._space = text[end:]
        self._pieces.append(ContentPiece(text[:end]))

    def start(self, name: str) -> None:
        """Begin a call. Malformed if no such function is offered."""
        if name not in self.schemas:
            raise Malformed
        self._muted = bool(self.calls) and not self.parallel
        self._space = ""
        if not self._muted:
            call = ModelCall(name, _fresh_id(self.form))
            self.calls.append(call)
            self._pieces.append(CallPiece(len(self.calls) - 1, name=name, id=call.id))

    def write(self, text: str) -> None:
        """Append to the arguments of the last call."""
        if text and not self._muted:
            self.calls[-1].arguments += text
            self._pieces.append(CallPiece(len(self.calls) - 1, text))

    def end(self) -> None:
        """End the last call."""
        if not self._muted:
            self.calls[-1].complete = True

    def finish_reason(self, reason: str | None) -> str | None:
        """Return an answer's finish reason with its calls: "tool_calls", unless the answer was cut within one."""
        if not self.calls or (reason != "stop" and not self.calls[-1].complete):
            return reason
        return "tool_calls"


def _fresh_id(form: CallForm) -> str:
    if form.short_ids:
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(SHORT_ID))
    return f"call_{secrets.token_hex(12)}"


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces without empty ones, and with text of the same kind in a single piece."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, CallPiece):
            if isinstance(last, CallPiece) and last.index == piece.index and not piece.name and not last.name:
                joined[-1] = CallPiece(piece.index, last.arguments + piece.arguments)
            else:
                joined.append(piece)
        elif piece.text and last is not None and type(last) is type(piece):
            joined[-1] = type(piece)(last.text + piece.text)
        elif piece.text:
            joined.append(piece)
    return joined
