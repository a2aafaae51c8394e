"""Models that answer one at a time and models that answer many: the same results by the same functions."""

from collections.abc import Iterator, Sequence

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import (
    ChatModel,
    GenerateCall,
    ManyModel,
    ModelUnavailable,
    OpenedModel,
    ScoreCall,
    ScoreResult,
    generate_alone,
    generate_many,
    score_alone,
    score_many,
)
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


class OneByOne:
    """Answers in upper case; "bad" is refused, "down" cannot be reached, "bug" is a fault of the program."""

    name = "one"

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        errors = {"bad": UserError("no"), "down": ModelUnavailable("gone", "503"), "bug": ZeroDivisionError()}
        if prompt in errors:
            raise errors[str(prompt)]
        return Completion(text=f"{str(prompt).upper()}{sampling.max_tokens}")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        self.generate(context)
        return [-float(len(continuation))]


class Backwards(OneByOne):
    """Answers many, the last first."""

    def generate_many(self, calls: Sequence[GenerateCall]) -> Iterator[tuple[int, Completion | Exception]]:
        for i in reversed(range(len(calls))):
            try:
                yield i, self.generate(calls[i].prompt, calls[i].sampling)
            except (UserError, ConnectionError) as error:
                yield i, error

    def score_many(self, calls: Sequence[ScoreCall]) -> Iterator[tuple[int, ScoreResult | Exception]]:
        for i in reversed(range(len(calls))):
            yield i, ScoreResult(logprobs=tuple(self.score(calls[i].context, calls[i].continuation)), n_prompt=7)


CALLS = [GenerateCall(prompt=text, sampling=Sampling(max_tokens=i)) for i, text in enumerate(("a", "bad", "down", "b"))]


def plain(outcome: object) -> object:
    return outcome if isinstance(outcome, Completion) else (type(outcome), str(outcome))


def test_what_is_a_model_of_many() -> None:
    assert isinstance(OneByOne(), ChatModel)
    assert not isinstance(OneByOne(), ManyModel)
    assert isinstance(Backwards(), ManyModel)


def test_both_ways_give_the_same_answers_in_their_own_order() -> None:
    alone, many = list(generate_many(OneByOne(), CALLS)), list(generate_many(Backwards(), CALLS))
    assert [i for i, _ in alone] == [0, 1, 2, 3]
    assert [i for i, _ in many] == [3, 2, 1, 0]
    assert {i: plain(o) for i, o in alone} == {i: plain(o) for i, o in many} == {
        0: Completion(text="A0"), 1: (UserError, "no"), 2: (ModelUnavailable, "gone"), 3: Completion(text="B3"),
    }  # fmt: skip


def test_answers_come_as_soon_as_they_are_known() -> None:
    answers = generate_many(OneByOne(), [GenerateCall(prompt="a"), GenerateCall(prompt="bug")])
    assert next(answers)[0] == 0
    with pytest.raises(ZeroDivisionError):  # a fault of the program is no answer
        next(answers)


def test_scores_by_both_ways() -> None:
    calls = [ScoreCall(context="a", continuation="xyz"), ScoreCall(context="b", continuation="x")]
    assert dict(score_many(OneByOne(), calls)) == {0: ScoreResult(logprobs=(-3.0,)), 1: ScoreResult(logprobs=(-1.0,))}
    assert dict(score_many(Backwards(), calls))[0] == ScoreResult(logprobs=(-3.0,), n_prompt=7)
    ((_, failure),) = score_many(OneByOne(), [ScoreCall(context="down", continuation="x")])
    assert isinstance(failure, ModelUnavailable)
    assert failure.code == "503"


def test_one_call_of_a_model_of_many() -> None:
    assert generate_alone(Backwards(), "a", Sampling(max_tokens=5)).text == "A5"
    assert score_alone(Backwards(), "a", "xy") == [-2.0]
    with pytest.raises(UserError, match="no"):
        generate_alone(Backwards(), "bad", USUAL)
    with pytest.raises(ConnectionError, match="gone"):
        generate_alone(Backwards(), "down", USUAL)


def test_an_opened_model_is_a_chat_without_a_cache_unless_it_says_otherwise() -> None:
    opened = OpenedModel(OneByOne())
    assert (opened.identity, opened.form) == ("", "chat")
