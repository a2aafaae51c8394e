"""Canaries: what a pattern may say, and the chance of its likeliest secret, against enumeration."""

import itertools
import random
from collections import Counter

import pytest

from kaiwa.redteam.targets.canary import FEWEST, Pattern, likeliest_chances, longest_length, read_pattern

WIDE = "[a-z]{9}"  # long enough to be allowed, behind what is tested


def top(pattern: str) -> dict[int, float]:
    """Return the likeliest chances of a small pattern, which alone would be refused."""
    parsed = Pattern.__new__(Pattern)
    parsed.text, parsed.where, parsed._at = pattern, "pattern", 0
    return likeliest_chances(parsed._read_alternatives())


@pytest.mark.parametrize(
    ("pattern", "chances"),
    [
        ("abc", {3: 1.0}),
        ("[ab]", {1: 0.5}),
        ("a|b", {1: 0.5}),
        ("a|A|b", {1: 2 / 3}),
        ("[0-9]{2}", {2: 0.01}),
        ("a?", {0: 0.5, 1: 0.5}),
        ("[ab]{1,2}", {1: 0.25, 2: 0.125}),
        ("(cat|dog)-[0-9]", {4: 0.05}),
        ("-", {0: 1.0}),
        ("漢", {2: 1.0}),
    ],
)
def test_chances_by_hand(pattern: str, chances: dict[int, float]) -> None:
    found = top(pattern)
    assert found.keys() == chances.keys()
    for length, chance in chances.items():
        assert found[length] == pytest.approx(chance)


def test_chances_bound_what_is_drawn() -> None:
    pattern = Pattern("(ab|abab)[ab]{2}[a-z]{9}")
    rng = random.Random(0)
    starts = Counter(pattern.draw(rng)[:2] for _ in range(2000))
    assert starts == {"ab": 2000}
    small = top("[ab]{2}c?")
    drawn = Counter("".join(pair) + tail for pair in itertools.product("ab", repeat=2) for tail in ("", "c"))
    assert small[2] == pytest.approx(1 / len(drawn))
    assert small[3] == pytest.approx(1 / len(drawn))


def test_every_letter_of_a_class_is_drawn() -> None:
    pattern = Pattern(r"[a-c0\d_]" + WIDE)
    seen = {pattern.draw(random.Random(i))[0] for i in range(400)}
    assert seen == set("abc0123456789_")


def test_repeats_and_options_are_drawn_evenly() -> None:
    pattern = Pattern("x{1,3}y?" + "[0-9]{9}")
    lengths = Counter(len(pattern.draw(random.Random(i))) - 9 for i in range(3000))
    assert set(lengths) == {1, 2, 3, 4}
    assert lengths[1] / 3000 == pytest.approx(1 / 6, abs=0.03)
    assert lengths[3] / 3000 == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("pattern", "length"), [("a{2,5}", 5), ("(ab|c)d?", 3), ("[a-z]{3}-[0-9]{4}", 8), ("((a|bb){2}c){2}", 10)]
)
def test_the_longest(pattern: str, length: int) -> None:
    parsed = Pattern.__new__(Pattern)
    parsed.text, parsed.where, parsed._at = pattern, "pattern", 0
    assert longest_length(parsed._read_alternatives()) == length


def test_the_same_draw_for_the_same_seed_and_parsed_once() -> None:
    pattern = read_pattern(WIDE)
    assert pattern is read_pattern(WIDE)
    assert pattern.draw(random.Random(7)) == pattern.draw(random.Random(7))
    assert len(pattern.draw(random.Random(7))) == 9


def test_escapes_and_groups() -> None:
    text = Pattern(r"(?:a\-b|a\.b)\w{9}").draw(random.Random(1))
    assert text[:3] in ("a-b", "a.b")
    assert all(c in "0123456789abcdefghijklmnopqrstuvwxyz" for c in text[3:])
    assert FEWEST == 10_000
