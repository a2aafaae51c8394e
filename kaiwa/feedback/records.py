"""The store's records: a conversation, a message with its versions, a line of the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATES = ("streaming", "done", "stopped", "failed", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMessage:
    """A message. `versions`: the ids of the message and its siblings, oldest first.

    state "interrupted": the process writing the message has ended.
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
        """Number of the version, 1 for the oldest."""
        return self.versions.index(self.id) + 1 if self.id in self.versions else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationLine:
    """A conversation in the list; `excerpt` is the text around a search's hit."""

    id: int
    title: str
    model: str
    updated: float
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConversation:
    """A conversation. `path` holds the shown messages, from the first along the chosen versions."""

    id: int
    title: str
    model: str
    settings: Mapping[str, Any]
    created: float
    updated: float
    path: tuple[SavedMessage, ...] = ()
