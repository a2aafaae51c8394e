"""Penalties, biases, grammars and broken logits: each against its definition, and never at a neighbour's expense."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.logit_rules import ReasoningEnd
from kaiwa.engine.request import Event, ReasoningLimit, Request
from kaiwa.engine.sampling import SamplingRules, row_seeds, sample
from kaiwa.text.sampling import Grammar, Sampling
from tests.engine.test_engine import Bytes, drive, ids, model

PLAIN = Request(id="plain", prompt_ids=(1, 2, 3), sampling=Sampling(max_tokens=12, seed=5))


def ask(id: str = "a", stop_ids: tuple[int, ...] = (), logprobs: int = 0, **fields: object) -> Request:
    sampling = Sampling(**({"max_tokens": 12, "seed": 5} | fields))  # type: ignore[arg-type]
    return Request(id=id, prompt_ids=(1, 2, 3), sampling=sampling, stop_ids=stop_ids, logprobs=logprobs)


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events)


def test_penalties_are_their_formulas() -> None:
    from kaiwa.engine.logit_rules import LogitRules

    logits = torch.randn(256, generator=torch.Generator().manual_seed(0))
    shaping = LogitRules(
        ask(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.25, logit_bias=((7, 2.0), (9, -100.0))),
        256,
        None,
    )
    for id in (9, 40, 40):
        shaping.push(id)
    got, expected = logits.clone(), logits.tolist()
    shaping.apply(got)
    for id in (1, 2, 3, 9, 40):
        expected[id] = expected[id] / 1.3 if expected[id] > 0 else expected[id] * 1.3
    expected[9] -= 0.5 + 0.25
    expected[40] -= 0.5 + 2 * 0.25
    expected[7] += 2.0
    expected[9] -= 100.0
    assert got.tolist() == pytest.approx(expected, abs=1e-5)


def test_bias_and_penalties_steer_the_answer() -> None:
    engine = Engine(model(), Bytes())
    forced = drive(engine, [ask(logit_bias=((65, 100.0),))])["a"]
    assert ids(forced) == [65] * 12
    assert all(math.isfinite(token.logprob or 0.0) for event in forced for token in event.tokens)
    scored = engine.score([(1, 2, 3)], [[65] * 12])[0]  # log-probabilities are the model's own
    assert [token.logprob for event in forced for token in event.tokens] == pytest.approx(scored, abs=1e-4)
    varied = drive(
        engine, [ask(logit_bias=tuple((i, 30.0) for i in range(65, 85)), presence_penalty=2.0, temperature=0)]
    )
    plain = drive(engine, [ask(logit_bias=tuple((i, 30.0) for i in range(65, 85)), temperature=0)])
    assert len(set(ids(varied["a"]))) > len(set(ids(plain["a"])))


def test_min_p_keeps_what_is_likely_enough() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]]).repeat(4000, 1)
    probabilities = logits[0].softmax(0)
    for min_p in (0.0, 0.2, 0.5, 1.0):
        rules = SamplingRules.make([1.0] * 4000, [0] * 4000, [1.0] * 4000, row_seeds(0, 4000), [min_p] * 4000)
        found, logprobs = sample(logits.clone(), rules, torch.zeros(4000, dtype=torch.int64))
        assert set(found.tolist()) == {i for i in range(4) if probabilities[i] >= min_p * probabilities[0]}
        assert logprobs == pytest.approx(logits[0].log_softmax(0)[found], abs=1e-5)


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(3))
def test_grammars_hold_and_end_the_answer(seed: int) -> None:
    engine = Engine(model(length=400), Bytes())
    asked = [
        ask("schema", grammar=Grammar(kind="json_schema", source=json.dumps(SCHEMA)), max_tokens=300, seed=seed),
        ask("regex", grammar=Grammar(kind="regex", source="[a-c]{3}(会話|x+y)"), max_tokens=60, seed=seed),
        ask("lark", grammar=Grammar(kind="lark", source='start: "yes" | "no"'), max_tokens=60, seed=seed),
        ask("plain", seed=seed),
    ]
    found = drive(engine, asked)
    assert found["schema"][-1].finish_reason == found["lark"][-1].finish_reason == "stop"
    value = json.loads(text(found["schema"]))
    assert 0 <= value["age"] <= 99
    assert len(value["name"]) <= 4
    assert text(found["lark"]) in ("yes", "no")
    if found["regex"][-1].finish_reason == "stop":
        assert re.fullmatch("[a-c]{3}(会話|x+y)", text(found["regex"]))
    assert ids(found["plain"]) == ids(drive(engine, [ask("plain", seed=seed)])["plain"])  # neighbours unharmed


def test_a_token_that_ends_is_allowed_only_where_the_grammar_may_end() -> None:
    engine = Engine(model(), Bytes())
    stop = (0,)  # no letter of the grammar
    events = drive(engine, [ask(grammar=Grammar(kind="regex", source="ab+"), stop_ids=stop, logit_bias=((0, 100.0),))])
    assert ids(events["a"]) == [97, 98, 0]
    assert (text(events["a"]), events["a"][-1].finish_reason) == ("ab", "stop")


def test_bad_grammars_and_biases_are_refused() -> None:
    engine = Engine(model(), Bytes())
    for source, kind in (("(", "regex"), ("{", "json_schema"), ('{"type": "nothing"}', "json_schema"), ("x:", "lark")):
        with pytest.raises(UserError, match="grammar"):
            engine.add(ask(grammar=Grammar(kind=kind, source=source)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="token 256"):
        engine.add(ask(logit_bias=((256, 1.0),)))
    for fields in ({"min_p": 2.0}, {"presence_penalty": 3.0}, {"repetition_penalty": 0.0}, {"logit_bias": ((1, 1e9),)}):
        with pytest.raises(UserError, match="must be"):
            ask(**fields)
    assert engine.idle


def test_a_grammar_that_allows_nothing_ends_its_request_only() -> None:
    class NoLetters(Bytes):
        def decode_bytes(self, ids: list[int]) -> bytes:
            return bytes(i for i in ids if not 98 <= i < 123)

    engine = Engine(model(), NoLetters())
    with pytest.raises(UserError, match="grammar"):
        engine.add(ask("now", grammar=Grammar(kind="regex", source="b")))
    found = drive(engine, [ask("later", grammar=Grammar(kind="regex", source="ab")), PLAIN])
    assert found["later"][-1].finish_reason == "error"
    assert "grammar" in found["later"][-1].error
    assert ids(found["plain"]) == ids(drive(engine, [PLAIN])["plain"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_logits_end_their_request_only(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model(), Bytes())
    expected = ids(drive(engine, [PLAIN])["plain"])
    honest = engine._batching.rows.logits

    def broken(hidden: torch.Tensor) -> torch.Tensor:
        logits = honest(hidden)
        if len(logits) > 1:
            logits[1, 17] = value
        return logits

    monkeypatch.setattr(engine._batching.rows, "logits", broken)
    found = drive(engine, [PLAIN, ask("broken", temperature=0.7), ask("greedy", temperature=0)])
    assert found["broken"][-1].finish_reason == "error"
    assert "not numbers" in found["broken"][-1].error
    assert ids(found["plain"]) == expected
    assert engine.idle


CLOSING = (60, 47, 62)  # </>


@pytest.mark.parametrize(("budget", "is_open"), [(0, True), (3, True), (5, False), (100, True)])
def test_reasoning_ends_at_its_budget(budget: int, is_open: bool) -> None:
    """The closing tag is written for the model; afterwards, and for a request without a limit, it is free."""
    limit = ReasoningLimit(budget, (60, 62), CLOSING, is_open)
    request = ask(max_tokens=20)
    found = ids(drive(Engine(model(), Bytes()), [replace(request, reasoning=limit)])["a"])
    free = ids(drive(Engine(model(), Bytes()), [request])["a"])
    if is_open and budget < 20:
        assert found[:budget] == free[:budget]
        assert tuple(found[budget : budget + 3]) == CLOSING
        assert tuple(found[budget + 3 : budget + 6]) != CLOSING
    else:
        assert found == free, "not reached, or never opened"


def test_reasoning_that_ends_by_itself_is_left_alone() -> None:
    end = ReasoningEnd(ReasoningLimit(4, (60, 62), CLOSING))
    for id in (10, 60, 62, 7, *CLOSING, 8, 8, 8, 8, 8):  # 4 tokens with the closing tag
        assert end.forced_token() is None
        end.push(id)
    end = ReasoningEnd(ReasoningLimit(2, (60, 62), CLOSING))
    for id in (60, 62, 7, 7):
        assert end.forced_token() is None
        end.push(id)
    for id in CLOSING:
        assert end.forced_token() == id
        end.push(id)
    assert end.forced_token() is None
