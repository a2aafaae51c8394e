"""Thresholds from benign texts, set so that at most a chosen share of benign texts is refused.

Conformal (Vovk et al. 2005; Angelopoulos and Bates 2023, section 1): with n benign suspicions, the threshold is the
ceil((n + 1)(1 - a))-th smallest. A further text of the same kind is then refused with a chance of at most a, whatever
the distribution, which takes n >= 1/a - 1 texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from kaiwa.core.errors import UserError
from kaiwa.defend.defence import DefencePart, Stack
from kaiwa.defend.similarity import Similarity
from kaiwa.defend.turns import JAPANESE

LEAST = 0.05  # similarity threshold if no benign text is similar to anything: a single n-gram is no attack


@runtime_checkable
class HasThreshold(Protocol):
    """A part that refuses texts whose suspicion is above its threshold (None: not set yet)."""

    @property
    def threshold(self) -> float | None: ...

    def suspicion(self, text: str, language: str = "en") -> float: ...


def conformal_threshold(values: Sequence[float], false_block: float) -> float:
    """Return the threshold for suspicions of benign texts [n]. UserError for too few, or for a share outside (0, 1)."""
    if not 0 < false_block < 1:
        raise UserError(f"false_block is {false_block}; give a share between 0 and 1")
    n = len(values)
    rank = math.ceil((n + 1) * (1 - false_block) - 1e-9)
    if rank > n:
        needed = math.ceil(1 / false_block - 1 - 1e-9)
        raise UserError(f"{n} benign texts are too few for a share of {false_block:.1%}; give at least {needed}")
    return sorted(values)[rank - 1]


def complete(defence: Stack, benign: Sequence[str], false_block: float = 0.05) -> Stack:
    """Return the stack with a threshold for each part that has none yet; a threshold of its own stays."""
    return _calibrate(defence, benign, false_block, lambda part: part.threshold is None)


def calibrate(defence: Stack, benign: Sequence[str], false_block: float = 0.05) -> Stack:
    """Return the stack with every threshold set on the texts. Several judges share the rate equally."""
    return _calibrate(defence, benign, false_block, lambda part: True)


def _calibrate(
    defence: Stack, benign: Sequence[str], false_block: float, sets: Callable[[HasThreshold], bool]
) -> Stack:
    judges = [part for part in defence.parts if isinstance(part, HasThreshold) and sets(part)]
    share = false_block / max(1, len(judges))

    def with_threshold(part: DefencePart) -> DefencePart:
        if part not in judges or not isinstance(part, HasThreshold):
            return part
        value = conformal_threshold([part.suspicion(text, _language(text)) for text in benign], share)
        return replace(part, threshold=max(value, LEAST) if isinstance(part, Similarity) else value)  # type: ignore[type-var]

    return replace(defence, parts=tuple(with_threshold(part) for part in defence.parts))


def _language(text: str) -> str:
    return "ja" if JAPANESE.search(text) else "en"
