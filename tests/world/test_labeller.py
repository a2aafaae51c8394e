"""Labellers: noise, ties, leanings, agreement and the ceiling."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.judge import judge
from kaiwa.world.labeller import (
    GOLD,
    NOISE,
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
