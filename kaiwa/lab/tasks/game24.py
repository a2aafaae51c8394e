"""The Game of 24: make 24 from four numbers, each used once, with + - * / over exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

Numbers = tuple[Fraction, ...]


def apply_operator(a: Fraction, operator: str, b: Fraction) -> Fraction | None:
    """Return `a operator b` (+ - * × / ÷), or None for a division by zero."""
    if operator in "/÷":
        return a / b if b else None
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def can_reach_24(numbers: Numbers) -> bool:
    """Search all expressions over `numbers` for an expression that makes 24."""
    if len(numbers) == 1:
        return numbers[0] == 24
    for i, j in combinations(range(len(numbers)), 2):
        others = tuple(n for k, n in enumerate(numbers) if k not in (i, j))
        for a, b in ((numbers[i], numbers[j]), (numbers[j], numbers[i])):
            for operator in "+-*/":
                value = apply_operator(a, operator, b)
                if value is not None and can_reach_24((*others, value)):
                    return True
    return False
