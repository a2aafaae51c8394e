"""How many prompts are needed: sample size and power of McNemar's test for paired shares.

With p10 the share of items that only the first condition gets right and p01 the share of the second, δ = p10 - p01 and
ψ = p10 + p01 (Connor 1987):

    n = (z_{1-α/2} √ψ + z_{power} √(ψ - δ²))² / δ²
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import normal_cdf, normal_ppf
from kaiwa.stats.intervals import normal_quantile

GAINS = (0.03, 0.05, 0.10, 0.15, 0.20, 0.30)


def pairs_needed(p10: float, p01: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return the pairs with which McNemar's test (two-sided, at 1 - level) finds the difference with probability
    `power`.

    p10, p01: shares of items that only the first or only the second condition gets right. UserError for equal or
    impossible shares.
    """
    discordant, delta = _check(p10, p01)
    if delta == 0:
        raise UserError("p10 and p01 are equal: there is no difference to find")
    if not 0 < power < 1:
        raise UserError(f"power: {power} must be between 0 and 1; 0.8 is usual")
    z = normal_quantile(level) * math.sqrt(discordant)
    z += normal_ppf(power) * math.sqrt(discordant - delta * delta)
    return math.ceil(z * z / (delta * delta) - 1e-9)


def power_of_pairs(n: int, p10: float, p01: float, level: float = 0.95) -> float:
    """Return the probability that McNemar's test on n pairs finds the difference (normal approximation)."""
    discordant, delta = _check(p10, p01)
    if n < 1 or delta == 0:
        return 1 - level
    spread = math.sqrt(discordant - delta * delta)
    if spread == 0:
        return 1.0
    z = (abs(delta) * math.sqrt(n) - normal_quantile(level) * math.sqrt(discordant)) / spread
    return normal_cdf(z)


def smallest_difference(n: int, discordant: float, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest difference of shares that n pairs find with `power`, the share `discordant` of the pairs
    being decided.

    1.0 where even the largest possible difference (all decided pairs one way) is not found so surely.
    """
    low, high = 0.0, discordant
    if power_of_pairs(n, discordant, 0.0, level) < power:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        power_at_middle = power_of_pairs(n, (discordant + middle) / 2, (discordant - middle) / 2, level)
        low, high = (low, middle) if power_at_middle >= power else (middle, high)
    return high


def pairs_for_equivalence(discordant: float, margin: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return the pairs with which two one-sided tests show a true difference of 0 to lie within ±margin.

        n = (z_{1-α} + z_{(1+power)/2})² ψ / margin²

    `discordant` ψ is the share of decided pairs (for scores: the variance of their differences).
    """
    if not margin > 0 or not 0 < power < 1 or not 0 < alpha < 0.5:
        raise UserError(f"margin {margin}, power {power}, alpha {alpha}: above 0, and power below 1, alpha below 0.5")
    z = normal_ppf(1 - alpha) + normal_ppf(0.5 + power / 2)
    return math.ceil(z * z * discordant / (margin * margin) - 1e-9)


def pairs_by_gain(won: int, lost: int, n: int, gains: Sequence[float] = GAINS) -> dict[float, int | None]:
    """Return, from a pilot of n pairs, the pairs needed for each true gain (a share); None where the gain is
    impossible.

    Half a decided pair is added, so that a pilot without any decided pair does not promise too much.
    """
    if n < 1 or min(won, lost) < 0 or won + lost > n:
        raise UserError(f"{won} won and {lost} lost of {n} pairs is impossible")
    discordant = (won + lost + 0.5) / (n + 1)
    needed: dict[float, int | None] = {}
    for gain in gains:
        psi = max(discordant, gain)
        needed[gain] = pairs_needed((psi + gain) / 2, (psi - gain) / 2) if gain < 1 else None
    return needed


def _check(p10: float, p01: float) -> tuple[float, float]:
    if min(p10, p01) < 0 or p10 + p01 > 1 or p10 + p01 == 0:
        raise UserError(
            f"p10 {p10} and p01 {p01}: shares of decided pairs, at least 0, summing to above 0 and at most 1"
        )
    return p10 + p01, p10 - p01
