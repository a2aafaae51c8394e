"""A document as read, before cleaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Media = Literal["text", "html", "docstrings"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A document before cleaning.

    text: bytes for HTML (a page names its own encoding), Python source for media "docstrings", else plain text. id:
    unique in the corpus, beginning with the source's name; documents with the same part before "::" go into one split
    together. language: the language stated in the record, or "".
    """

    text: str | bytes
    media: Media
    id: str
    language: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
