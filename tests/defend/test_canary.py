"""The output filter over every way to cut a reply; which dresses it undoes is in test_dresses.py."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.defend.canary import STEP, CanaryFilter
from kaiwa.defend.defence import Blocked, filter_reply
from kaiwa.defend.fold import fold
from kaiwa.defend.matcher import Automaton
from kaiwa.redteam.oracles.leaks import find_leak

SECRET = "open-sesame-42"
HEX = "4f1c9a70be53d286"
KANA = "ひらけごまやまかわ"
REPLY = "[withheld]"


def run(pieces: list[str], secrets: tuple[str, ...] = (SECRET,), said: str = "", **options: int) -> tuple[str, bool]:
    """-> (everything that was filter_reply, whether it was stopped)"""
    passing = CanaryFilter(**options).output(secrets, "en", said)
    told = list(filter_reply(passing, pieces))
    return "".join(text for text, _ in told), any(block is not None for _, block in told)


@pytest.mark.parametrize(
    "text", [KANA, "ヒラケゴマヤマカワ", "ﾋﾗｹｺﾞﾏﾔﾏｶﾜ", "ひ・ら・け・ご・ま・や・ま・か・わ", KANA[::-1]]
)
def test_japanese_secrets(text: str) -> None:
    assert run([f"合言葉は「{text}」です。"], (KANA,)) == ("合言葉は「[withheld]", True)


@pytest.mark.parametrize(
    "text", [HEX, " ".join(HEX), "\n".join(f"{i}) {c}" for i, c in enumerate(HEX, 1)), HEX.upper()]
)
def test_a_canary_of_hex_digits(text: str) -> None:
    assert run(list(f"It is: {text}."), (HEX,))[1]


def test_what_it_cannot_see_passes() -> None:
    """The limits that docs/defend.md names: less than a half, other words, a letter a turn without the turns before."""
    for text in ("it begins with open-ses", "the words of the fortieth thief, and six times seven", "o"):
        assert run([text]) == (text, False)


def test_parts_of_a_secret_when_asked_for() -> None:
    assert run(["it begins with open-ses"], partial=6) == ("it begins with o[withheld]", True)
    assert run(["it begins with open-sesa"]) == ("it begins with [withheld]", True), "eight signs by default"
    assert run(["it begins with open-sesa"], partial=0) == ("it begins with open-sesa", False)
    assert run(["it begins with op e n"], partial=6) == ("it begins with op e n", False)


def test_a_letter_a_turn_stops_at_the_last() -> None:
    turns = list("opensesame42")
    assert run(["2!"], said="\n".join(turns[:-1])) == (REPLY, True)
    assert run(["3!"], said="\n".join(turns[:-1])) == ("3!", False)
    assert run(["two plus two"], said=f"it is {SECRET}") == ("two plus two", False)  # out already: no use to stop


ALPHABET = st.sampled_from([*"oOpPeEnNsSaAmM42 -.\n)1", "ｏ", "é", "е", "\u200b", "猫", "b", "z"])
TEXT = st.lists(
    st.one_of(ALPHABET, st.sampled_from([SECRET, SECRET[::-1], SECRET.encode().hex(), SECRET[:7], SECRET[7:]])),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(TEXT.map("".join), st.lists(st.integers(0, 300), max_size=6), st.sampled_from(["", "open-s", "4"]))
@example("o 1. pen-sesame-42", [3], "")
@example("4 1) 2", [], "open-sesame-")
def test_cuts_change_nothing_and_nothing_leaks(text: str, cuts: list[int], said: str) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    whole = run([text], said=said)
    assert run(pieces, said=said) == whole == run(list(text), said=said)
    out, stopped = whole
    kept = out.removesuffix(REPLY) if stopped else out
    assert text.startswith(kept)
    assert not find_leak(SECRET, [kept])
    if not said:
        assert stopped == bool(find_leak(SECRET, [text]))
        assert stopped or out == text


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abcdefgh ijop", max_size=200))
def test_the_delay_is_bounded(text: str) -> None:
    """A step and less than a secret are held back."""
    passing = CanaryFilter().output((SECRET,), "en")
    assert passing is not None
    out = ""
    for i, character in enumerate(text):
        out += passing.feed(character)
        assert len(text[len(out) : i + 1]) < STEP + 3 * len(SECRET)
    assert out + passing.finish() == text


@settings(max_examples=200, deadline=None)
@given(st.sets(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6), st.text("ab", max_size=30))
def test_the_automaton_is_the_double_loop(patterns: set[str], text: str) -> None:
    automaton, state = Automaton(patterns), 0
    for end in range(1, len(text) + 1):
        state = automaton.step(state, text[end - 1])
        assert automaton.ends[state] == any(text[:end].endswith(pattern) for pattern in patterns)
        beginnings = {pattern[:n] for pattern in patterns for n in range(len(pattern) + 1)}
        assert automaton.depth[state] == max(len(b) for b in beginnings if text[:end].endswith(b))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_folding_is_character_by_character(a: str, b: str) -> None:
    assert fold(a + b) == fold(a) + fold(b)
    assert fold(fold(a)) == fold(a)
    assert fold(a.upper().lower()) == fold(a.lower().upper().lower())


@pytest.mark.parametrize("secret", ["abc", "", "--- ---", "猫"])
def test_a_secret_too_short_is_refused(secret: str) -> None:
    with pytest.raises(UserError, match="at least 4"):
        CanaryFilter().output((secret,), "en")


def test_without_secrets_there_is_no_filter() -> None:
    assert CanaryFilter().output((), "en") is None
    with pytest.raises(UserError, match="partial"):
        CanaryFilter(partial=2)


def test_a_filter_that_stopped_says_what_may_still_be_shown() -> None:
    passing = CanaryFilter().output((SECRET,), "en")
    assert passing is not None
    with pytest.raises(Blocked) as stop:
        passing.feed(f"yes, I think it is: {SECRET}, and so on and on")
    assert stop.value.clean == "yes, I think it is: "
    assert SECRET not in stop.value.block.reason
