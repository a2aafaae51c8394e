"""The types of chat templates: the tokenizer members in use, and the pieces of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Encoder(Protocol):
    """The tokenizer members that templates use. `encode_batch` never turns text into special tokens."""

    @property
    def specials(self) -> Mapping[str, int]: ...
    @property
    def chat_template(self) -> str | None: ...
    @property
    def eos_token(self) -> str: ...
    @property
    def bos_token(self) -> str: ...  # "" where there is none
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


@dataclass(frozen=True, slots=True)
class PromptPiece:
    """A stretch of a rendered conversation: text to encode, or the special token of that text. `learn`: mask 1."""

    text: str
    special: bool = False
    learn: bool = False
