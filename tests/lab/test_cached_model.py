"""A cached model: what it sends, how it counts, what it gives back from the cache."""

import pytest

from kaiwa.lab.asking.cached_model import CachedModel
from kaiwa.lab.asking.call_cache import CallCache
from kaiwa.text.chat_model import GenerateCall, ModelUnavailable, ScoreCall
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling

from .fakes import RuleModel

CHAT = (Message("system", "Be kind."), Message("user", "Hello."))


def model(**options: object) -> RuleModel:
    return RuleModel(lambda text, temperature, seed: f"re: {text}", **options)  # type: ignore[arg-type]


def test_answers_come_from_the_cache_the_second_time() -> None:
    inner, cache = model(), CallCache(None)
    cached = CachedModel(inner, cache, identity="m")
    first = cached.generate(CHAT)
    assert cached.generate(CHAT).text == first.text
    assert len(inner.prompts) == 1
    assert (first.n_prompt, first.n_tokens) == (len(inner.prompts[0]), len(first.text))
    assert cached.name == "rule"


def test_a_model_that_has_not_learnt_to_chat_gets_text_and_stops() -> None:
    inner = model()
    CachedModel(inner, CallCache(None), form="text").generate(CHAT, Sampling(stop=("!",)))
    assert inner.raw == ["System: Be kind.\n\nUser: Hello.\n\nAssistant:"]
    text = CachedModel(RuleModel(lambda *_: "Hi!\n\nUser: more"), CallCache(None), form="text")
    assert text.generate(CHAT).text == "Hi!"
    assert text.generate(CHAT, Sampling(stop=("!",))).text == "Hi", "the caller's own stop strings hold too"
    assert text.generate("plain text").text == "Hi!\n\nUser: more", "a plain string is sent as it is"


def test_done_counts_cached_calls_at_once() -> None:
    shown: list[int] = []
    cache = CallCache(None)
    CachedModel(model(), cache, identity="m").generate("a")
    cached = CachedModel(model(), cache, identity="m")
    cached.show = shown.append
    list(cached.generate_many([GenerateCall(prompt=p) for p in ("a", "b", "c")]))
    assert cached.done == 3
    assert shown == [2, 3, 3]


def test_failures_keep_their_kind() -> None:
    class Down(RuleModel):
        def generate(self, *_: object, **__: object):  # type: ignore[no-untyped-def]
            raise ModelUnavailable("gone", "unreachable")

    with pytest.raises(ModelUnavailable, match="gone") as error:
        CachedModel(Down(lambda *_: ""), CallCache(None)).generate("a")
    assert error.value.code == "unreachable"
    cached = CachedModel(model(fail="a"), CallCache(None))
    (_, bad), (_, good) = cached.generate_many([GenerateCall(prompt="a"), GenerateCall(prompt="b")])
    assert isinstance(bad, ModelUnavailable)
    assert not isinstance(good, Exception)


def test_scores_keep_their_sum_and_number() -> None:
    class Scores(RuleModel):
        def score(self, context: object, continuation: str) -> list[float]:
            return [-1.0, -2.0, -3.0]

    shown: list[int] = []
    cached = CachedModel(Scores(lambda *_: ""), CallCache(None))
    cached.show = shown.append
    assert cached.score("p", "c") == [-2.0, -2.0, -2.0]
    assert shown == [], "a judge's scores are no progress of the run"
    with pytest.raises(ModelUnavailable, match="cannot score"):
        CachedModel(model(fail="p"), CallCache(None)).score("p", "c")
    ((_, result),) = cached.score_many([ScoreCall(context="p", continuation="c")])
    assert not isinstance(result, Exception)
    assert sum(result.logprobs) == -6.0
