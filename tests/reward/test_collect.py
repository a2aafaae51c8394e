"""Collecting comparisons: which replies are strays, and what the configuration allows."""

from random import Random

import pytest

from kaiwa.core.config import override
from kaiwa.core.errors import UserError
from kaiwa.recipes.labels import with_labellers
from kaiwa.recipes.laptop import laptop
from kaiwa.reward.collect import most_frequent, strays
from kaiwa.reward.collect_config import CollectConfig, Labellers
from kaiwa.text.records import Completion


def test_the_most_frequent_replies_that_ended() -> None:
    answers = [Completion(text=t) for t in ("no", "yes", "no", "perhaps", "yes", "no")]
    answers += [Completion(text="endless", finish_reason="length")] * 9
    assert [a.text for a in most_frequent(answers, 2)] == ["no", "yes"]


def test_strays_come_from_the_frequent_replies_and_from_any_other() -> None:
    common, theirs = [Completion(text="no")], [Completion(text=t) for t in ("no", "On Oak Hill.", "You're welcome.")]
    drawn = [a.text for a in strays(Random(0), 600, common, theirs)]
    assert drawn[::2] == ["no"] * 300
    assert abs(drawn[1::2].count("You're welcome.") - 100) < 40
    assert [a.text for a in strays(Random(0), 1, [], theirs[1:2])] == ["On Oak Hill."]
    assert strays(Random(0), 2, [], []) == []


@pytest.mark.parametrize("bad", [{"k_min": 1}, {"k_min": 5, "k_max": 4}, {"k_min": 4, "strays": 3}, {"strays": -1}])
def test_impossible_numbers_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UserError):
        CollectConfig(**bad)


def test_a_recipe_follows_its_village_in_who_ranks() -> None:
    usual = with_labellers(laptop())
    assert usual.reward.held_out_labellers == ("labeller-4", "labeller-5")
    assert with_labellers(usual) == usual
    more = with_labellers(override(laptop(), {"village.n_labellers": "8", "village.n_held_out_labellers": "1"}))
    assert more.reward.held_out_labellers == ("labeller-7",)
    assert more.compare.labellers == Labellers(number=8, held_out=1)
    chosen = with_labellers(override(laptop(), {"reward.held_out_labellers": "labeller-0"}))
    assert chosen.reward.held_out_labellers == ("labeller-0",)
    with pytest.raises(UserError, match=r"give village\.n_labellers"):
        with_labellers(override(laptop(), {"compare.labellers.number": "8"}))
