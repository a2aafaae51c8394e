"""Strengths from games: a published table, a slow independent computation, the coverage of the intervals."""

import math
import random

import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.stats.bradley_terry import PairedGame, fit, is_connected, share_against_mean, table

# Seven teams of the American League, 1987, and their log strengths (Agresti, Categorical Data Analysis, section 11.6).
TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
WON = [[7, 9, 7, 7, 9, 11], [7, 5, 11, 9, 9], [7, 7, 8, 12], [6, 7, 10], [7, 12], [6]]  # of 13, against later teams
PUBLISHED = [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0]


def baseball() -> np.ndarray:
    wins = np.zeros((7, 7))
    for i, row in enumerate(WON):
        for j, n in enumerate(row, i + 1):
            wins[i, j], wins[j, i] = n, 13 - n
    return wins


def slow_davidson(wins: list[list[float]], ties: list[list[float]]) -> tuple[list[float], float]:
    """Davidson's own iteration (1970, section 4): strengths and ν in turn, one model at a time, until nothing moves."""
    m = len(wins)
    pi, nu = [1.0 / m] * m, 1.0 if any(map(any, ties)) else 0.0
    for _ in range(20_000):
        before = [*pi, nu]
        for i in range(m):
            scored = sum(wins[i][j] + ties[i][j] / 2 for j in range(m) if j != i)
            rate = 0.0
            for j in range(m):
                if j == i:
                    continue
                n = wins[i][j] + wins[j][i] + ties[i][j]
                root = math.sqrt(pi[i] * pi[j])
                rate += n * (1 + nu * math.sqrt(pi[j] / pi[i]) / 2) / (pi[i] + pi[j] + nu * root)
            pi[i] = scored / rate
        if nu:
            expected = 0.0
            for i in range(m):
                for j in range(i):
                    root = math.sqrt(pi[i] * pi[j])
                    expected += (wins[i][j] + wins[j][i] + ties[i][j]) * root / (pi[i] + pi[j] + nu * root)
            nu = sum(ties[i][j] for i in range(m) for j in range(i)) / expected
        whole = sum(pi)
        pi = [p / whole for p in pi]
        if max(abs(a - b) for a, b in zip(before, [*pi, nu], strict=True)) < 1e-15:
            break
    logs = [math.log(p) for p in pi]
    return [x - sum(logs) / m for x in logs], nu


def test_the_published_table_of_a_textbook() -> None:
    strengths, _ = fit(baseball(), np.zeros((7, 7)))
    assert [round(float(x - strengths[-1]), 3) for x in strengths] == PUBLISHED


@pytest.mark.parametrize("tied", [False, True])
def test_strengths_equal_a_slow_independent_computation(tied: bool) -> None:
    wins, ties = baseball(), np.zeros((7, 7))
    if tied:
        rng = np.random.default_rng(1)
        upper = np.triu(rng.integers(0, 5, (7, 7)), 1).astype(float)
        ties = upper + upper.T
    strengths, log_nu = fit(wins, ties)
    slow, nu = slow_davidson(wins.tolist(), ties.tolist())
    assert np.abs(strengths - np.array(slow)).max() < 1e-9
    if tied:
        assert abs(math.exp(float(log_nu)) - nu) < 1e-9


def games_of(strengths: np.ndarray, nu: float, rng: random.Random, prompts: int, each: int) -> list[PairedGame]:
    """Games of known strengths, `each` of a prompt."""
    games = []
    for prompt in range(prompts):
        for _ in range(each):
            i, j = rng.sample(range(len(strengths)), 2)
            a, b = math.exp(strengths[i]), math.exp(strengths[j])
            draw = rng.random() * (a + b + nu * math.sqrt(a * b))
            games.append(PairedGame(i, j, 1 if draw < a else -1 if draw < a + b else 0, prompt))
    return games


def test_the_intervals_hold_the_truth_in_93_to_97_of_100() -> None:
    true = np.array([0.8, 0.2, -0.3, -0.7])
    shares = share_against_mean(true - true.mean(), np.array(math.log(0.5)))
    covered = np.zeros(4)
    for n in range(400):
        board = table(games_of(true, 0.5, random.Random(n), 80, 3), 4, resamples=300, seed=n)
        covered += [s.share.low <= share <= s.share.high for s, share in zip(board.standings, shares, strict=True)]
    assert 0.93 <= float(covered.mean()) / 400 <= 0.97
    assert ((covered > 360) & (covered < 396)).all()


def test_a_table_counts_what_was_played() -> None:
    games = [PairedGame(0, 1, 1, "p"), PairedGame(1, 0, 1, "p"), PairedGame(0, 1, 0, "q"), PairedGame(2, 1, -1, "r")]
    board = table(games, 3)
    assert board.wins == ((0, 1, 0), (1, 0, 1), (0, 0, 0))
    assert board.ties == ((0, 1, 0), (1, 0, 0), (0, 0, 0))
    assert [standing.n for standing in board.standings] == [3, 4, 1]
    assert not board.standings[2].bounded  # it never won: its strength has no estimate
    assert board.standings[2].share.mean < 0.2
    assert all(0 <= s.share.low <= s.share.high <= 1 for s in board.standings)
    assert table(games, 3).standings == board.standings  # the same seed
    assert table([], 2).standings[0].share.mean == 0.5


def test_strengths_exist_where_a_chain_of_wins_leads_both_ways() -> None:
    wins = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert is_connected(wins)
    wins[2, 0] = 0
    assert not is_connected(wins)


def test_a_null_test_is_no_game() -> None:
    with pytest.raises(UserError, match="two different models"):
        table([PairedGame(1, 1, 1)], 2)


@pytest.mark.parametrize("results", [[0], [1], [0, 0, 0], [1, 0], [1, 1, -1], [-1] * 30])
def test_any_first_votes_have_a_table(results: list[int]) -> None:
    """Ties only, wins only, one vote: no estimate need exist, and the shares stay between 0 and 1."""
    board = table([PairedGame(0, 1, result, n) for n, result in enumerate(results)], 2)
    one, two = board.standings
    assert one.share.mean + two.share.mean == pytest.approx(1.0)
    assert all(0 <= s.share.low <= s.share.mean <= s.share.high <= 1 for s in (one, two))
    assert (one.share.mean > 0.5) == (sum(results) > 0)
