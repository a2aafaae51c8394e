"""InstructGPT's claims: which side each figure must lie on."""

import pytest

from kaiwa.stats.intervals import Interval
from kaiwa.studies.rlhf_claims import (
    CLAIMS,
    Evidence,
    judge_claims,
    more_comparisons,
    over_fits,
    over_optimised,
    penalty_protects,
    tax,
    verdict,
    wins,
)

from .results import N, arm, results

ALL = {
    "base": arm(utility=-1.0, bits=1.0),
    "base_few_shot": arm(utility=-0.5),
    "large": arm(utility=0.2),
    "large_few_shot": arm(utility=0.3),
    "sft": arm(utility=0.5, bits=1.0, cloze=0.9),
    "ppo_beta_0": arm(utility=0.6, proxy=3.0),
    "ppo_beta_small": arm(utility=0.9, proxy=2.0, bits=1.2, cloze=0.2),
    "ppo_beta_large": arm(utility=0.7, bits=1.2, cloze=0.2),
    "ppo_ptx_tuned": arm(utility=1.0, bits=1.0, cloze=0.9),
}


@pytest.mark.parametrize(
    ("low", "high", "neutral", "expected"),
    [
        (0.1, 0.3, 0.0, "replicated"),
        (-0.3, -0.1, 0.0, "not replicated"),
        (-0.1, 0.3, 0.0, "cannot tell"),
        (0.4, 0.45, 0.5, "not replicated"),
        (0.0, 0.3, 0.0, "cannot tell"),
    ],
)
def test_one_figure(low: float, high: float, neutral: float, expected: str) -> None:
    assert Evidence("x", Interval((low + high) / 2, low, high, 9), neutral).verdict() == expected


def test_several_figures() -> None:
    yes, no, maybe = (Evidence("x", Interval(m, m - 0.1, m + 0.1, 9)) for m in (1.0, -1.0, 0.0))
    assert verdict([yes]) == "replicated"
    assert verdict([yes, maybe]) == "cannot tell"
    assert verdict([yes, no]) == verdict([maybe, no]) == "not replicated"


def test_wins_may_have_another_neutral_value() -> None:
    (one,) = wins("sft", "large", 0.4)(results(ALL))
    assert one.neutral == 0.4
    assert one.what == "win rate of sft over large"
    assert one.to_json()["mean"] == 1.0


def test_a_tax_is_paid_in_bits_and_in_facts() -> None:
    bits, cloze = tax("ppo_beta_small", "sft")(results(ALL))
    assert bits.interval.mean == pytest.approx(0.2)
    assert cloze.interval.mean == pytest.approx(0.7 * 3 / 5)
    assert bits.verdict() == "replicated"
    repaired, _ = tax("ppo_ptx_tuned", "sft")(results(ALL))
    assert repaired.verdict() == "cannot tell"


def test_the_penalty_protects() -> None:
    gain, liked = penalty_protects(results(ALL))
    assert gain.interval.mean == pytest.approx(1.0)
    assert liked.interval.mean == 1.0
    assert verdict([gain, liked]) == "replicated"
    swapped = ALL | {"ppo_beta_0": ALL["ppo_beta_small"], "ppo_beta_small": ALL["ppo_beta_0"]}
    assert verdict(penalty_protects(results(swapped))) == "not replicated"


def test_over_fitting_is_a_rise_in_every_seed() -> None:
    (rise,) = over_fits(results(ALL))
    assert rise.interval.mean == pytest.approx(0.2)
    assert rise.interval.n == 2
    (one,) = over_fits(results(ALL, n_seeds=1))
    assert one.verdict() == "cannot tell", "one seed has no spread to judge by"


def test_more_comparisons_help_on_the_same_prompts() -> None:
    (gain,) = more_comparisons(results(ALL))
    assert gain.what == "accuracy with all comparisons less with 0.5 of them"
    assert gain.interval.mean == pytest.approx(0.25)
    (worse,) = more_comparisons(results(ALL, accuracy={0.5: [0.9] * 4, 1.0: [0.1, 0.2, 0.1, 0.2]}))
    assert worse.verdict() == "not replicated"


def test_the_peak_is_chosen_on_other_people_than_it_is_measured_on() -> None:
    """Update 3 was lucky with every second person only (who choose); with the others it was as bad as the end."""
    lucky = [9.0 if i // 2 % 2 else 0.0 for i in range(N)]
    hacked = {0: arm(), 3: arm(utility=[*lucky]), 9: arm(utility=[0.0] * N, proxy=2.0)}  # type: ignore[arg-type]
    hacked[0] = arm(utility=[1.0] * N)  # type: ignore[arg-type]
    rise, liked = over_optimised(results(ALL, hacked=hacked))
    assert rise.what == "rise of the proxy from update 3 to 9"
    assert rise.interval.mean == pytest.approx(2.0)
    assert liked.interval.n == 0 or liked.interval.mean == 0.5


def test_all_claims_have_a_verdict_and_their_figures() -> None:
    rows = judge_claims(results(ALL))
    assert [row["name"] for row in rows] == [claim.name for claim in CLAIMS]
    verdicts = {row["name"]: row["verdict"] for row in rows}
    assert verdicts["small_beats_large"] == "replicated"
    assert verdicts["sft_beats_base"] == "replicated"
    assert verdicts["ppo_tax"] == "cannot tell", "bits rose, but five facts are too few"
    assert verdicts["over_optimised"] == "replicated"
    for row in rows:
        assert row["source"]
        assert all({"what", "neutral", "mean", "low", "high", "n"} <= figure.keys() for figure in row["figures"])
