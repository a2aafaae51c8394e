"""Where in its file a remark of lint is about: line and column of the words, or of the element, that a rule speaks of.

A remark has the words that its pattern matched, or the element that it is about. Words are looked for as they stand and
as TOML or JSON escapes them, first behind the remark's own place (a task's or arm's name, a message's number). White
space between words may differ, since elements are joined before rules read them. What is nowhere is at line 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

NAMED_PLACE = re.compile(r"(?:task|arm) (.+)")
MESSAGE = re.compile(r"message (\d+) ")
CONTENT = re.compile(r'"content"\s*:')


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A stretch of a file: lines and columns from 1, the end's column exclusive; column 0: the whole line."""

    line: int = 1
    column: int = 0
    end_line: int = 1
    end_column: int = 0


NOWHERE = FilePlace()


def place_in(text: str, where: str, match: str = "", element: str = "") -> FilePlace:
    """Return the place of a match, or of an element's name, in a file's text; `where` says which task or message."""
    start = _anchor(text, where)
    for begin in dict.fromkeys((start, 0)):
        for pattern in _patterns(match):
            if hit := pattern.search(text, begin):
                return _place(text, hit.start(), hit.end())
        if element and (hit := _element(element).search(text, begin)):
            line = text.count("\n", 0, hit.end()) + 1
            return FilePlace(line, 0, line)
    line = text.count("\n", 0, start) + 1
    return FilePlace(line, 0, line)


def _anchor(text: str, where: str) -> int:
    """Return where the remark's task, arm or message begins; 0 for the whole file."""
    if hit := MESSAGE.search(where):
        for number, content in enumerate(CONTENT.finditer(text), 1):
            if number == int(hit[1]):
                return content.end()
    if hit := NAMED_PLACE.search(where):
        name = re.search(rf"""^\s*name\s*=\s*["']{re.escape(hit[1])}["']""", text, re.M)
        return name.start() if name else 0
    return 0


def _element(name: str) -> re.Pattern[str]:
    """Return the pattern of an element: a key or table of TOML, or a heading of Markdown."""
    word = re.escape(name)
    return re.compile(rf"^#+\s*{word.removesuffix('s')}s?\b|\b{word}\s*=|^\s*\[\[.*\b{word}\]\]", re.M)


def _patterns(match: str) -> Iterator[re.Pattern[str]]:
    """Yield patterns of the words, in the order in which they are tried."""
    if not match:
        return
    for written in dict.fromkeys((match, json.dumps(match, ensure_ascii=False)[1:-1], json.dumps(match)[1:-1])):
        yield re.compile(re.escape(written))
    words = match.split()
    if words:
        yield re.compile(r"(?:\s|\\n|\\t)+".join(map(re.escape, words)))


def _place(text: str, start: int, end: int) -> FilePlace:
    line, end_line = text.count("\n", 0, start) + 1, text.count("\n", 0, end) + 1
    column, end_column = start - text.rfind("\n", 0, start), end - text.rfind("\n", 0, end)
    return FilePlace(line, column, end_line, end_column)
