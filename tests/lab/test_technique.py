"""The words and helpers that techniques share."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.by_name import NAMED, read_technique, reseed
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.steps import PromptChain
from kaiwa.lab.techniques.technique import (
    WORDS,
    answer_sentence,
    append_text,
    append_turn,
    extract_result,
    technique_words,
    with_max_tokens,
)
from kaiwa.lab.techniques.thought import ChainOfThought
from kaiwa.lab.techniques.votes import SelfConsistency
from kaiwa.text.records import Message

ITEM = Item(id="1", input="q", answer="7")
TASK = Task(name="t", kind="number", items=(ITEM,), max_tokens=8)


def test_words_by_language() -> None:
    assert technique_words(TASK) is WORDS["en"]
    assert technique_words(Task(name="t", language="fr", items=(ITEM,))) is WORDS["en"]
    assert WORDS["en"].keys() == WORDS["ja"].keys()
    assert answer_sentence(TASK, ITEM) == "The answer is 7."


def test_prompts_grow_by_turns_and_by_text() -> None:
    chat = (Message("system", "s"), Message("user", "u"))
    assert append_turn(chat, " yes ", "next") == (*chat, Message("assistant", "yes"), Message("user", "next"))
    assert append_turn(chat, " ", "next")[2] == Message("assistant", "…"), "an empty turn is no message of a chat"
    assert append_turn("p", " yes ", "next") == "p yes\nnext"
    assert append_text(chat, "more") == (chat[0], Message("user", "u\nmore"))
    assert append_text("p", "more") == "p more"


def test_budgets_only_grow() -> None:
    assert with_max_tokens(TASK, 20).max_tokens == 20
    assert with_max_tokens(TASK, 4).max_tokens == 8


def test_results_are_extracted_by_the_tasks_kind() -> None:
    result = extract_result(TASK, ITEM, "It is 12.")
    assert (result.text, result.answer, result.extracted) == ("It is 12.", "12", True)


def test_techniques_by_name() -> None:
    made = read_technique(
        {"technique": "self-consistency", "n": 3, "inner": {"technique": "few-shot", "k": 2, "labels": "random"}}
    )
    assert made == SelfConsistency(n=3, inner=FewShot(k=2, labels="random"))
    chain = read_technique({"technique": "chain", "prompts": [{"input": "{input}"}, {"input": "{previous}"}]})
    assert isinstance(chain, PromptChain)
    assert chain.prompts[1].input == "{previous}"
    for name in NAMED:
        if name != "chain":
            assert read_technique({"technique": name}).name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"technique": "few-shots"}, "did you mean 'few-shot'"),
        ({}, "no technique ''"),
        ({"technique": "few-shot", "kk": 3}, "few-shot has no option 'kk'"),
        ({"technique": "few-shot", "inner": {"technique": "zero"}}, "arm.inner: no technique 'zero'"),
        ({"technique": "few-shot", "k": 0}, "FewShot.k is 0"),
        ({"technique": "chain"}, "chain: .*prompts"),
        ({"technique": "zero-shot", "by": "vote"}, "use one of text"),
    ],
)
def test_wrong_techniques(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_technique(values, "arm")


def test_a_seed_reaches_the_inner_technique() -> None:
    made = SelfConsistency(inner=FewShot(inner=ChainOfThought(), seed=2))
    assert reseed(made, 5) == SelfConsistency(inner=FewShot(inner=ChainOfThought(), seed=7))
    assert reseed(ZeroShot(), 5) == ZeroShot()
