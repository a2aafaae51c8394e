"""Cleaning: repair, language, filters, each on the text it is for and on the text it must leave alone."""

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.corpus.config import Filters
from kaiwa.corpus.extract import _ftfy, main_text, repair, tidy
from kaiwa.corpus.filters import reason_to_drop
from kaiwa.corpus.language import identify

ENGLISH = (
    "The baker of the village gets up at four in the morning, and by six the bread is on the shelves. "
    "People come in from the fields to buy it while it is still warm, and they talk about the weather.\n"
) + "\n".join(f"On day {i} there was a different customer with a story of {i * 7} coins." for i in range(4))
JAPANESE = "村のパン屋は朝四時に起きます。六時には棚にパンが並び、畑から来た人たちが温かいうちに買っていきます。"
CODE = "def total(prices: list[int]) -> int:\n    return sum(prices)\n\n\nassert total([1, 2]) == 3\n"


def test_mojibake_is_repaired_and_japanese_width_kept() -> None:
    assert repair("It\u00e2\u20ac\u2122s broken") == "It\u2019s broken"
    assert repair("ＡＢＣ　全角「かぎ」") == "ＡＢＣ　全角「かぎ」"
    assert repair("a &amp; b") == "a & b"
    assert repair("か\u3099") == "が"
    assert repair("\x1b[31mred\x1b[0m\r\nline  \n") == "red\nline"


@given(
    st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("â€™Ã©ã\x81\x82&amp;<\n")), max_size=80)
)
def test_the_short_way_through_repair_is_equal(text: str) -> None:
    assert repair(text) == tidy(ftfy.fix_text(text, _ftfy()[1]))


@pytest.mark.parametrize(
    ("text", "language"),
    [(ENGLISH, "en"), (JAPANESE, "ja"), ("Der Bäcker steht jeden Morgen um vier Uhr auf.", "de"), ("123 456", "und")],
)
def test_language(text: str, language: str) -> None:
    assert identify(text, ("en", "ja")) == language


@pytest.mark.parametrize(
    ("text", "language", "kind"), [(ENGLISH, "en", "prose"), (JAPANESE, "ja", "prose"), (CODE, "code", "code")]
)
def test_good_text_passes(text: str, language: str, kind: str) -> None:
    assert reason_to_drop(text, language, kind, Filters()) is None


@pytest.mark.parametrize(
    ("text", "language", "kind", "reason"),
    [
        ("Short.", "en", "prose", "too_short"),
        ("短い文。", "ja", "prose", "too_short"),
        ("x" * 30 + " y" * 1_000_000, "en", "prose", "too_long"),
        ("=-=-=-=-=-= " * 10, "en", "prose", "symbols"),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2, "en", "prose", "word_length"),
        ("VGhpc2lzYmFzZTY0ZW5jb2RlZHRleHQ " * 3, "en", "prose", "word_length"),
        (" ".join(f"Invoice{i} Paid Berlin" for i in range(30)), "en", "prose", "stop_words"),
        ("東京都千代田区丸之内一丁目" * 3, "ja", "prose", "kana"),
        (ENGLISH + "\nSubscribe to the newsletter of the village today" * 20, "en", "prose", "repeated_lines"),
        ("the cat sat down and " * 12 + "left", "en", "prose", "repeated_ngrams"),
        ("あいうえおかきく" * 20, "ja", "prose", "repeated_ngrams"),
        ("x = [" + "1, " * 500 + "]", "code", "code", "code_line_length"),
        ("\n".join("[[{{((,,;;))}}]]" for _ in range(9)), "code", "code", "code_letters"),
    ],
)
def test_each_filter_gives_its_reason(text: str, language: str, kind: str, reason: str) -> None:
    assert reason_to_drop(text, language, kind, Filters()) == reason


def test_main_text_leaves_the_menu() -> None:
    body = "".join(f"<p>{line} and it was a good day for everyone there.</p>" for line in ENGLISH.splitlines())
    nav = "<nav><a href=/>Home</a><a href=/x>Log in</a></nav>"
    page = f"<html><body>{nav}<article><h1>Bread</h1>{body}</article></body></html>"
    text = main_text(page.encode())
    assert "gets up at four" in text
    assert "Log in" not in text
    assert main_text(b"") == ""
