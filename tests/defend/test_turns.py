"""Conversations with their untrusted stretches marked, and the defences by words alone."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.instruction import LONG_TASK, Instruction, Sandwich
from kaiwa.defend.turns import Span, append_to_last_user, append_to_system, data_of, join, language_of, map_data, split
from kaiwa.text.records import Message

TALK = (Message("system", "Help."), Message("user", "Read: MAIL"), Message("assistant", "ok"), Message("user", "MAIL"))


def test_without_documents_all_that_users_say_is_untrusted() -> None:
    turns = split(TALK)
    assert data_of(turns) == ["Read: MAIL", "MAIL"]
    assert join(turns) == TALK


def test_named_documents_alone_are_untrusted_wherever_they_stand() -> None:
    turns = split(TALK, ("MAIL",))
    assert data_of(turns) == ["MAIL", "MAIL"]
    assert turns[1].spans == (Span("Read: "), Span("MAIL", data=True))
    assert join(turns) == TALK
    with pytest.raises(UserError, match="stands in no user's message"):
        split(TALK, ("ok",))


def test_the_longer_of_two_documents_wins() -> None:
    turns = split((Message("user", "a MAIL and MAILBOX"),), ("MAIL", "MAILBOX"))
    assert data_of(turns) == ["MAIL", "MAILBOX"]


def test_only_untrusted_spans_are_changed() -> None:
    turns = map_data(split(TALK, ("MAIL",)), lambda text: (Span("<"), Span(text, data=True), Span(">")))
    assert [turn.text for turn in turns] == ["Help.", "Read: <MAIL>", "ok", "<MAIL>"]
    assert data_of(turns) == ["MAIL", "MAIL"]


def test_added_text_is_trusted_and_stands_at_the_end() -> None:
    turns = append_to_last_user(append_to_system(split(TALK), "Stay."), "Now answer.")
    assert [turn.text for turn in turns] == ["Help.\n\nStay.", "Read: MAIL", "ok", "MAIL\n\nNow answer."]
    assert data_of(turns) == ["Read: MAIL", "MAIL"]
    alone = append_to_system(split(TALK[1:2]), "Stay.")
    assert [turn.role for turn in alone] == ["system", "user"]
    assert append_to_last_user(split(TALK[:1]), "x") == split(TALK[:1])


@pytest.mark.parametrize(
    ("system", "user", "language"),
    [
        ("Help.", "こんにちは", "en"),
        ("手伝ってください。", "Hello", "ja"),
        ("", "こんにちは", "ja"),
        ("", "Hello", "en"),
        ("", "東京", "ja"),
        ("", "东京 is Tokyo", "en"),
    ],
)
def test_the_systems_language_decides(system: str, user: str, language: str) -> None:
    talk = (*([Message("system", system)] if system else []), Message("user", user))
    assert language_of(split(talk)) == language


def test_the_instruction_ends_the_systems_text() -> None:
    assert Instruction().rewrite(split(TALK), 0)[0].text == f"Help.\n\n{words.INSTRUCTION['en']}"
    assert Instruction(text="Mind.").rewrite(split(TALK), 0)[0].text == "Help.\n\nMind."


def test_the_sandwich_says_the_task_again() -> None:
    last = Sandwich().rewrite(split(TALK), 0)[-1].text
    assert last == "MAIL\n\n" + words.SANDWICH["en"].format(task="Help.")
    assert (
        Sandwich(task="Sum up.").rewrite(split(TALK), 0)[-1].text.endswith(words.SANDWICH["en"].format(task="Sum up."))
    )
    long = (Message("system", "x" * (LONG_TASK + 1)), Message("user", "a"))
    assert Sandwich().rewrite(split(long), 0)[-1].text == f"a\n\n{words.SANDWICH_PLAIN['en']}"
    after = Sandwich().rewrite(Instruction().rewrite(split(TALK), 0), 0)
    assert words.INSTRUCTION["en"] not in after[-1].text, "only the system's own words"
