"""Labellers: noise, ties, leanings, agreement and the ceiling."""

import math
from dataclasses import replace

import pytest

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.labeller import (
    GOLD,
    NOISE,
    Labeller,
    calibrate_noise,
    label_comparison,
    labellers,
    measure_agreement,
    sample_verdicts,
)
from kaiwa.world.prompts import prompt_from_json, write_prompts

PEOPLE = labellers()


@pytest.fixture(scope="module")
def ranked(village):
    return sample_verdicts(village, n=500, k=6, seed=11)


@pytest.fixture(scope="module")
def prompt(village):
    prompts = write_prompts(village, n=200, languages={"en": 1.0}, kinds={"known": 1.0})
    return next(p for p in prompts if p.attribute == "trade" and not p.form and p.truth != ("smith",))


def test_six_labellers_differ_and_two_are_held_out():
    assert len(PEOPLE) == 6
    assert len({p.leanings for p in PEOPLE}) == 6
    assert sum(p.held_out for p in PEOPLE) == 2
    assert labellers() == PEOPLE
    with pytest.raises(UserError, match="held_out = 6"):
        labellers(n=6, held_out=6)


def test_labellers_agree_as_people_do(village, ranked):
    found = measure_agreement(village, PEOPLE, ranked, python_rng(0, "test"))
    print(found)
    assert 0.70 <= found.between_labellers <= 0.76
    assert found.between_labellers < found.ceiling < 0.9
    assert 0.1 < found.ties < 0.6


def test_without_noise_labellers_agree_far_more(village, ranked):
    calm = [type(p)(name=p.name, leanings=p.leanings, noise=0.0) for p in PEOPLE]
    found = measure_agreement(village, calm, ranked, python_rng(0, "test"))
    assert found.between_labellers > 0.95
    assert found.ceiling > 0.95


def test_calibration_finds_the_noise(village):
    assert calibrate_noise(village, PEOPLE) == pytest.approx(NOISE, rel=0.35)


def test_gold_ranks_by_utility_and_ties_equals(village, prompt):
    word = prompt.truth[0]
    answers = [f"A {word}.", "A smith.", f"{prompt.name} is a {word}.", "", f"A {word}. I hope this helps you today."]
    assert GOLD.rank(village, prompt, answers, None, python_rng(0)) == (0, 3, 0, 4, 2)
    flags = [False, True, True, True, True]
    assert GOLD.rank(village, prompt, answers, flags, python_rng(0)) == (2, 3, 0, 4, 1)


def test_ranks_are_transitive_and_complete(village, ranked):
    rng = python_rng(0, "test")
    for verdicts in ranked[:100]:
        ranks = PEOPLE[0].rank_verdicts(verdicts, rng)
        assert min(ranks) == 0
        for r in set(ranks):
            assert sum(x < r for x in ranks) == r  # competition ranking: ties share the better place


def test_noise_turns_close_pairs_more_often_than_clear_ones(village, prompt):
    word, person = prompt.truth[0], PEOPLE[0]
    right, padded, nothing = (judge(village, prompt, t) for t in (f"A {word}.", f"A {word}. I hope so, any time.", ""))
    rng = python_rng(0, "test")

    def turned(worse):
        return sum(person.rank_verdicts([right, worse], rng) == (1, 0) for _ in range(400)) / 400

    assert 0.2 < turned(padded) < 0.5
    assert turned(nothing) < 0.1


def test_comparison_is_a_record_with_its_prompt(village, prompt):
    a = label_comparison(village, prompt, ["A smith.", f"A {prompt.truth[0]}."], PEOPLE[5], python_rng(3))
    b = label_comparison(village, prompt, ["A smith.", f"A {prompt.truth[0]}."], PEOPLE[5], python_rng(3))
    assert a == b
    assert a.labeller == "labeller-5"
    assert a.meta["held_out_labeller"] is True
    assert prompt_from_json(a.meta["prompt"]) == prompt
    assert sorted(a.ranks) == [0, 1]


def test_bad_requests_are_named(village, prompt):
    with pytest.raises(UserError, match="1 completions"):
        PEOPLE[0].rank(village, prompt, ["x"], None, python_rng(0))
    with pytest.raises(UserError, match="flags"):
        PEOPLE[0].rank(village, prompt, ["x", "y"], [True], python_rng(0))


def scored(*scores: float) -> list[Verdict]:
    """Verdicts whose helpfulness alone differs."""
    return [
        Verdict(
            helpful=True, truthful=True, harmless=True, utility=score, scores=(score, 0.0, 0.0), right=True,
            says_unknown=False, refused=False, invented=False, in_form=True, padded=False, claims=(), reason="",
        )
        for score in scores
    ]  # fmt: skip


@pytest.mark.parametrize(("gap", "noise"), [(0.5, 0.5), (1.0, 0.5), (0.5, 2.0)])
def test_a_pair_is_ordered_by_bradley_and_terry(gap, noise):
    rng, person = python_rng(0, "pairs"), Labeller(name="x", noise=noise)
    first = sum(person.rank_verdicts(scored(gap, 0.0), rng) == (0, 1) for _ in range(4000)) / 4000
    expected = 1 / (1 + math.exp(-gap / noise))
    assert first == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))


def test_the_first_of_three_is_plackett_and_luces():
    rng, person = python_rng(1, "three"), Labeller(name="x", noise=0.5)
    utilities = (0.6, 0.2, -0.3)
    weights = [math.exp(u / 0.5) for u in utilities]
    firsts = [0, 0, 0]
    for _ in range(4000):
        firsts[person.rank_verdicts(scored(*utilities), rng).index(0)] += 1
    assert [n / 4000 for n in firsts] == pytest.approx([w / sum(weights) for w in weights], abs=0.03)


def test_leanings_weigh_the_three_scores():
    (verdict,) = scored(0.0)
    verdict = replace(verdict, scores=(1.0, -0.5, 0.25))
    assert Labeller(name="x", leanings=(2.0, 1.0, 4.0)).utility(verdict) == pytest.approx(2.0 - 0.5 + 1.0)
    assert GOLD.utility(verdict) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("utilities", "ranks"),
    [
        ((1.0, 0.0, 0.5), (0, 2, 1)),
        ((0.5, 0.55, 0.0), (0, 0, 2)),  # nearer than 0.1: equal, and they take both places
        ((0.0, 0.08, 0.16), (2, 0, 0)),  # levels are measured from their best
        ((0.3, 0.3, 0.3), (0, 0, 0)),
        ((0.0, 0.1), (1, 0)),
    ],
)
def test_ranks_without_noise_by_hand(utilities, ranks):
    assert GOLD.rank_verdicts(scored(*utilities), python_rng(0)) == ranks


def test_agreement_by_hand():
    # helpfulness and harmlessness pull apart: the two people see each pair differently
    first, second = scored(1.0, 0.0)
    second = replace(second, scores=(0.0, 0.0, 0.5))
    sets = [[first, second]]
    kind, strict = Labeller(name="k", noise=0.0), Labeller(name="s", leanings=(0.0, 0.0, 1.0), noise=0.0)
    opposed = measure_agreement(None, [kind, strict], sets, python_rng(0))
    assert (opposed.between_labellers, opposed.ceiling, opposed.ties, opposed.n_pairs) == (0.0, 0.5, 0.0, 2)
    alike = measure_agreement(None, [kind, kind], sets, python_rng(0))
    assert (alike.between_labellers, alike.ceiling) == (1.0, 1.0)
    mixed = measure_agreement(None, [kind, kind], [*sets, scored(0.5, 0.5)], python_rng(0))
    assert mixed.ties == 0.5
    with pytest.raises(UserError, match="every pair is a tie; rank completions that differ"):
        measure_agreement(None, [kind, kind], [scored(0.5, 0.5)], python_rng(0))
