"""Tools of ReAct: sums, dates, search."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.tools import Library, ToolError, add_days, calculate, make_toolbox, split_terms

TEXTS = (
    "Olun is a ferryman. Olun lives on Reed Bank. Olun keeps a goat.",
    "Tavira is a glazier. She keeps a cat. The cat is old.",
    "Nothing here.",
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", "7"), ("(1 + 2) × 3", "9"), ("10 ÷ 4", "2.5"), ("7 // 2", "3"), ("7 % 4", "3"), ("−5 + +2", "-3"),
        ("1,000 + 1", "1001"), ("1 / 3", "0.3333333333"), ("2 - -2", "4"),
    ],
)  # fmt: skip
def test_sums(text: str, value: str) -> None:
    assert calculate(text) == value


@pytest.mark.parametrize(
    "text", ["", "1 +", "x + 1", "2 ** 9", "1 / 0", "abs(1)", "True + 1", "'a' * 3", "1" + "+1" * 200, "[1]", "1; 2"]
)
def test_what_is_no_sum(text: str) -> None:
    with pytest.raises(ToolError):
        calculate(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-27 + 3", "2024-03-01 (Friday)"),
        ("2024-03-01 - 1 day", "2024-02-29 (Thursday)"),
        (" 2023-12-31 +1日", "2024-01-01 (Monday)"),
        ("2024-02-29", "2024-02-29 (Thursday)"),
    ],
)
def test_days(text: str, day: str) -> None:
    assert add_days(text) == day


@pytest.mark.parametrize("text", ["tomorrow", "2024-02-30 + 1", "2024-01-01 + 999999", "2024-1-1", "0001-01-01 - 5"])
def test_what_is_no_day(text: str) -> None:
    if text == "2024-01-01 + 999999":
        assert add_days(text).startswith("4761-"), "still a date"
        return
    with pytest.raises(ToolError):
        add_days(text)


def test_search_and_look_up() -> None:
    library = Library(TEXTS, sentences=2)
    assert library.search("Where does Olun live?") == "Olun is a ferryman. Olun lives on Reed Bank."
    assert library.look_up("goat") == "Olun keeps a goat."
    with pytest.raises(ToolError, match="no more"):
        library.look_up("goat")
    assert library.search("cat").startswith("Tavira")
    assert library.look_up("CAT") == "She keeps a cat."
    assert library.look_up("cat") == "The cat is old."
    with pytest.raises(ToolError, match="nothing found"):
        library.search("zebra")


def test_look_up_needs_a_search_first() -> None:
    with pytest.raises(ToolError, match="search first"):
        Library(TEXTS).look_up("x")
    with pytest.raises(UserError, match="no texts"):
        Library(())


def test_rare_words_weigh_more() -> None:
    library = Library(("the cat the the the", "the dog", "the bird"))
    scores = library.scores("the cat")
    assert scores[0] > scores[1] > 0
    assert library.scores("dog")[0] == 0


def test_terms_of_both_scripts() -> None:
    assert split_terms("Olun's 2 goats!") == ["olun", "s", "2", "goats"]
    assert split_terms("渡し守") == ["渡し", "し守"]
    assert split_terms("木") == ["木"]
    assert Library(("オルンは渡し守です。", "犬です。")).search("渡し守").startswith("オルン")


def test_every_program_has_its_own_tools() -> None:
    assert set(make_toolbox()) == {"Calc", "Date"}
    one, two = make_toolbox(TEXTS), make_toolbox(TEXTS)
    one["Search"]("Olun")
    with pytest.raises(ToolError, match="search first"):
        two["Lookup"]("goat")
