"""Each filter at its limit, what languages it is for, and the order in which reasons are given."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.corpus.config import Filters
from kaiwa.corpus.filters import (
    code_letters,
    code_lines,
    kana,
    reason_to_drop,
    repeated_lines,
    repeated_ngrams,
    stop_words,
    symbols,
    too_long,
    too_short,
    word_length,
)

LIMITS = Filters()


def test_lengths_at_their_limits() -> None:
    assert too_short("x" * 59, "en", LIMITS) == "too_short"
    assert too_short("x" * 60, "en", LIMITS) is None
    assert too_short("あ" * 24, "ja", LIMITS) == "too_short"
    assert too_short("あ" * 25, "ja", LIMITS) is None
    small = replace(LIMITS, max_chars=10)
    assert too_long("x" * 10, "en", small) is None
    assert too_long("x" * 11, "en", small) == "too_long"


def test_symbols_are_a_share_of_what_is_no_space() -> None:
    assert symbols("abcdefgh---", "en", LIMITS) is None  # three of eleven
    assert symbols("abcdefg----", "en", LIMITS) == "symbols"
    assert symbols("a b c d e f - - - -", "en", LIMITS) == "symbols"  # spaces do not count


@pytest.mark.parametrize(("size", "reason"), [(2, "word_length"), (3, None), (12, None), (13, "word_length")])
def test_the_mean_word_at_its_limits(size: int, reason: str | None) -> None:
    text = " ".join(["x" * size] * 9)
    assert word_length(text, "en", LIMITS) == reason
    assert word_length(text, "ja", LIMITS) is None  # words that are not divided by spaces


def test_stop_words_are_asked_of_long_english_only() -> None:
    words = [f"word{i}" for i in range(50)]
    assert stop_words(" ".join(words), "en", LIMITS) == "stop_words"
    assert stop_words(" ".join(words[:49]), "en", LIMITS) is None
    assert stop_words(" ".join(words), "de", LIMITS) is None
    assert stop_words(" ".join([*words, "the", "the"]), "en", LIMITS) == "stop_words"  # two different ones
    assert stop_words(" ".join([*words, "The", "of"]), "en", LIMITS) is None


def test_kana_is_asked_of_japanese_only() -> None:
    assert kana("漢" * 95 + "か" * 4, "ja", LIMITS) == "kana"
    assert kana("漢" * 95 + "か" * 5, "ja", LIMITS) is None
    assert kana("漢" * 99, "zh", LIMITS) is None


def test_repeated_lines_are_a_share_of_the_characters() -> None:
    line, other = "x" * 10, "a" * 10
    rest = [f"{i}" * 10 for i in range(6)]
    assert repeated_lines("\n".join([line] * 4 + rest), "en", LIMITS) is None  # three of ten lines again
    assert repeated_lines("\n".join([line] * 4 + rest[:5]), "en", LIMITS) == "repeated_lines"
    assert repeated_lines("\n".join([line] * 3), "en", LIMITS) is None  # too few to say
    assert repeated_lines("\n".join([line, other] * 2 + ["", " "]), "en", LIMITS) == "repeated_lines"


def test_repeated_ngrams_by_hand() -> None:
    words = [f"word{i:02d}" for i in range(40)]
    again = ["alpha", "betas", "gamma", "delta"] * 3
    assert repeated_ngrams(" ".join(words + again), "en", LIMITS) is None  # 60 of 300 letters: a fifth
    assert repeated_ngrams(" ".join(words[1:] + again), "en", LIMITS) == "repeated_ngrams"
    assert repeated_ngrams(" ".join(again), "en", LIMITS) is None  # fewer than 20 words
    dense = "".join(chr(0x4E00 + i) for i in range(70))
    assert repeated_ngrams(dense + "あいうえおかきく" * 3, "ja", LIMITS) == "repeated_ngrams"
    assert repeated_ngrams(dense + "あいうえおかきく" * 2, "ja", LIMITS) is None  # twice may happen


def test_code_is_judged_by_its_lines_and_letters() -> None:
    assert code_lines("x" * 1000 + "\n" * 20, "code", LIMITS) is None
    assert code_lines("x" * 1001 + "\n" * 20, "code", LIMITS) == "code_line_length"
    assert code_lines("\n".join(["x" * 100] * 5), "code", LIMITS) is None
    assert code_lines("\n".join(["x" * 101] * 5), "code", LIMITS) == "code_line_length"
    assert code_letters("abc" + "-" * 9, "code", LIMITS) is None
    assert code_letters("abc" + "-" * 10, "code", LIMITS) == "code_letters"


def test_the_first_reason_is_given_and_kinds_have_their_own() -> None:
    assert reason_to_drop("--", "en", "prose", LIMITS) == "too_short"  # symbols too, but later
    table = "|,;\n" * 40
    assert reason_to_drop(table, "en", "prose", LIMITS) == "symbols"
    assert reason_to_drop(table, "code", "code", LIMITS) == "code_letters"


@given(st.text(max_size=200), st.sampled_from(["en", "ja", "de", "und"]), st.sampled_from(["prose", "code"]))
def test_any_text_has_a_reason_or_none_and_wider_limits_drop_no_more(text: str, language: str, kind: str) -> None:
    wide = Filters(
        min_chars=0, min_chars_ja=0, mean_word=(-1.0, 1e9), max_symbol_ratio=1.0, max_repeated_lines=1.0,
        max_repeated_ngrams=1.0, min_stop_words=0, min_kana_ratio=0.0, max_code_mean_line=10**6, min_code_alnum=0.0,
    )  # fmt: skip
    assert reason_to_drop(text, language, kind, wide) is None
