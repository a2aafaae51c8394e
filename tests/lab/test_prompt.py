"""Prompts: elements, variables, delimiters, and the two forms."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import DELIMITERS, ELEMENTS, Example, Prompt, fill, prompt_as_text, render, wrap
from kaiwa.text.records import Message

FULL = Prompt(
    instruction="Say {what}.",
    context="It rains.",
    examples=(Example("one", "1"), Example("two", "2")),
    input="Q: {input}",
    output_indicator="A:",
    leading_words="It",
)
VALUES = {"what": "it", "input": "three"}


def test_text_form_ends_where_the_answer_begins() -> None:
    assert render(FULL, VALUES, "text") == ("Say it.\n\nIt rains.\n\nQ: one\nA: 1\n\nQ: two\nA: 2\n\nQ: three\nA: It")


def test_chat_form_has_a_turn_per_example() -> None:
    assert render(FULL, VALUES, "chat") == (
        Message("user", "Say it.\n\nIt rains.\n\nQ: one\nA:"),
        Message("assistant", "1"),
        Message("user", "Q: two\nA:"),
        Message("assistant", "2"),
        Message("user", "Q: three\nA: It"),
    )


def test_examples_without_an_indicator_stand_on_a_line_of_their_own() -> None:
    prompt = Prompt(examples=(Example("one", "1"),))
    assert render(prompt, {"input": "two"}, "text") == "one\n1\n\ntwo"


def test_elements_stand_in_their_order() -> None:
    prompt = Prompt("Do.", "Know.", (), "{input}", order=("input", "context", "instruction", "examples"))
    assert render(prompt, {"input": "x"}, "text") == "x\n\nKnow.\n\nDo."
    with pytest.raises(UserError, match="name each of"):
        Prompt(order=("input", "input", "context", "examples"))


@pytest.mark.parametrize(
    ("delimiters", "instruction", "data"),
    [
        ("none", "Do.", "x"),
        ("hashes", "### Instruction\nDo.", "### Input\nx"),
        ("quotes", "Do.", 'Input: """\nx\n"""'),
        ("tags", "<instruction>\nDo.\n</instruction>", "<input>\nx\n</input>"),
    ],
)
def test_delimiters(delimiters: str, instruction: str, data: str) -> None:
    assert wrap("instruction", "Do.", delimiters, "en") == instruction
    assert wrap("input", "x", delimiters, "en") == data
    assert wrap("input", "", delimiters, "en") == ""
    assert delimiters in DELIMITERS


def test_delimiters_in_japanese_and_in_an_unknown_language() -> None:
    assert wrap("context", "x", "hashes", "ja") == "### 文脈\nx"
    assert wrap("context", "x", "hashes", "fr") == "### Context\nx"
    with pytest.raises(UserError, match="did you mean 'tags'"):
        Prompt(delimiters="tag")


def test_with_tags_the_indicator_stands_outside() -> None:
    prompt = Prompt("Do.", delimiters="tags", output_indicator="A:")
    assert render(prompt, {"input": "x"}, "text").endswith("</input>\n\nA:")  # type: ignore[union-attr]


def test_variables_are_filled_once_and_braces_are_escaped() -> None:
    assert fill('{{"a": {x}}}', {"x": "{y}"}) == '{"a": {y}}'
    assert FULL.variables() == {"what", "input"}
    with pytest.raises(UserError, match=r"variable {inptu} has no column; did you mean 'input'"):
        fill("{inptu}", {"input": "x"})


def test_braces_in_values_mean_nothing() -> None:
    prompt = Prompt(examples=(Example("{input}", "{x}"),))
    assert render(prompt, {"input": "{what}"}, "text") == "{input}\n{x}\n\n{what}"


def test_an_element_can_be_dropped_but_not_the_input() -> None:
    assert FULL.drop_element("examples").examples == ()
    assert FULL.drop_element("leading_words").leading_words == ""
    for element in ("input", "inpt"):
        with pytest.raises(UserError, match="cannot be left out"):
            FULL.drop_element(element)
    for element in set(ELEMENTS) - {"input", "examples"}:
        assert getattr(FULL.drop_element(element), element) == ""


def test_forms() -> None:
    with pytest.raises(UserError, match="did you mean 'chat'"):
        render(FULL, VALUES, "chatt")
    assert prompt_as_text("x") == "x"
    assert prompt_as_text((Message("system", "a"), Message("user", "b"))) == "[system] a\n[user] b"
