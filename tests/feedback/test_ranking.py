"""Rankings as letters and as ranks, with everything that can be wrong in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.feedback.flags import OUTPUT_FLAGS, PROMPT_FLAGS, check_flags
from kaiwa.feedback.ranking import LETTERS, check_ranks, parse_ranking, shuffled, write_ranking


@pytest.mark.parametrize(
    ("text", "ranks"),
    [("abcd", (0, 1, 2, 3)), ("dcba", (3, 2, 1, 0)), ("ba=cd", (1, 0, 1, 3)), ("a=b=c=d", (0, 0, 0, 0)),
     ("B a = c D", (1, 0, 1, 3))],
)  # fmt: skip
def test_letters_are_ranks(text: str, ranks: tuple[int, ...]) -> None:
    assert parse_ranking(text, 4) == ranks


@pytest.mark.parametrize(
    ("text", "message"),
    [("abca", "'a' stands in it twice"), ("abce", "no output 'e'; there are a to d"), ("abc", "d not ranked"),
     ("=abcd", "between two letters"), ("ab==cd", "between two letters"), ("abcd=", "between two letters"),
     ("", "a, b, c, d not ranked"), ("abcd1", "no output '1'")],
)  # fmt: skip
def test_what_is_wrong_in_letters_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_ranking(text, 4)


@given(st.integers(2, 9).flatmap(lambda k: st.lists(st.integers(0, k - 1), min_size=k, max_size=k)))
def test_any_order_with_ties_goes_through_letters_and_back(places: list[int]) -> None:
    ranks = tuple(sum(other < place for other in places) for place in places)
    assert parse_ranking(write_ranking(ranks), len(ranks)) == ranks
    assert check_ranks(ranks, len(ranks)) == ranks


@pytest.mark.parametrize(
    ("ranks", "same"), [((0, 0, 1), (0, 0, 2)), ((1, 2, 3), (0, 1, 2)), ((1, 1, 3), (0, 0, 2)), ((2, 1, 1), (2, 0, 0))]
)
def test_other_ways_to_count_places_are_read(ranks: tuple[int, ...], same: tuple[int, ...]) -> None:
    assert check_ranks(ranks, 3) == same


@pytest.mark.parametrize(
    ("ranks", "message"),
    [((0, 2, 3), "gap"), ((0, 0, 3), "gap"), ((2, 3, 4), "gap"), ((-1, 0, 1), "gap"), ((0, 1), "2 ranks for 3"),
     ((0, 1, 2.0), "whole number"), ((0, 1, True), "whole number")],
)  # fmt: skip
def test_ranks_with_a_gap_are_refused(ranks: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_ranks(ranks, 3)


def test_the_order_shown_is_drawn_from_the_seed_and_even() -> None:
    assert shuffled(9, 3, 17, "Aoi") == shuffled(9, 3, 17, "Aoi") != shuffled(9, 4, 17, "Aoi")
    first = [shuffled(4, 0, i, "Aoi")[0] for i in range(4000)]
    assert all(900 < first.count(i) < 1100 for i in range(4))


def test_flags_have_their_own_keys() -> None:
    keys = [*OUTPUT_FLAGS, *PROMPT_FLAGS]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set("uxh1234567")
    assert len(OUTPUT_FLAGS) == 11
    assert check_flags("mf", OUTPUT_FLAGS) == "fm"
    with pytest.raises(UserError, match="no flag 'z'"):
        check_flags("z", OUTPUT_FLAGS)
    assert LETTERS == "abcdefghi"
