"""A conversation with its untrusted stretches marked, so that defences can be stacked in any order.

A span is data (untrusted) or not. The literal substrings that the caller names (documents, mail, tool results) are
data; if the caller names none, everything that users say and tools return is data. Text that a defence adds is a span
that is not data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.records import Conversation, Message

JAPANESE = re.compile(r"[぀-ヿㇰ-ㇿｦ-ﾝ]")  # kana: no other language has it
UNTRUSTED = ("user", "tool")  # roles whose text is untrusted
HAN = re.compile(r"[一-鿿]")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a turn. data: whether the text is untrusted."""

    text: str
    data: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    spans: tuple[Span, ...]
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of the message: calls, a result's call

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)


Turns = tuple[Turn, ...]


def split(conversation: Conversation, data: Sequence[str] = ()) -> Turns:
    """Return the turns of a conversation. UserError if a substring named as data is in no user's message."""
    substrings = sorted({text for text in data if text}, key=len, reverse=True)
    for text in substrings:
        if not any(text in message.content for message in conversation if message.role in UNTRUSTED):
            raise UserError(f"data {text[:40]!r} stands in no user's message; give it as it stands there")
    return tuple(Turn(message.role, _spans(message, substrings), message.fields) for message in conversation)


def _spans(message: Message, substrings: Sequence[str]) -> tuple[Span, ...]:
    if message.role not in UNTRUSTED or not message.content:
        return (Span(message.content),)
    if not substrings:
        return (Span(message.content, data=True),)
    pieces = re.split(f"({'|'.join(map(re.escape, substrings))})", message.content)
    return tuple(Span(piece, data=i % 2 == 1) for i, piece in enumerate(pieces) if piece)


def join(turns: Turns) -> Conversation:
    return tuple(Message(turn.role, turn.text, fields=turn.fields) for turn in turns)


def data_of(turns: Turns) -> list[str]:
    """Return the untrusted stretches, in order."""
    return [span.text for turn in turns for span in turn.spans if span.data]


def map_data(turns: Turns, change: Callable[[str], Sequence[Span]]) -> Turns:
    """Return the turns with every untrusted span replaced by `change` of the span's text."""

    def change_turn(turn: Turn) -> Turn:
        spans = [new for span in turn.spans for new in (change(span.text) if span.data else (span,))]
        return replace(turn, spans=tuple(spans))

    return tuple(change_turn(turn) for turn in turns)


def append_to_system(turns: Turns, text: str) -> Turns:
    """Return the turns with `text` at the end of the system's turn, which is added if there is none."""
    for i, turn in enumerate(turns):
        if turn.role == "system":
            return (*turns[:i], replace(turn, spans=(*turn.spans, Span(f"\n\n{text}"))), *turns[i + 1 :])
    return (Turn("system", (Span(text),)), *turns)


def append_to_last_user(turns: Turns, text: str) -> Turns:
    """Return the turns with `text` at the end of the last user's turn; unchanged if no user speaks."""
    for i in range(len(turns) - 1, -1, -1):
        if turns[i].role == "user":
            turn = turns[i]
            return (*turns[:i], replace(turn, spans=(*turn.spans, Span(f"\n\n{text}"))), *turns[i + 1 :])
    return turns


def system_text(turns: Turns) -> str:
    return "\n\n".join(turn.text for turn in turns if turn.role == "system")


def language_of(turns: Turns) -> str:
    """Return "ja" or "en", judged by the system's text, or by all text if there is none."""
    text = system_text(turns) or "".join(turn.text for turn in turns)
    return "ja" if JAPANESE.search(text) or (HAN.search(text) and not re.search("[A-Za-z]{3}", text)) else "en"
