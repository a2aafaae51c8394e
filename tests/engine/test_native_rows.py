"""Bulk generation by the C++ step against the same by torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine import bulk_batching
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import library, step
from kaiwa.engine.rows import native_rows
from kaiwa.engine.rows.native_rows import NativeRows, can_use_native, make_rows
from kaiwa.engine.rows.torch_rows import TorchRows
from kaiwa.engine.sampling import SamplingRules, row_seeds
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.text.sampling import Sampling

pytestmark = pytest.mark.skipif(bool(library.machine_refusal()), reason=library.machine_refusal() or "there")
SHAPE = DecoderConfig(vocab_size=264, d_model=64, n_layer=2, n_head=4, n_kv_head=2, d_ff=96, max_length=160)
# Some are asked several times, some are long, and the answers end at different lengths.
PROMPTS = [[(5 * i + j * j) % 264 for j in range(1 + 17 * i % 90)] for i in (0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7, 8)]


def decoder() -> Decoder:
    made = make_decoder(SHAPE, 0).requires_grad_(False).eval()
    for parameter in made.parameters():
        parameter.mul_(4.0) if parameter.ndim > 1 else None
    return made


def generated(
    batch: TorchRows | NativeRows, temperature: float, rows: int, top_p: float = 1.0
) -> bulk_batching.GeneratedBatch:
    n = len(PROMPTS)
    rules = SamplingRules.make([temperature] * n, [0] * n, [top_p] * n, row_seeds(3, n))
    stops = list(range(0, 264, 9))
    return bulk_batching.generate(batch, PROMPTS, max_tokens=40, rules=rules, stop_ids=stops, rows=rows)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.8)])
@pytest.mark.parametrize("rows", [3, 256])
def test_it_equals_torch(temperature: float, top_p: float, rows: int) -> None:
    made = decoder()
    slow = generated(TorchRows(made, torch.float32), temperature, 256, top_p)
    fast = generated(NativeRows(made, wide=True), temperature, rows, top_p)
    assert torch.equal(slow.ids, fast.ids)
    assert torch.equal(slow.lengths, fast.lengths)
    assert torch.equal(slow.stopped, fast.stopped)
    assert torch.allclose(slow.logprobs, fast.logprobs, atol=1e-3)
    assert len(set(fast.lengths.tolist())) > (1 if temperature == 0 else 2)


def test_rows_and_calls_change_no_bit() -> None:
    made, batch = decoder(), NativeRows(decoder(), wide=True)
    first, second = generated(batch, 1.0, 4), generated(batch, 1.0, 12)
    assert torch.equal(first.logprobs, second.logprobs)
    assert torch.equal(first.logprobs, generated(NativeRows(made, wide=True), 1.0, 7).logprobs)


def test_a_long_prompt_goes_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, calls = NativeRows(decoder(), wide=True), []
    whole = generated(batch, 1.0, 12)
    forward = batch._forward
    monkeypatch.setattr(batch, "_forward", lambda ids, *rest: calls.append(len(ids)) or forward(ids, *rest))
    monkeypatch.setattr(native_rows, "CALL_TOKENS", 32)
    parts = generated(batch, 1.0, 12)
    assert max(calls) == 32
    assert torch.equal(whole.ids, parts.ids)
    assert torch.equal(whole.logprobs, parts.logprobs)


def test_weights_changed_in_place_are_taken_over() -> None:
    made = decoder()
    batch = NativeRows(made, wide=True)
    before = generated(batch, 0.0, 12)
    for name, parameter in made.named_parameters():
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        parameter.add_(noise * 0.1)
    after = generated(batch, 0.0, 12)
    assert not torch.equal(before.ids, after.ids)
    assert torch.equal(after.ids, generated(TorchRows(made, torch.float32), 0.0, 12).ids)


@pytest.mark.parametrize("wrong", [264, -1])
def test_an_id_that_the_model_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    monkeypatch.setattr(step, "SMALL", 1000)
    engine = Engine(decoder())
    with pytest.raises(UserError, match=r"prompt 1 has a token id outside 0 to 263"):
        engine.generate([[1], [1, wrong]], Sampling(max_tokens=1))
    with pytest.raises(UserError, match=r"text 0 has a token id outside 0 to 263"):
        engine.score([[1]], [[wrong]])


@pytest.mark.parametrize("wrong", ["compiler", "home"])
def test_without_a_library_torch_answers_and_says_so_once(
    wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step, "SMALL", 1000)
    if wrong == "compiler":
        monkeypatch.setenv("CXX", "false")
    else:
        (tmp_path / "cache").write_text("in the way: nothing can be written below it")
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    made, said = decoder(), []
    for _ in range(2):
        engine = Engine(made)
        assert len(engine.generate([[1, 2]], Sampling(max_tokens=2))[0].ids) == 2
        assert isinstance(engine._rows, TorchRows)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.endswith(": PyTorch computes the answers\n")
    step.prepare(made, said.append)  # in the background: nothing is thrown there either
    assert step.wait(made) is None
    assert said[-1] + "\n" == line


def test_which_decoders_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_use_native(decoder())  # too small to be worth it
    monkeypatch.setattr(step, "SMALL", 1000)
    assert can_use_native(decoder())
    assert isinstance(make_rows(decoder(), torch.float32), NativeRows)
    got = Engine(decoder()).generate([PROMPTS[3]] * 2, Sampling(max_tokens=9, temperature=0))
    assert not can_use_native(make_decoder(dataclasses.replace(SHAPE, dialect="gpt3", n_kv_head=0), 0))
    monkeypatch.setenv("KAIWA_STEP", "torch")
    assert isinstance(make_rows(decoder(), torch.float32), TorchRows)
    assert [c.ids for c in got] == [
        c.ids for c in Engine(decoder()).generate([PROMPTS[3]] * 2, Sampling(max_tokens=9, temperature=0))
    ]
