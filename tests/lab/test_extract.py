"""The extractor: one answer from a text, by its kind."""

import pytest

from kaiwa.lab.tasks.choices import find_choice
from kaiwa.lab.tasks.extract import KINDS, extract, find_code, find_json
from kaiwa.lab.tasks.numbers import find_number, parse_kanji_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 7, no, 12.", "12"),
        ("The answer is 7. Not 12.", "7"),
        ("Answer: 1,234,567", "1234567"),
        ("-3.50", "-3.5"),
        ("−4", "-4"),
        ("３０個", "30"),
        ("007", "7"),
        ("0.10", "0.1"),
        ("x2 y3", None),
        ("全部で二十三個", "23"),
        ("三個と 5 個", "5"),
        ("答えは八。十ではない", "8"),
        ("零", "0"),
        ("", None),
    ],
)
def test_numbers(text: str, number: str | None) -> None:
    assert extract("number", text) == number


def test_the_first_number_after_a_mark_and_the_last_without() -> None:
    assert find_number("3 then 5") == "5"
    assert find_number("3 then 5", stated=True) == "3"
    assert extract("number", "Answer: 3. Answer: 8 of 9.") == "8", "the last mark counts"


def test_large_numbers_stay_exact_or_become_floats() -> None:
    assert find_number("999999999999999") == "999999999999999"
    assert float(find_number("1" + "0" * 20) or "") == 1e20


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十", 10), ("二十三", 23), ("千二百", 1200), ("三万五千", 35000), ("二〇二四", 2024), ("億", 100_000_000),
        ("一億二千万", 120_000_000), ("〇", 0), ("二三十", None), ("あ", None), ("", None),
    ],
)  # fmt: skip
def test_kanji(text: str, value: int | None) -> None:
    assert parse_kanji_number(text) == value


@pytest.mark.parametrize(
    ("text", "choices", "choice"),
    [
        ("I think positive, not negative", ("positive", "negative"), "positive"),
        ("The answer is positive, not negative", ("positive", "negative"), "positive"),
        ("It is a red apple", ("apple", "red apple"), "red apple"),
        ("pineapple", ("apple",), None),
        ("ＹＥＳ", ("yes", "no"), "yes"),
        ("いいえ、はい", ("はい", "いいえ"), None),
        ("B. because", ("(A)", "(B)"), "(B)"),
        ("Because", ("(A)", "(B)"), None),
        ("(A) or (B)", ("(A)", "(B)"), None),
        ("nothing", (), None),
    ],
)
def test_choices(text: str, choices: tuple[str, ...], choice: str | None) -> None:
    assert extract("choice", text, choices) == choice


def test_a_list_of_all_choices_is_none_chosen_and_of_some_the_first_counts() -> None:
    assert find_choice("yes or no", ("yes", "no"), stated=True) is None
    assert find_choice("A, C or D.", ("A", "B", "C", "D"), stated=True) == "A"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Thinking…\nMill Lane.", "Mill Lane"),
        ("The answer is: Mill Lane.\nMore.", "Mill Lane"),
        ("答えは「渡し守」です。", "渡し守"),
        ("答えは：渡し守", "渡し守"),
        ("The answer is : x", "x"),
        ("**Final answer:** `x`", "x"),
        (' "quoted" ', "quoted"),
        ("Answer:\n\n  next line", "next line"),
        ("", None),
        ("Answer: .", None),
    ],
)
def test_words(text: str, word: str | None) -> None:
    assert extract("word", text) == word


def test_json_in_the_middle_of_a_text() -> None:
    assert find_json('so {not json} but [1, {"a": "}"}] end') == '[1, {"a": "}"}]'
    assert find_json("{") is None
    assert find_json("[" * 100_000) is None
    assert find_json("[" * 100_000 + ' {"a": 1}') == '{"a": 1}'


def test_code_in_fences() -> None:
    assert find_code("a\n```python\nx = 1\n\n```\n```\ny\n```") == "x = 1"
    assert find_code("```js\nunfinished") == "unfinished"
    assert find_code("x = 1") == "x = 1"
    assert find_code("```\n```") is None


def test_text_and_lines_are_kept() -> None:
    assert extract("text", "  a\nb ") == "a\nb"
    assert extract("text", "  ") is None
    assert extract("lines", "a\n\n b\n") == "a\n b"
    assert extract("lines", "\n") is None
    assert set(KINDS) == {"number", "choice", "word", "json", "lines", "text", "code"}
