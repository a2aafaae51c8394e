"""Collecting comparisons: which replies count as generic, and what the configuration allows."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.reward.collect import most_frequent
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.text.records import Completion


def test_the_most_frequent_replies_that_ended() -> None:
    answers = [Completion(text=t) for t in ("no", "yes", "no", "perhaps", "yes", "no")]
    answers += [Completion(text="endless", finish_reason="length")] * 9
    assert [a.text for a in most_frequent(answers, 2)] == ["no", "yes"]


@pytest.mark.parametrize("bad", [{"k_min": 1}, {"k_min": 5, "k_max": 4}, {"k_min": 4, "generic": 3}, {"generic": -1}])
def test_impossible_numbers_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UserError):
        CollectConfig(**bad)
