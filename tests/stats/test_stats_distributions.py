"""The normal and Student's t distribution against scipy, over tails, small and large degrees of freedom."""

import math

import pytest
from scipy import special

from kaiwa.stats.distributions import normal_cdf, normal_ppf, student_t_cdf, student_t_ppf

DEGREES = [1, 2, 3, 4, 5, 7.5, 10, 29, 30, 59, 60, 61, 100, 999, 12_345, 1_000_000]
SHARES = [1e-12, 1e-6, 0.001, 0.005, 0.025, 0.05, 0.2, 0.4, 0.4999, 0.5, 0.51, 0.8, 0.9, 0.95, 0.975, 0.995, 0.9999]


@pytest.mark.parametrize("z", [-37.0, -8.0, -1.96, -1e-9, 0.0, 0.3, 1.0, 5.0, 9.0])
def test_normal_probability(z: float) -> None:
    assert normal_cdf(z) == pytest.approx(float(special.ndtr(z)), rel=1e-12)


@pytest.mark.parametrize("p", SHARES)
def test_normal_quantile(p: float) -> None:
    assert normal_ppf(p) == pytest.approx(float(special.ndtri(p)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("df", DEGREES)
def test_student_probability(df: float) -> None:
    for t in (0.0, 0.1, 0.5, 1.0, 1.7, 2.0, 3.3, 8.0, 40.0, 1e4):
        for signed in (t, -t):
            assert student_t_cdf(df, signed) == pytest.approx(float(special.stdtr(df, signed)), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("df", DEGREES)
def test_student_quantile(df: float) -> None:
    for p in SHARES:
        assert student_t_ppf(df, p) == pytest.approx(float(special.stdtrit(df, p)), rel=1e-10, abs=1e-12)


def test_small_arguments_keep_their_digits() -> None:
    """The Cauchy distribution in closed form (scipy 1.17 rounds to 0.5 here)."""
    assert student_t_cdf(1, 1e-9) == pytest.approx(0.5 + 1e-9 / math.pi, rel=1e-15)


def test_limits() -> None:
    assert math.isnan(student_t_cdf(0, 1.0))
    assert math.isnan(student_t_ppf(0, 0.9))
    assert (normal_ppf(0.0), normal_ppf(1.0)) == (-math.inf, math.inf)
    assert (student_t_ppf(3, 0.0), student_t_ppf(3, 1.0)) == (-math.inf, math.inf)
    assert (student_t_cdf(3, math.inf), student_t_cdf(3, -math.inf)) == (1.0, 0.0)
    assert math.isnan(student_t_cdf(3, math.nan))
