"""Drafts by prompt lookup (Saxena, 2023): the tokens that followed when the text's last few tokens occurred before.

Answers often repeat their prompt: a text to be corrected, names, code. The draft's tokens are computed beside
the newest one, in one pass, and each is kept if it is what would have been sampled there. Since a token is a function
of its logits and (seed, position), and logits do not depend on what is computed beside them, answers are the same,
token for token, with and without. Plain Python, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 3  # tokens that must have occurred before


class PromptLookup:
    """Where each sequence of GRAM tokens stood last in a text."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # GRAM tokens -> index of the token after their last occurrence
        for id in ids:
            self.push(id)

    def push(self, id: int) -> None:
        """Append the next token of the text."""
        if len(self._ids) >= GRAM:  # noted one token late, so that the text's end never matches itself
            self._ends[tuple(self._ids[-GRAM:])] = len(self._ids)
        self._ids.append(id)

    def guess(self, n: int) -> list[int]:
        """Return at most n tokens that may follow; none where the text's end has not stood there before."""
        place = self._ends.get(tuple(self._ids[-GRAM:]))
        return [] if place is None else self._ids[place : place + n]
