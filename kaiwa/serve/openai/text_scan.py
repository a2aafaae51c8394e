"""Incremental reading: a parser written as if the whole text were there, fed piece by piece.

A parser is a generator over a TextScan. Wherever it needs more text it yields, and goes on when `feed` has brought
some. So what is read never depends on where the text was cut into pieces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")
Step = Generator[None, None, T]  # yields while it waits for text, and returns its result


class Malformed(Exception):
    """The text is not what the parser reads."""


class Cut(Exception):
    """The text ends in the middle of what the parser reads."""


class TextScan:
    """A text that is still arriving. `rest`: what has arrived and was not taken yet. ended: nothing more comes."""

    def __init__(self) -> None:
        self.rest, self.ended = "", False
        self._taken = ""  # since `mark`

    def feed(self, text: str, *, ended: bool = False) -> None:
        self.rest += text
        self.ended = self.ended or ended

    def mark(self) -> None:
        """Remember this place for `since_mark`."""
        self._taken = ""

    def since_mark(self) -> str:
        return self._taken

    def take(self, n: int) -> str:
        """Return the next n characters, which have arrived, and go past them."""
        text, self.rest = self.rest[:n], self.rest[n:]
        self._taken += text
        return text

    def peek(self, n: int = 1) -> Step[str]:
        """Return the next n characters, fewer at the end, and stay before them."""
        while len(self.rest) < n and not self.ended:
            yield
        return self.rest[:n]

    def expect(self, text: str) -> Step[None]:
        """Go past a text. Malformed if another stands here, Cut if the end does."""
        start = yield from self.peek(len(text))
        if start != text:
            raise Cut if self.ended and text.startswith(start) else Malformed
        self.take(len(text))

    def skip(self, characters: str = " \t\r\n") -> Step[str]:
        """Go past all of the characters that stand here, and return the character after them ("" at the end)."""
        while True:
            self.take(len(self.rest) - len(self.rest.lstrip(characters)))
            if self.rest or self.ended:
                return self.rest[:1]
            yield

    def begins(self, *options: str) -> Step[str]:
        """Return the option that stands here, and stay before it; "" if none does."""
        while True:
            for option in options:
                if self.rest.startswith(option):
                    return option
            if self.ended or not any(option.startswith(self.rest) for option in options):
                return ""
            yield

    def take_until(self, *ends: str) -> Step[tuple[str, str]]:
        """Return the text before the nearest of the ends, and the end; the end is not taken. Cut if none comes."""
        start = 0
        while True:
            at, end = nearest(self.rest, ends, start)
            if end:
                return self.take(at), end
            if self.ended:
                raise Cut
            start = max(0, len(self.rest) - max(map(len, ends)) + 1)
            yield


def nearest(text: str, tags: tuple[str, ...], start: int = 0) -> tuple[int, str]:
    """Return the place of the first tag from `start` on, and the tag (the longest there); (-1, "") if none."""
    places = [(at, -len(tag), tag) for tag in tags if (at := text.find(tag, start)) >= 0]
    at, _, tag = min(places, default=(-1, 0, ""))
    return at, tag


def overlap(text: str, tags: tuple[str, ...]) -> int:
    """Return how many characters at the end of `text` may be the beginning of a tag."""
    most = min(len(text), max(map(len, tags), default=1) - 1)
    return next((n for n in range(most, 0, -1) if any(tag.startswith(text[-n:]) for tag in tags)), 0)


def read_json(scan: TextScan, write: Callable[[str], object]) -> Step[None]:
    """Read a JSON value and hand its text to `write` as it comes.

    Malformed if none begins here, Cut if it is not whole. Brackets and strings are followed; what stands between them
    is not checked.
    """
    first = yield from scan.peek()
    if first in ("{", "[", '"'):
        depth, in_string, escaped = 0, False, False
        while True:
            for i, c in enumerate(scan.rest):
                if escaped:
                    escaped = False
                elif in_string:
                    escaped, in_string = c == "\\", c != '"'
                elif c == '"':
                    in_string = True
                else:
                    depth += (c in "{[") - (c in "}]")
                if depth == 0 and not in_string:
                    write(scan.take(i + 1))
                    return
            write(scan.take(len(scan.rest)))
            if scan.ended:
                raise Cut
            yield
    text, _ = yield from scan.take_until(*",}] \n\t\r;")
    try:
        json.loads(text)
    except ValueError:
        raise Malformed from None
    write(text)


def read_string(scan: TextScan) -> Step[str]:
    """Read a JSON string and return its value."""
    if (yield from scan.peek()) not in ('"', ""):
        raise Malformed
    parts: list[str] = []
    if scan.ended and not scan.rest:
        raise Cut
    yield from read_json(scan, parts.append)
    try:
        value = json.loads("".join(parts))
    except ValueError:
        raise Malformed from None
    return str(value)
