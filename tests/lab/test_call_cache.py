"""The call cache: its keys, its file, and what is asked anew."""

import hashlib
import json
from pathlib import Path

import pytest

from kaiwa.lab.asking.call_cache import Asker, CallCache, call_json, call_key
from kaiwa.lab.asking.program import Call, Reply
from kaiwa.text.chat_model import GenerateCall, ModelUnavailable, ScoreCall
from kaiwa.text.records import Completion, Message
from kaiwa.text.sampling import Grammar, Sampling

from .fakes import RuleModel


def call(prompt: str = "p", sample: int = 0, **sampling: object) -> Call:
    return Call(request=GenerateCall(prompt=prompt, sampling=Sampling(**sampling)), sample=sample)  # type: ignore[arg-type]


def model(**options: object) -> RuleModel:
    return RuleModel(lambda text, temperature, seed: f"{text} {seed}", **options)  # type: ignore[arg-type]


def test_the_keys_of_earlier_versions() -> None:
    """Keys in users' files: SHA-256 over this text, which must not change for calls with the first five parameters."""
    plain = call("p", max_tokens=8, temperature=0.0)
    assert call_json(plain) == {
        "generate": {"prompt": "p", "max_tokens": 8, "stop": [], "temperature": 0.0, "top_p": 1.0, "seed": 0}
    }
    request = '"max_tokens": 8, "prompt": "p", "seed": 0, "stop": [], "temperature": 0.0, "top_p": 1.0'
    text = f'["m", {{"generate": {{{request}}}}}, 0]'
    assert call_key("m", plain) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        call("q"),
        call(sample=1),
        call(max_tokens=9),
        call(temperature=0.5),
        call(top_p=0.5),
        call(seed=1),
        call(stop=("x",)),
        call(top_k=3),
        call(min_p=0.1),
        call(repetition_penalty=1.1),
        call(presence_penalty=0.1),
        call(frequency_penalty=0.1),
        call(logit_bias=((5, 1.0),)),
        call(grammar=Grammar(kind="json_object")),
        Call(request=ScoreCall(context="p", continuation="c")),
    ],
)
def test_whatever_is_sent_changes_the_key(other: Call) -> None:
    assert call_key("m", call()) == call_key("m", call())
    assert call_key("m", call()) != call_key("m", other)
    assert call_key("m", call()) != call_key("n", call())


def test_defaults_of_new_parameters_are_in_no_key() -> None:
    assert set(call_json(call())["generate"]) == {"prompt", "max_tokens", "stop", "temperature", "top_p", "seed"}
    assert call_json(call(top_k=3))["generate"]["top_k"] == 3


def test_a_cached_call_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "calls.jsonl"
    first = model()
    replies = Asker(first, CallCache(file), "m")([call("a"), call("b"), call("a")])
    assert first.prompts == ["a", "b"], "equal calls of one round are one"
    assert replies[0] == replies[2]
    second = model()
    again = Asker(second, CallCache(file), "m")
    assert again([call("b"), call("a"), call("c")])[:2] == [replies[1], replies[0]]
    assert second.prompts == ["c"]
    assert again.calls == 1
    third = model()
    Asker(third, CallCache(file), "another")([call("a")])
    assert third.prompts == ["a"], "another model"


def test_samples_and_prompts_have_seeds_of_their_own() -> None:
    replies = Asker(model(), CallCache(None))([call("a"), call("a", sample=1), call("b"), call("a", seed=1)])
    assert len({reply.text.split()[1] for reply in replies}) == 4
    same = Asker(model(), CallCache(None))([call("a")])
    assert same[0].text == replies[0].text


def test_lines_of_the_file_hold_request_and_reply(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    chat = Call(request=GenerateCall(prompt=(Message("user", "日本"),), sampling=Sampling(seed=4)))
    Asker(model(), CallCache(file), "m")([chat])
    text = file.read_text(encoding="utf-8")
    assert "日本" in text
    row = json.loads(text)
    assert list(row) == ["key", "model", "sample", "call", "reply"]
    assert row["call"]["generate"]["prompt"] == [{"role": "user", "content": "日本"}]
    assert row["call"]["generate"]["seed"] == 4, "the seed that was asked for, not the call's own"
    assert "error" not in row["reply"]
    assert "logprob" not in row["reply"], "only what differs from an empty reply"


def test_failures_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    broken = Asker(model(fail="a"), CallCache(file), "m")([call("a"), call("b")])
    assert broken[0].error.startswith("gave up")
    assert broken[1].error == ""
    mended = model()
    assert Asker(mended, CallCache(file), "m")([call("a"), call("b")])[0].error == ""
    assert mended.prompts == ["a"]


def test_the_kind_of_a_failure_is_kept_with_it() -> None:
    class Down(RuleModel):
        def generate(self, *_: object, **__: object) -> Completion:
            raise ModelUnavailable("two\n  lines", "timeout")

    (reply,) = Asker(Down(lambda *_: ""), CallCache(None))([call()])
    assert (reply.error, reply.error_code) == ("two lines", "timeout")


def test_scores_are_kept_as_their_sum(tmp_path: Path) -> None:
    class Scores(RuleModel):
        def score(self, context: object, continuation: str) -> list[float]:
            return [-1.0, -0.25]

    file = tmp_path / "calls.jsonl"
    one = Call(request=ScoreCall(context="p", continuation="c"))
    (reply,) = Asker(Scores(lambda *_: ""), CallCache(file), "m")([one])
    assert (reply.logprob, reply.n_scored) == (-1.25, 2)
    assert CallCache(file).replies[call_key("m", one)] == reply


def test_both_kinds_in_one_round_come_in_order_and_are_counted() -> None:
    shown: list[tuple[int, int]] = []
    asker = Asker(model(), CallCache(None), show=lambda done, total: shown.append((done, total)))
    mixed = [Call(request=ScoreCall(context="p", continuation="c")), call("a"), call("a")]
    replies = asker(mixed)
    assert replies[0].n_scored == 1
    assert replies[1].text == replies[2].text
    assert shown == [(1, 2), (2, 2)]
    assert asker([]) == []


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    Asker(model(), CallCache(file), "m")([call("a"), call("b")])
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert len(CallCache(file).replies) == 1
    assert file.read_bytes() == whole[: whole.index(b"\n") + 1]
    Asker(model(), CallCache(file), "m")([call("b")])
    assert len(CallCache(file).replies) == 2


def test_in_memory_nothing_is_written(tmp_path: Path) -> None:
    cache = CallCache(None)
    cache.store("key", "m", call(), Reply(text="x"))
    assert cache.replies["key"].text == "x"
    assert list(tmp_path.iterdir()) == []
