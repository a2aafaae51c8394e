"""Thresholds from benign texts: at most a given share of such texts will be refused.

Conformal (Vovk et al. 2005; Angelopoulos and Bates 2023, section 1): with n benign suspicions, the threshold is the
ceil((n + 1)(1 - a))-th smallest. A further text of the same kind is then refused with a chance of at most a, whatever
the distribution, which takes n >= 1/a - 1 texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from kaiwa.core.errors import UserError
from kaiwa.defend.defence import Part, Stack
from kaiwa.defend.similarity import Similarity
from kaiwa.defend.turns import JAPANESE

LEAST = 0.05  # of similarity, where no benign text has any: a single gram is no attack


@runtime_checkable
class Scored(Protocol):
    """A part that refuses what is more suspicious than its threshold (None: not set yet)."""

    @property
    def threshold(self) -> float | None: ...

    def suspicion(self, text: str, language: str = "en") -> float: ...


def threshold(values: Sequence[float], false_block: float) -> float:
    """UserError for too few values, or for a share that is none."""
    if not 0 < false_block < 1:
        raise UserError(f"false_block is {false_block}; give a share between 0 and 1")
    n = len(values)
    place = math.ceil((n + 1) * (1 - false_block) - 1e-9)
    if place > n:
        needed = math.ceil(1 / false_block - 1 - 1e-9)
        raise UserError(f"{n} benign texts are too few for a share of {false_block:.1%}; give at least {needed}")
    return sorted(values)[place - 1]


def calibrated(defence: Stack, benign: Sequence[str], false_block: float = 0.05) -> Stack:
    """The same stack with every threshold set on these texts. A stack of several judges shares the rate equally."""
    judges = [part for part in defence.parts if isinstance(part, Scored)]
    share = false_block / max(1, len(judges))

    def made(part: Part) -> Part:
        if not isinstance(part, Scored):
            return part
        value = threshold([part.suspicion(text, _language(text)) for text in benign], share)
        return replace(part, threshold=max(value, LEAST) if isinstance(part, Similarity) else value)  # type: ignore[type-var]

    return replace(defence, parts=tuple(made(part) for part in defence.parts))


def _language(text: str) -> str:
    return "ja" if JAPANESE.search(text) else "en"
