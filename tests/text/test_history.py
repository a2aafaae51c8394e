"""The rule for a history that is too long, and that training, evaluation and the server keep it alike."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.evaluate.answers import prompt_ids
from kaiwa.rlhf.prompts import newest_turns
from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.worker.requests import fit_history
from kaiwa.serve.worker.wire import ChatPrompt, Generate, ModelAddress
from kaiwa.sft.demonstrations import with_newest_turns
from kaiwa.text.history import FittedHistory, fit_conversation, fit_turns
from kaiwa.text.records import Conversation, Demonstration, Message, conversation
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.world.prompts import VillagePrompt
from tests.tiny_models import tiny_tokenizer

ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def talk(text: str) -> Conversation:
    """Return messages from words such as "u1 a1 u2"; a word is a message of its letter's role."""
    return tuple(Message(ROLES[word[0]], word) for word in text.split())


@pytest.mark.parametrize(
    ("whole", "room", "kept", "history"),
    [
        ("s u1 a1 u2 a2 u3", 6, "s u1 a1 u2 a2 u3", (3, 0)),
        ("s u1 a1 u2 a2 u3", 5, "s u2 a2 u3", (3, 1)),  # a whole turn goes, not a message
        ("s u1 a1 u2 a2 u3", 3, "s u3", (3, 2)),
        ("s u1 a1 u2 a2 u3", 1, "s u3", (3, 2)),  # system text and newest question never
        ("u1 a1 t1 a1 u2", 4, "u2", (2, 1)),  # calls and results belong to their turn
        ("a0 u1 a1 u2", 3, "u1 a1 u2", (3, 1)),  # a greeting is a turn of its own
        ("u1 a1 s2 u2 a2 u3", 4, "s2 u2 a2 u3", (3, 1)),  # a system text in the middle stays
        ("u1 a1 u2 a2", 2, "u2 a2", (2, 1)),  # a demonstration ends with an answer
        ("u1", 0, "u1", (1, 0)),
        ("s", 0, "s", (0, 0)),
        ("", 0, "", (0, 0)),
    ],
)
def test_oldest_whole_turns_go(whole: str, room: int, kept: str, history: tuple[int, int]) -> None:
    messages, fitted = fit_turns(talk(whole), lambda m: m.role, lambda part: len(part) <= room)
    assert " ".join(m.content for m in messages) == kept
    assert fitted == FittedHistory(*history)


@given(st.lists(st.sampled_from("suat"), max_size=14), st.integers(0, 14))
def test_the_fewest_turns_go_and_the_rest_is_a_suffix(letters: list[str], room: int) -> None:
    whole = talk(" ".join(f"{letter}{i}" for i, letter in enumerate(letters)))
    messages, (n, dropped) = fit_turns(whole, lambda m: m.role, lambda part: len(part) <= room)
    plain = [m for m in whole if m.role != "system"]
    kept = [m for m in messages if m.role != "system"]
    assert kept == plain[len(plain) - len(kept) :]
    assert [m for m in messages if m.role == "system"] == [m for m in whole if m.role == "system"]
    starts = [i for i, m in enumerate(plain) if m.role == "user" or i == 0]
    assert n == len(starts)
    assert len(plain) - len(kept) == ([*starts, len(plain)][dropped] if plain else 0)
    if dropped:  # one fewer would not have fitted
        assert len(messages) + starts[dropped] - starts[dropped - 1] > room
    if dropped < n - 1:
        assert len(messages) <= room


def test_recipe_server_and_chat_page_see_the_same_turns() -> None:
    """Demonstrations, rollouts, evaluation and the engine process (API and chat page) drop the same turns."""
    tokenizer = tiny_tokenizer()
    entry = SimpleNamespace(name="toy", chat=True)
    loaded: Any = SimpleNamespace(context=256, tokenizer=tokenizer, entry=entry)
    address = ModelAddress(name="toy", path=Path("toy"))
    text = [
        ("system", "short answers"),
        *[(r, f"{w} {i}") for i in range(9) for r, w in (("user", "ask"), ("assistant", "yes"))],
    ]
    whole = conversation([{"role": role, "content": content} for role, content in [*text, ("user", "last?")]])

    def size_of(messages: Conversation) -> int:
        return len(render(tokenizer, messages, add_generation_prompt=True).ids)

    most = loaded.context - 16
    assert size_of(whole) > most
    expected = fit_conversation(whole, size_of, most)
    assert 3 < len(expected) < len(whole)
    assert newest_turns(whole, tokenizer, most) == expected
    prompt = VillagePrompt(messages=whole, kind="known", language="en")
    assert prompt_ids([prompt], tokenizer, most) == [render(tokenizer, expected, add_generation_prompt=True).ids]
    turns = tuple(ChatTurn(role=m.role, content=m.content) for m in whole)
    asked = Generate(model=address, prompt=ChatPrompt(turns, drop_turns=True), sampling=Sampling(max_tokens=16))
    fitted, history = fit_history(loaded, asked)
    assert isinstance(fitted.prompt, ChatPrompt)
    assert [(m["role"], m["content"]) for m in fitted.prompt.messages] == [(m.role, m.content) for m in expected]
    assert history == FittedHistory(10, 10 - sum(m.role == "user" for m in expected))
    answered = (*whole, Message("assistant", "yes"))
    shown = with_newest_turns(Demonstration(messages=answered), tokenizer, most)
    assert shown.messages == fit_conversation(answered, lambda m: len(render(tokenizer, m).ids), most)
    assert fit_history(loaded, Generate(model=address, prompt=ChatPrompt(turns)))[1] == (0, 0)
