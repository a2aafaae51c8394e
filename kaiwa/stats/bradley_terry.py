"""Strengths of models from games with ties: Bradley and Terry (1952) in Davidson's form (1970), bootstrap over prompts.

With strengths π and one parameter ν for ties, models i and j play

    P(i wins) = π_i / D     P(tie) = ν √(π_i π_j) / D     D = π_i + π_j + ν √(π_i π_j)

The likelihood is concave in log π and log ν; Newton's steps, all resamples at once. The estimate exists where a chain
of wins leads from every model to every other (Ford 1957; a model that has tied but never lost runs off together with
ν). Elsewhere a penalty (FAINT) keeps strengths finite, and the standing says that it is not bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kaiwa.core.errors import UserError
from kaiwa.stats.distributions import student_t_ppf
from kaiwa.stats.intervals import Interval, normal_quantile

FAINT = 0.02  # penalty on the squared log strengths where the games leave them open
STEPS, LONGEST_STEP, EXACT = 100, 3.0, 1e-9
LOWEST_TIES = 1e-9  # ν where no game was tied
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedGame:
    """A game of two models, by their numbers. result: 1 the first won, 0 a tie, -1 the second won."""

    first: int
    second: int
    result: int
    prompt: object = None  # games of one prompt are drawn together


@dataclass(frozen=True, slots=True)
class Standing:
    """What the games say of a model. share: its chance to beat a model of mean strength, ties counting half.

    log_strength: natural logarithm, mean 0 over the models. n: its games. bounded: whether the strength has an
    estimate.
    """

    share: Interval
    log_strength: float
    n: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class Table:
    """standings [m]; wins[i][j]: games that i won against j, ties[i][j]: their ties. nu: Davidson's ν."""

    standings: tuple[Standing, ...]
    nu: float
    wins: tuple[tuple[int, ...], ...]
    ties: tuple[tuple[int, ...], ...]


def fit(wins: Array, ties: Array) -> tuple[Array, Array]:
    """Return (log strengths, mean 0; log ν) of games, [..., m] and [...], from wins [..., m, m] and ties [..., m, m].

    wins[i, j]: games that i won against j. ties[i, j] = ties[j, i]: games of i and j without a winner.
    """
    wins, ties = np.asarray(wins, dtype=np.float64), np.asarray(ties, dtype=np.float64)
    shape, m = wins.shape[:-2], wins.shape[-1]
    wins, ties = wins.reshape(-1, m, m), ties.reshape(-1, m, m)
    pairs = list(combinations(range(m), 2))
    i, j = np.array([a for a, _ in pairs], dtype=int), np.array([b for _, b in pairs], dtype=int)
    won, lost, tied = wins[:, i, j], wins[:, j, i], ties[:, i, j]
    has_ties = tied.sum(axis=1) > 0
    open_ = np.array([not is_connected(one) for one in wins])
    design = np.zeros((len(pairs), m))
    design[np.arange(len(pairs)), i], design[np.arange(len(pairs)), j] = 1.0, -1.0
    x = np.zeros((len(wins), m + 1))
    start = np.log(np.maximum(tied.sum(axis=1), 0.5) / np.maximum((won + lost).sum(axis=1), 0.5))
    x[:, m] = np.where(has_ties, start, math.log(LOWEST_TIES))
    for _ in range(STEPS):
        gradient, hessian = _derivatives(x, design, won, lost, tied)
        penalty = np.where(open_, FAINT, 0.0)[:, None]
        gradient -= penalty * x
        hessian[:, range(m + 1), range(m + 1)] += penalty
        hessian[:, :m, :m] += 1.0 / m  # the mean of the log strengths is 0: it is in no likelihood
        gradient[~has_ties, m] = 0.0
        hessian[~has_ties, m, :] = hessian[~has_ties, :, m] = 0.0
        hessian[~has_ties, m, m] = 1.0
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))
        x += step
        if float(longest.max(initial=0.0)) < EXACT:
            break
    strengths = x[:, :m] - x[:, :m].mean(axis=1, keepdims=True)
    return strengths.reshape(*shape, m), x[:, m].reshape(shape)


def _derivatives(x: Array, design: Array, won: Array, lost: Array, tied: Array) -> tuple[Array, Array]:
    """Return the gradient [r, m+1] and the negative Hessian [r, m+1, m+1] of the log likelihood."""
    m = design.shape[1]
    half = x[:, :m] @ design.T / 2  # of the difference of two log strengths
    nu = x[:, m:]
    top = np.maximum(np.maximum(half, -half), nu)
    win, loss, tie = np.exp(half - top), np.exp(-half - top), np.exp(nu - top)
    whole = win + loss + tie
    win, loss, tie = win / whole, loss / whole, tie / whole
    n = won + lost + tied
    d = (won - lost - n * (win - loss)) / 2
    gradient = np.concatenate([d @ design, (tied - n * tie).sum(axis=1, keepdims=True)], axis=1)
    spread = n * (win + loss - (win - loss) ** 2) / 4  # of the half difference
    hessian = np.zeros((len(x), m + 1, m + 1))
    hessian[:, :m, :m] = np.einsum("rp,pa,pb->rab", spread, design, design, optimize=True)
    across = -(n * (win - loss) * tie / 2) @ design
    hessian[:, :m, m] = hessian[:, m, :m] = across
    hessian[:, m, m] = (n * tie * (1 - tie)).sum(axis=1)
    return gradient, hessian


def is_connected(wins: Array) -> bool:
    """Return whether wins [m, m] lead from every model to every other."""
    m = len(wins)
    reach = (np.asarray(wins) > 0) | np.eye(m, dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(max(2, m))))):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())


def share_against_mean(log_strengths: Array, log_nu: Array) -> Array:
    """Return the chance of each model, [..., m], to beat a model of log strength 0, ties counting half."""
    half = log_strengths / 2
    tie = np.exp(log_nu)[..., None]
    win, loss = np.exp(np.clip(half, -300, 300)), np.exp(np.clip(-half, -300, 300))
    return np.asarray((win + tie / 2) / (win + loss + tie))


def table(games: Sequence[PairedGame], m: int, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Table:
    """Return the standings of m models with percentile intervals by bootstrap over prompts.

    As in `stats.bootstrap` the limits are widened for the few prompts there are. UserError for a game of a model with
    itself (a null test says nothing of strengths) and for numbers that are no model's.
    """
    clusters: dict[object, int] = {}
    number = [
        clusters.setdefault(("one", n) if g.prompt is None else g.prompt, len(clusters)) for n, g in enumerate(games)
    ]
    wins, ties = np.zeros((len(clusters), m, m)), np.zeros((len(clusters), m, m))
    for c, game in zip(number, games, strict=True):
        if game.first == game.second or not (0 <= game.first < m and 0 <= game.second < m):
            raise UserError(f"game of {game.first} and {game.second}: two different models of {m} are expected")
        if game.result:
            winner, loser = (game.first, game.second) if game.result > 0 else (game.second, game.first)
            wins[c, winner, loser] += 1
        else:
            ties[c, game.first, game.second] += 1
            ties[c, game.second, game.first] += 1
    total_wins, total_ties = wins.sum(axis=0), ties.sum(axis=0)
    strengths, log_nu = fit(total_wins, total_ties)
    shares = share_against_mean(strengths, log_nu)
    low, high = _limits(wins, ties, shares, (level, resamples, seed))
    played = (total_wins + total_wins.T + total_ties).sum(axis=1)
    bounded = m > 1 and is_connected(total_wins)
    standings = tuple(
        Standing(
            Interval(float(shares[i]), low[i], high[i], len(clusters)), float(strengths[i]), int(played[i]), bounded
        )
        for i in range(m)
    )
    counts = [tuple(tuple(int(x) for x in row) for row in matrix) for matrix in (total_wins, total_ties)]
    return Table(standings, float(np.exp(log_nu)), counts[0], counts[1])


def _limits(wins: Array, ties: Array, shares: Array, how: tuple[float, int, int]) -> tuple[list[float], list[float]]:
    """Return the lower and the upper limits of shares [m], from the games of each prompt [c, m, m]."""
    level, resamples, seed = how
    c, m = len(wins), len(shares)
    if c < 2:
        return [0.0] * m, [1.0] * m
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(c, np.full(c, 1 / c), size=resamples).astype(np.float64)
    new_wins = (drawn @ wins.reshape(c, -1)).reshape(resamples, m, m)
    new_ties = (drawn @ ties.reshape(c, -1)).reshape(resamples, m, m)
    wider = math.sqrt(c / (c - 1)) * student_t_ppf(c - 1, 0.5 + level / 2) / normal_quantile(level)
    spread = (share_against_mean(*fit(new_wins, new_ties)) - shares) * wider
    limits = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0) + shares
    clipped = np.clip(limits, 0.0, 1.0)
    return clipped[0].tolist(), clipped[1].tolist()
