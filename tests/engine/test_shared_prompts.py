"""Shared prompts against the same without sharing and against one by one."""

import random

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine, whole_characters
from kaiwa.engine.request import Request
from kaiwa.engine.rows.prefix_tree import BLOCK
from kaiwa.engine.rows.torch_shared_rows import TorchSharedRows
from kaiwa.engine.shared_prompts import SharedPrompts
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.text.records import Completion
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import train

STOP = (3,)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["the cat and the dog 0123\n"] * 30, TokenizerConfig(vocab_size=270))


@pytest.fixture(scope="module", params=["llama", "gpt3"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    config = DecoderConfig(
        vocab_size=270, d_model=32, n_layer=2, n_head=4, d_ff=48, max_length=256, dialect=request.param
    )
    made = make_decoder(config, 0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 3  # sharper logits: greedy answers differ from prompt to prompt
    return made.eval()


def requests(n: int, temperature: float = 0.0) -> list[Request]:
    """Four arms: each a prefix of its own, then the item."""
    rng = random.Random(1)
    arms = [tuple(rng.randrange(4, 270) for _ in range(length)) for length in (5, 40, 100, 130)]
    items = [tuple(rng.randrange(4, 270) for _ in range(rng.randrange(8, 20))) for _ in range(n)]
    prompts = [arm + item for item in items for arm in arms]
    return [
        Request(
            id=str(i), prompt_ids=p, sampling=Sampling(max_tokens=12, temperature=temperature, seed=i), stop_ids=STOP
        )
        for i, p in enumerate(prompts)
    ]


def computed(answers: dict[int, Completion]) -> int:
    """Prompt tokens that were computed, and not taken from another prompt."""
    return sum(answer.n_prompt - answer.n_reused for answer in answers.values())


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_token_identical_at_a_fraction_of_the_work(decoder: Decoder, tokenizer: Tokenizer, temperature: float) -> None:
    asked = requests(14, temperature)
    sharing = SharedPrompts(decoder, tokenizer, max_rows=8)
    alone = SharedPrompts(decoder, tokenizer, max_rows=8, share=False)
    ours, theirs = dict(sharing.generate(asked)), dict(alone.generate(asked))
    assert {i: c.ids for i, c in ours.items()} == {i: c.ids for i, c in theirs.items()}
    assert len({c.ids for c in ours.values()}) > 20
    for (
        found
    ) in ours.values():  # texts are what the ids say: rows that wait while others are admitted say nothing twice
        said = found.ids[:-1] if found.ids[-1] in STOP else found.ids
        assert found.text.rstrip("\ufffd") == whole_characters(tokenizer.decode_bytes(said)).rstrip("\ufffd")
    independent = sum(len(r.prompt_ids) for r in asked)
    assert computed(theirs) == independent
    assert computed(ours) <= 0.4 * independent
    if temperature == 0:
        engine = Engine(decoder, tokenizer)
        singles = engine.generate(
            [r.prompt_ids for r in asked], Sampling(max_tokens=12, temperature=0.0, seed=0), stop_ids=STOP
        )
        assert [ours[i].ids for i in range(len(asked))] == [c.ids for c in singles]


def test_kept_blocks_serve_the_next_call(decoder: Decoder, tokenizer: Tokenizer) -> None:
    model = SharedPrompts(decoder, tokenizer)
    list(model.generate(requests(3)))
    again = dict(model.generate(requests(3)[:1] + requests(3)[3:4]))
    assert again[1].n_reused >= 128
    assert computed(again) < 60


def test_scores_are_the_full_forwards(decoder: Decoder, tokenizer: Tokenizer) -> None:
    pairs = [(r.prompt_ids, (7, 9, 11)[: 1 + i % 3]) for i, r in enumerate(requests(6))]
    sharing = SharedPrompts(decoder, tokenizer, max_rows=5)
    found = sharing.score(pairs)
    slow = Engine(decoder, tokenizer).score([p for p, _ in pairs], [c for _, c in pairs])
    for (ours, _), theirs in zip(found, slow, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert sum(len(p) + len(c) - reused for (p, c), (_, reused) in zip(pairs, found, strict=True)) < 0.6 * sum(
        len(p) + len(c) for p, c in pairs
    )


def test_a_long_prompt_is_refused_before_any_work(decoder: Decoder, tokenizer: Tokenizer) -> None:
    model = SharedPrompts(decoder, tokenizer)
    with pytest.raises(UserError, match="tokens"):
        list(model.generate([Request(id="x", prompt_ids=(5,) * 256, sampling=Sampling(max_tokens=2))]))
    assert model.engine.idle


def test_memory_is_bounded(decoder: Decoder, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = 6 * BLOCK
    monkeypatch.setattr("kaiwa.engine.continuous_batching.KEPT_BYTES", 4 * tokens * decoder.config.cache_numbers)
    model = SharedPrompts(decoder, tokenizer)
    list(model.generate(requests(2)))
    rows = model.engine._batching.rows
    assert isinstance(rows, TorchSharedRows)
    assert 0 < rows.tree.idle <= 6
    assert sum(map(len, rows.slabs)) <= 6
    list(model.generate(requests(2)))


def test_a_cancelled_request_leaves_its_prompt_in_the_cache(decoder: Decoder, tokenizer: Tokenizer) -> None:
    engine = SharedPrompts(decoder, tokenizer).engine
    prompt = tuple(range(4, 4 + 3 * BLOCK))
    whole = Sampling(max_tokens=40, temperature=0.0)
    for id in ("first", "second", "third"):  # the second's answer goes into memory that steps made
        engine.add(Request(id=id, prompt_ids=prompt, sampling=whole))
        events = [engine.step() for _ in range(BLOCK + 4)]
        assert engine.cancel(id)
    assert next(event for step in events for event in step).cached >= 2 * BLOCK


def test_one_bad_request_harms_no_other(decoder: Decoder, tokenizer: Tokenizer) -> None:
    good, bad = requests(1)[:1], Request(id="bad", prompt_ids=(5, 6), sampling=Sampling(logit_bias=((9999, 1.0),)))
    answers = dict(SharedPrompts(decoder, tokenizer).generate([bad, *good]))
    assert isinstance(answers[0], UserError)
    assert answers[1] == dict(SharedPrompts(decoder, tokenizer).generate(good))[0]


def test_min_p_reaches_shared_prompts(decoder: Decoder) -> None:
    """At min_p 1 only the likeliest token is left, whatever the temperature."""
    prompt, model = (1, 2, 3, 4), SharedPrompts(decoder, None)  # type: ignore[arg-type]
    asked = [
        Request(id=str(i), prompt_ids=prompt, sampling=Sampling(max_tokens=8, temperature=t, min_p=m))
        for i, (t, m) in enumerate(((0.0, 0.0), (5.0, 1.0)))
    ]
    answers = dict(model.generate(asked))
    assert answers[0].ids == answers[1].ids
