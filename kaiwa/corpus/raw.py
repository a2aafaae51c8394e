"""A document as it was read, before anything is done to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Media = Literal["text", "html", "docstrings"]


@dataclass(frozen=True, slots=True)
class Raw:
    """`text` is bytes for HTML (a page names its own encoding); of media "docstrings" it is Python source.

    `id` is unique in the corpus and begins with the source's name; what stands before "::" in it is the group that
    goes into one split together. `language` is what the record itself says, "" if nothing.
    """

    text: str | bytes
    media: Media
    id: str
    language: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
