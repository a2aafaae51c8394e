"""Drafts by prompt lookup (Saxena, 2023): the tokens that followed when the text's last few tokens occurred before.

Answers often repeat their prompt: a text to be corrected, names, code. The draft's tokens are computed beside
the newest token, in the same pass, and each is accepted if equal to the token sampled there. Since a token is a
function of its logits and (seed, position), and logits do not depend on tokens computed in the same pass, answers are
the same, token for token, with and without drafts. Plain Python, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 3  # tokens that must have occurred before


class PromptLookup:
    """An index of a text: the last occurrence of each sequence of GRAM tokens."""

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
        """Return at most n likely next tokens; none where the text's end has not occurred before."""
        place = self._ends.get(tuple(self._ids[-GRAM:]))
        return [] if place is None else self._ids[place : place + n]
