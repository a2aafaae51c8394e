"""Several prompts for one answer."""

from dataclasses import replace

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.steps import LeastToMost, PromptChain, SelfAsk
from kaiwa.lab.techniques.votes import Longer

from .drive import drive, prompts

ITEM = Item(id="1", input="How old is she?", answer="7", columns={"name": "Ann"})
TASK = Task(name="t", kind="number", items=(ITEM,), max_tokens=8)


def test_least_to_most_answers_the_simpler_questions_first() -> None:
    def answer(text: str) -> str:
        if text.endswith("Do not answer them."):
            return "1. When was she born?\n- Which year is it?\n\n* Is it May?\n4) Too many?"
        return "seven: 7" if text.endswith("Now answer the first question.") else "done"

    result, rounds = drive(LeastToMost(questions=3), TASK, ITEM, answer)
    asked = [calls[0].splitlines()[-1] for calls in prompts(rounds)]
    assert asked[1:] == [
        "[user] When was she born?",
        "[user] Which year is it?",
        "[user] Is it May?",
        "[user] Now answer the first question.",
    ]
    assert result.notes == {"questions": ["When was she born?", "Which year is it?", "Is it May?"]}
    assert result.answer == "7"
    assert prompts(rounds)[-1][0].count("[assistant]") == 5


def test_without_simpler_questions_the_question_comes_at_once() -> None:
    result, rounds = drive(LeastToMost(), TASK, ITEM, lambda text: "")
    assert prompts(rounds)[1][0].endswith("Now answer the first question.")
    assert result.answer is None


def test_self_ask_is_one_prompt() -> None:
    result, rounds = drive(SelfAsk(max_tokens=50), TASK, ITEM, lambda text: "Which? May. The answer is 7.")
    assert len(rounds) == 1
    assert "follow-up questions" in prompts(rounds)[0][0]
    assert rounds[0][0].request.sampling.max_tokens == 50  # type: ignore[union-attr]
    assert result.answer == "7"


def test_a_chain_hands_each_answer_to_the_next_prompt() -> None:
    chain = PromptChain(
        prompts=(
            Prompt("Say a word about {name}.", input=""),
            Prompt(input="{input} ({previous})", output_indicator="A:"),
        )
    )
    result, rounds = drive(chain, TASK, ITEM, lambda text: "It is 7." if "A:" in text else "  kind \n")
    assert prompts(rounds) == [["[user] Say a word about Ann."], ["[user] How old is she? (kind)\nA:"]]
    assert result.notes == {"links": ["kind", "It is 7."]}
    assert result.answer == "7"
    assert chain.name == "chain of 2 prompts"
    with pytest.raises(UserError, match="1 prompts; a chain needs at least 2"):
        PromptChain(prompts=(Prompt(),))


def test_a_missing_variable_names_the_item() -> None:
    chain = PromptChain(prompts=(Prompt(input="{missing}"), Prompt()))
    with pytest.raises(UserError, match="task t, item 1"):
        drive(chain, TASK, ITEM, lambda text: "x")


def test_controls_have_as_many_tokens() -> None:
    assert LeastToMost(questions=3).controls() == {"as many tokens, one answer": Longer(times=5)}
    assert PromptChain(prompts=(Prompt(),) * 3).controls()["as many tokens, one answer"] == Longer(times=3)
    _, rounds = drive(Longer(times=5), TASK, ITEM, lambda text: "7")
    assert rounds[0][0].request.sampling.max_tokens == 40  # type: ignore[union-attr]


def test_how_each_words_a_demonstration() -> None:
    demo = Item(id="d", input="How many?", answer="3", reasoning="One and two are three.")
    assert LeastToMost().demonstration_answer(TASK, demo) == "The answer is 3."
    assert SelfAsk().demonstration_answer(TASK, demo) == "One and two are three. The answer is 3."
    assert SelfAsk().demonstration_answer(TASK, ITEM) == "The answer is 7.", "without a reasoning there is no gap"
    assert PromptChain(prompts=(Prompt(),) * 2).demonstration_answer(TASK, demo) == "3"


def test_japanese_tasks_are_asked_in_japanese_and_others_in_english() -> None:
    for language, words in (("ja", "三つまで"), ("fr", "at most three")):
        _, rounds = drive(LeastToMost(), replace(TASK, language=language), ITEM, lambda text: "")
        assert words in prompts(rounds)[0][0]
    _, rounds = drive(SelfAsk(), replace(TASK, language="ja"), ITEM, lambda text: "")
    assert "追加の質問" in prompts(rounds)[0][0]
