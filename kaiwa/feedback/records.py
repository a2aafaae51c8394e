"""What the store gives back: a conversation, a message with its place among its versions, a line of the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATES = ("streaming", "done", "stopped", "failed", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`versions` are the ids of this message and its siblings, oldest first.

    State "interrupted": it was being written by a process that is gone.
    """

    id: int
    conversation_id: int
    parent_id: int | None
    role: str
    content: str
    model: str
    sampling: Mapping[str, Any]
    state: str
    finish_reason: str
    error: str
    n_tokens: int
    seconds: float
    created: float
    versions: tuple[int, ...] = ()

    @property
    def version(self) -> int:
        """1 for the oldest version."""
        return self.versions.index(self.id) + 1 if self.id in self.versions else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A conversation in the list; `excerpt` shows where a search hit."""

    id: int
    title: str
    model: str
    updated: float
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """`path` is what is shown: from the first message along the chosen versions."""

    id: int
    title: str
    model: str
    settings: Mapping[str, Any]
    created: float
    updated: float
    path: tuple[Message, ...] = ()
