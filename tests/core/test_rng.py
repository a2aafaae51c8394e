"""Randomness by name: the same for the same names everywhere, different for any other."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.rng import numpy_rng, python_rng, seed_for

names = st.lists(st.text(alphabet=st.characters(exclude_characters="\x1f"), max_size=5) | st.integers(), max_size=3)


def test_a_seed_is_half_of_eight_bytes_of_a_hash() -> None:
    digest = hashlib.sha256(b"7\x1frollout\x1f3").hexdigest()
    assert seed_for(7, "rollout", 3) == int(digest[:16], 16) // 2


@given(st.integers(), names, st.integers(), names)
def test_other_names_are_other_seeds(a: int, first: list[object], b: int, second: list[object]) -> None:
    same = a == b and [str(n) for n in first] == [str(n) for n in second]
    assert (seed_for(a, *first) == seed_for(b, *second)) == same
    assert 0 <= seed_for(a, *first) < 2**63


def test_names_do_not_run_into_each_other() -> None:
    assert len({seed_for(1, "ab", "c"), seed_for(1, "a", "bc"), seed_for(1, "abc"), seed_for(1, "ab", "c", "")}) == 4
    assert seed_for(11, 2) != seed_for(1, 12)


def test_generators_repeat_themselves() -> None:
    assert [python_rng(3, "x").random() for _ in range(2)] == [python_rng(3, "x").random()] * 2
    assert numpy_rng(3, "x").integers(0, 1000, 5).tolist() == numpy_rng(3, "x").integers(0, 1000, 5).tolist()
    assert numpy_rng(3, "x").integers(0, 1000, 5).tolist() != numpy_rng(3, "y").integers(0, 1000, 5).tolist()


def test_a_lone_surrogate_is_a_name() -> None:
    """A file's name may hold one; json.loads makes them too."""
    assert seed_for(0, "\ud800") != seed_for(0, "\udc00")
    assert seed_for(0, "日本") == seed_for(0, "日本")
