"""The C++ step against the full forward pass in torch, and against itself in other company, bit by bit."""

import dataclasses
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from kaiwa.catalog.entries import smollm2
from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import library, step
from kaiwa.engine.native.refusal import native_refusal, shape_refusal
from kaiwa.engine.native.step import NativeModel
from kaiwa.engine.native.weight_layout import pack
from kaiwa.engine.request import Request
from kaiwa.engine.rows.native_rows import can_use_native
from kaiwa.engine.rows.prefix_tree import BLOCK
from kaiwa.engine.rows.torch_rows import TorchRows
from kaiwa.engine.shared_prompts import SharedPrompts
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig, Scales
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.int4 import Int4Linear, quantize_rtn
from kaiwa.model.int8 import Int8Linear
from kaiwa.text.sampling import Sampling
from tests.engine.test_engine import drive, ids

needs_it = pytest.mark.skipif(bool(library.machine_refusal()), reason=library.machine_refusal() or "there")
RELATIVES = {
    "biased": {"qkv_bias": True, "out_bias": True, "qk_norm": "head", "n_kv_head": 1},
    "gemma2": {
        "activation": "gelu", "norms": "around", "layers": "wg", "window": 40,
        "scales": Scales(embedding_scale=8.0, attention_scale=0.3, attention_cap=5.0, logit_cap=9.0),
    },
    "gemma3": {
        "activation": "gelu", "norms": "around", "qk_norm": "head", "layers": "wg", "window": 128, "local_theta": 1e3,
        "scales": Scales(embedding_scale=8.0),
    },
    "granite": {"scales": Scales(embedding_scale=3.0, residual_scale=0.4, logit_scale=0.25, attention_scale=0.1)},
    "olmo2": {"qk_norm": "all", "norms": "after"},
    "some layers without positions": {"layers": "ng", "rotary_size": 16},
    "window": {"layers": "w", "window": 1},
}  # fmt: skip
KINDS = ("fp32", "bf16", "int4", *RELATIVES)


def decoder(kind: str, length: int = 320) -> Decoder:
    config = DecoderConfig(
        vocab_size=264, d_model=64, n_layer=2, n_head=4, n_kv_head=2, d_ff=96, max_length=length, head_size=32
    )
    config = dataclasses.replace(config, **RELATIVES.get(kind, {}))
    made = make_decoder(config, 0).requires_grad_(False)
    for name, parameter in made.named_parameters():
        noise = torch.Generator().manual_seed(len(name))
        parameter.mul_(4.0) if parameter.ndim > 1 else parameter.add_(
            torch.randn(parameter.shape, generator=noise) * 0.1
        )
    if kind in ("bf16", "int4"):
        made.bfloat16()
    if kind == "int4":
        for block in made.blocks:
            for name in step.LINEARS:
                codes, scales, zeros = quantize_rtn(getattr(block, name).weight, 32)
                zeros = zeros + 0.3 * scales
                setattr(block, name, Int4Linear.from_codes(codes, scales, zeros))
        made.unembed = Int8Linear(made.embed.weight)  # type: ignore[assignment]
    return made.eval()


def exact(made: Decoder) -> Decoder:
    """The same weights, all of them dense fp32."""
    dense = make_decoder(made.config, 0).requires_grad_(False)
    state = {name: p.float() for name, p in made.named_parameters() if name in dense.state_dict()}
    for name, module in made.named_modules():
        if isinstance(module, Int4Linear):
            pairs = module.scales_and_zeros.float().repeat_interleave(module.group, dim=0)
            codes = module.codes().float().T
            state[f"{name}.weight"] = ((codes - 8) * pairs[..., 0] + pairs[..., 1]).T
        if isinstance(module, Int8Linear):
            state["unembed.weight"] = module.q.float() * module.scales.float()[:, None]
    if "unembed.weight" in state:
        dense.unembed = torch.nn.Linear(dense.config.d_model, dense.config.vocab_size, bias=False)
    dense.load_state_dict(state, strict=False)
    return dense.requires_grad_(False)


TEXTS = [[(7 * i + 3 * j * j) % 264 for j in range(n)] for i, n in enumerate((1, 5, 17, 140, 300))]


def run(model: NativeModel, work: list[tuple[int, int, int]], cache: np.ndarray) -> list[torch.Tensor]:
    """(text, start, stop) at once -> states of each."""
    width = 320 // BLOCK + 1
    tables = np.arange(len(TEXTS) * width, dtype=np.int32).reshape(-1, width)
    tokens = [(TEXTS[t][i], i, t) for t, start, stop in work for i in range(start, stop)]
    batch = tuple(list(column) for column in zip(*tokens, strict=True))
    states = model.forward(batch, tables, cache)  # type: ignore[arg-type]
    return list(states.split([stop - start for _, start, stop in work]))


def empty(made: Decoder, wide: bool) -> np.ndarray:
    c = made.config
    items = c.n_layer * 2 * c.kv_heads * BLOCK * c.d_head
    return np.zeros((len(TEXTS) * (320 // BLOCK + 1), items), np.float32 if wide else np.uint16)


@needs_it
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_the_full_forward_pass(kind: str) -> None:
    made = decoder(kind)
    model, slow = step.make(made), exact(made)
    states = run(model, [(t, 0, len(text)) for t, text in enumerate(TEXTS)], empty(made, True))
    for text, got in zip(TEXTS, states, strict=True):
        with torch.no_grad():
            hidden = slow(torch.tensor([text]), torch.arange(len(text))[None], attend_rows(None))[0]
            logits = slow.logits(hidden)
        assert torch.allclose(got, hidden, atol=2e-3, rtol=1e-3), float((got - hidden).abs().max())
        assert torch.allclose(model.logits(got), logits, atol=1e-2, rtol=1e-3)


@needs_it
@pytest.mark.parametrize("kind", KINDS)
def test_company_and_chunks_change_no_bit(kind: str) -> None:
    made = decoder(kind)
    model = step.make(made)
    alone = [run(model, [(t, 0, len(text))], empty(made, False))[0] for t, text in enumerate(TEXTS)]
    rng = random.Random(1)
    model = NativeModel(made, library.library(), threads=3)  # that one had as many as torch: one
    cache, done, found = empty(made, False), [0] * len(TEXTS), [[] for _ in TEXTS]
    while any(n < len(text) for n, text in zip(done, TEXTS, strict=True)):
        work = []
        for t, text in enumerate(TEXTS):
            stop = min(len(text), done[t] + rng.choice((0, 1, 1, 2, 9, 40)))
            if stop > done[t]:
                work.append((t, done[t], stop))
                done[t] = stop
        rng.shuffle(work)
        for (t, _, _), states in zip(work, run(model, work, cache) if work else [], strict=True):
            found[t].append(states)
    for t in range(len(TEXTS)):
        assert torch.equal(torch.cat(found[t]), alone[t])
    together = model.logits(torch.cat(alone))
    assert torch.equal(torch.cat([model.logits(states) for states in alone]), together)


@needs_it
@pytest.mark.parametrize("kind", ["fp32", "int4"])
def test_answers_do_not_depend_on_the_schedule(kind: str) -> None:
    """Token by token: neighbours, reused beginnings and chunks change nothing. (Logits are the same bits; the
    log-probability of a greedy row comes by another formula when all rows are greedy.)"""
    made = decoder(kind)
    model = step.make(made)
    header = tuple(range(40))
    requests = [
        Request(
            id=str(i),
            prompt_ids=(header + (50 + i,) * (1 + 7 * (i % 3))) if i % 4 else header[: 3 + i],
            sampling=Sampling(max_tokens=6 + 5 * (i % 4), temperature=[0.0, 1.0][i % 2], seed=i // 5),
            logprobs=1,
        )
        for i in range(14)
    ]

    def answers(reuse: bool, every: int, chunk: int, max_rows: int) -> tuple[dict[str, list[int]], list[float | None]]:
        engine = Engine(made, None, reuse=reuse, max_rows=max_rows)
        engine._batching.use(model)
        engine._batching.scheduler.chunk = chunk
        found = drive(engine, requests, every)
        cached = sum(events[0].cached for events in found.values())
        assert (cached > 0) == reuse
        tokens = {id: [token for event in events for token in event.tokens] for id, events in found.items()}
        ids = {id: [token.id for token in answer] for id, answer in tokens.items()}
        return ids, [token.logprob for id in ids for token in tokens[id]]

    slow = answers(False, 9, 256, 1)
    for every, chunk, max_rows in ((0, 256, 16), (2, 7, 5), (1, 33, 3)):
        found, logprobs = answers(True, every, chunk, max_rows)
        assert found == slow[0]
        assert logprobs == pytest.approx(slow[1], abs=2e-6)


@needs_it
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_drafts_change_no_token(temperature: float) -> None:
    made = decoder("int4")
    model = step.make(made)
    period = tuple(range(20, 27)) * 5
    requests = [
        Request(
            id=str(i),
            prompt_ids=period + (i,) * i,
            sampling=Sampling(max_tokens=30 + i, temperature=temperature, seed=i),
        )
        for i in range(5)
    ]
    answers, steps = [], []
    for draft in (0, 4):
        engine = Engine(made, None, draft=draft)
        engine._batching.use(model)
        answers.append({id: ids(events) for id, events in drive(engine, requests).items()})
        engine.add(requests[0])
        steps.append(0)
        while not engine.idle:
            engine.step()
            steps[-1] += 1
    assert answers[0] == answers[1]
    assert steps[1] < steps[0] or temperature > 0  # greedy answers of such a model go round in circles


@needs_it
def test_it_takes_over_between_answers_and_agrees_with_torch() -> None:
    made = decoder("fp32")
    prompts = [
        Request(id=str(i), prompt_ids=(1, 2, 3 + i), sampling=Sampling(max_tokens=20, temperature=0)) for i in range(3)
    ]
    engine = Engine(made, None)
    before = {id: ids(events) for id, events in drive(engine, prompts).items()}
    engine._batching.use(step.make(made))
    assert {id: ids(events) for id, events in drive(engine, prompts).items()} == before
    assert engine.generate([[1, 2, 3]], Sampling(max_tokens=20, temperature=0))[0].ids == tuple(before["0"])


@needs_it
def test_scores_and_samples_of_one_beginning() -> None:
    made = decoder("fp32")
    step.make(made)
    many, header = SharedPrompts(made, None), tuple(range(2, 90))
    pairs = [(header + (100 + i // 4,) * 9, (i % 4, 7, 7)[: 1 + i % 3]) for i in range(12)]
    slow = Engine(made).score([p for p, _ in pairs], [c for _, c in pairs])
    for (logprobs, _), expected in zip(many.score(pairs), slow, strict=True):
        assert logprobs == pytest.approx(expected, abs=1e-4)
    assert sum(reused for _, reused in many.score(pairs)) >= 11 * 80
    asked = [Request(id=str(i), prompt_ids=header, sampling=Sampling(max_tokens=9, seed=i)) for i in range(40)]
    found = dict(many.generate(asked))
    assert [found[i].ids for i in range(40)] == [tuple(ids(drive(Engine(made), [r])[r.id])) for r in asked]
    assert len({c.ids for c in found.values()}) > 30
    assert min(c.n_reused for c in found.values()) >= 80
    assert many.engine.idle


@needs_it
def test_broken_weights_show() -> None:
    made = decoder("int4")
    made.blocks[0].norm_mlp.weight[3] = float("nan")
    model = NativeModel(made, library.library())
    assert bool(model.logits(run(model, [(1, 0, 5)], empty(made, True))[0]).isnan().any())


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gpt3 = DecoderConfig(dialect="gpt3", vocab_size=64, d_model=32, n_layer=1, n_head=2, d_ff=32)
    assert "LLaMA" in shape_refusal(gpt3)
    odd = make_decoder(DecoderConfig(vocab_size=64, d_model=40, n_layer=1, n_head=2, d_ff=32), 0)
    assert "16 divides" in shape_refusal(odd.config)
    monkeypatch.setenv("KAIWA_STEP", "torch")
    with pytest.raises(UserError, match="KAIWA_STEP"):
        step.make(odd)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledConfig(DecoderConfig):
    """A family of tomorrow, whose embedding is scaled."""

    embed_scale: float = 1.0


def test_an_unknown_field_is_refused() -> None:
    shape = {"vocab_size": 64, "d_model": 32, "n_layer": 1, "n_head": 2, "d_ff": 32}
    scaled = ScaledConfig(**shape, embed_scale=2.0)  # type: ignore[arg-type]
    assert shape_refusal(scaled) == "the C++ step does not know embed_scale = 2.0"
    assert shape_refusal(ScaledConfig(**shape)) == ""  # type: ignore[arg-type]
    assert "embed_scale" in native_refusal(scaled) or library.machine_refusal()
    decoder = make_decoder(scaled, 0)
    assert "embed_scale" in step.decoder_refusal(decoder) or library.machine_refusal()
    with pytest.raises(UserError):
        step.make(decoder)
    assert not can_use_native(decoder)
    assert TorchRows(decoder, torch.float32).lean is None


def test_a_compiler_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(UserError, match="cannot compile"):
        library.library()


def test_strips_hold_every_weight() -> None:
    linear = torch.nn.Linear(6, 20)
    packed = pack(linear)
    assert packed.data.shape == (2, 6, 16)
    for i, o in ((0, 0), (5, 15), (3, 17)):
        assert packed.data[o // 16, i, o % 16] == linear.weight[o, i]
    assert packed.bias is not None
    assert packed.bias.flatten()[:20].tolist() == linear.bias.tolist()


@needs_it
@pytest.mark.skipif(smollm2() is None, reason="SmolLM2 is not installed")
def test_a_process_that_ends_at_once_ends_quietly() -> None:
    library.library()  # compiled by now
    code = (
        "from kaiwa.catalog.entries import SMOLLM2, entry_by_name_or_path; from kaiwa.catalog.load import load;"
        "load(entry_by_name_or_path(SMOLLM2))  # packed in the background"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
