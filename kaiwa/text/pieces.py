"""The types of chat templates: the tokenizer members in use, and the pieces of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Encoder(Protocol):
    """The tokenizer members that templates use.

    specials: special tokens, which no text becomes. controls: added tokens that are not special, such as <think>, which
    `encode_batch` reads in a text and `encode_plain` does not. strips: added tokens that take the white space before
    or after them away.
    """

    @property
    def specials(self) -> Mapping[str, int]: ...
    @property
    def controls(self) -> Mapping[str, int]: ...
    @property
    def strips(self) -> Mapping[str, tuple[bool, bool]]: ...
    @property
    def chat_template(self) -> str | None: ...
    @property
    def eos_token(self) -> str: ...
    @property
    def bos_token(self) -> str: ...  # "" where there is none
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def encode_plain(self, texts: Sequence[str]) -> list[list[int]]: ...


@dataclass(frozen=True, slots=True)
class PromptPiece:
    """A stretch of a rendered conversation: text to encode, or the added token of that text.

    special: a token of `specials`. control: a token of `controls`. plain: no part of the text becomes an added token.
    learn: the weight in the loss, 0 outside the assistant's turns.
    """

    text: str
    special: bool = False
    learn: float = 0.0
    control: bool = False
    plain: bool = False


def common_prefix(sequences: Sequence[Sequence[object]]) -> int:
    """Return how many items at the start are the same in all sequences (at least one sequence)."""
    shortest = min(sequences, key=len)
    return next((i for i, item in enumerate(shortest) if any(s[i] != item for s in sequences)), len(shortest))
