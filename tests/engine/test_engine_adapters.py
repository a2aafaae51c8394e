"""Adapters per request: each row as the merged model alone, neighbours untouched, beginnings never shared across."""

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import library, step
from kaiwa.engine.request import Event, Request
from kaiwa.model.adapter import Adapter, read_adapter, save_soft_prompt
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.lora import add_lora, merge_lora, save_adapter
from kaiwa.model.soft_prompt import add_soft_prompt, merge_soft_prompt
from kaiwa.text.sampling import Sampling
from tests.engine.test_engine import drive, ids
from tests.engine.test_native_step import KINDS
from tests.engine.test_native_step import decoder as step_decoder

needs_it = pytest.mark.skipif(bool(library.machine_refusal()), reason=library.machine_refusal() or "there")
LLAMA = DecoderConfig(vocab_size=256, d_model=32, n_layer=2, n_head=4, n_kv_head=2, d_ff=64, max_length=160)
GPT3 = DecoderConfig(dialect="gpt3", vocab_size=256, d_model=32, n_layer=2, n_head=4, d_ff=64, max_length=160)
PROMPTS = [tuple(7 * i % 256 for i in range(40)), (1, 2, 3), tuple(7 * i % 256 for i in range(50)), (9,)]
KNOWN = ("", "one", "two", "soft")


def base(config: DecoderConfig) -> Decoder:
    made = make_decoder(config, 0)
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(3.0)
    return made.eval()


def lora(config: DecoderConfig, seed: int, rank: int, folder: Path) -> tuple[Adapter, Decoder]:
    """An adapter as our fine-tuning writes and the engine reads it, and the merged model."""
    made = base(config)
    add_lora(made, rank, 2.0 * rank, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, p in made.named_parameters():
            if name.endswith(".b"):
                p.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(seed))
    save_adapter(folder, made, "base")
    merge_lora(made)
    return read_adapter(folder, config), made.requires_grad_(False)


def soft(config: DecoderConfig, n: int, folder: Path) -> tuple[Adapter, Decoder]:
    made = base(config)
    add_soft_prompt(made, torch.arange(n))
    with torch.no_grad():
        made.embed.soft.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(5))  # type: ignore[union-attr,operator]
    save_soft_prompt(folder, made.embed.soft, config, "base")  # type: ignore[arg-type]
    merged = merge_soft_prompt(made, 0).requires_grad_(False)
    merged.unembed.weight[config.vocab_size :] = 0.0
    merged.unembed.register_forward_hook(lambda module, x, y: y.index_fill(-1, torch.arange(256, 256 + n), -1e4))
    return read_adapter(folder, config), merged


def everything(config: DecoderConfig, folder: Path) -> tuple[dict[str, Adapter], dict[str, Decoder]]:
    one, two = lora(config, 1, 3, folder / "one"), lora(config, 2, 17, folder / "two")
    with_soft = soft(config, 19, folder / "soft")
    adapters = {"one": one[0], "two": two[0], "soft": with_soft[0]}
    return adapters, {"": base(config), "one": one[1], "two": two[1], "soft": with_soft[1]}


def engine_with(made: Decoder, adapters: dict[str, Adapter], rows: int = 16) -> Engine:
    engine = Engine(made, None, max_rows=rows)
    for name, adapter in adapters.items():
        engine.add_adapter(name, adapter)
    return engine


def logprobs(events: list[Event]) -> list[float | None]:
    return [token.logprob for event in events for token in event.tokens]


def asked(i: int, name: str, prompt: tuple[int, ...]) -> Request:
    sampling = Sampling(max_tokens=8 + i % 3, seed=i, temperature=float(i % 2))
    return Request(id=f"{name} {i}", prompt_ids=prompt, sampling=sampling, adapter=name)


@pytest.mark.parametrize("config", [LLAMA, GPT3], ids=["llama", "gpt3"])
def test_every_row_is_the_merged_model_alone(config: DecoderConfig, tmp_path: Path) -> None:
    adapters, merged = everything(config, tmp_path)
    requests = [asked(i, name, prompt) for i, prompt in enumerate(PROMPTS) for name in KNOWN]
    together = drive(engine_with(merged[""], adapters), requests)
    answers = set()
    for request in requests:
        prompt = (*range(256, 275), *request.prompt_ids) if request.adapter == "soft" else request.prompt_ids
        plain = Request(
            id="a",
            prompt_ids=prompt,
            sampling=request.sampling,
        )
        alone = drive(Engine(merged[request.adapter]), [plain])["a"]
        got = together[request.id]
        assert ids(got) == ids(alone), request.id
        assert logprobs(got) == pytest.approx(logprobs(alone), abs=1e-3)
        answers.add((request.prompt_ids, tuple(ids(got))))
    assert len(answers) > len(requests) - 4, "the adapters change next to nothing"


def test_beginnings_are_shared_within_an_adapter_only(tmp_path: Path) -> None:
    adapters, _ = everything(LLAMA, tmp_path)
    engine = engine_with(base(LLAMA), adapters)
    cached = [
        drive(engine, [asked(0, name, PROMPTS[2])])[f"{name} 0"][0].cached
        for name in ("", "one", "two", "soft", "soft", "two", "one", "")
    ]
    assert cached[:4] == [0, 0, 0, 0]
    assert cached[4] == 64 - 19
    assert cached[5:] == [48, 48, 48]
    engine.remove_adapter("one")
    engine.add_adapter("one", adapters["two"])  # another one of the same name has nothing of the old one
    assert drive(engine, [asked(0, "one", PROMPTS[2])])["one 0"][0].cached == 0
    for order in ((0, 2), (2, 0)):  # a request never waits for one of another adapter that begins alike
        both = drive(engine, [asked(i, name, PROMPTS[i]) for i, name in zip(order, ("one", "two"), strict=True)])
        assert all(ids(events) for events in both.values())


def test_prompt_logprobs_leave_the_soft_prompt_out(tmp_path: Path) -> None:
    adapter, merged = soft(LLAMA, 19, tmp_path)
    engine = engine_with(base(LLAMA), {"soft": adapter})
    for first in (0, 1, 30):
        request = Request(
            id="a",
            prompt_ids=PROMPTS[0],
            sampling=Sampling(max_tokens=0),
            adapter="soft",
            logprobs=1,
            prompt_logprobs=True,
            logprobs_from=first,
        )
        for _ in range(2):  # the second time its beginning is known
            (event,) = drive(engine, [request])["a"]
            assert [t.id for t in event.prompt] == list(PROMPTS[0][first:])
            start = max(first, 1)
            (expected,) = Engine(merged).score([[*range(256, 275), *PROMPTS[0][:start]]], [PROMPTS[0][start:]])
            assert [t.logprob for t in event.prompt if t.logprob is not None] == pytest.approx(expected, abs=1e-3)


def random_adapter(config: DecoderConfig, rank: int, seed: int) -> Adapter:
    """Some products changed, some not, as an adapter from elsewhere may be."""
    g = torch.Generator().manual_seed(seed)
    sizes = {
        "qkv": (config.d_model, (config.n_head + 2 * config.kv_heads) * config.d_head),
        "out": (config.n_head * config.d_head, config.d_model),
        "up": (config.d_model, 2 * config.d_ff),
        "down": (config.d_ff, config.d_model),
    }
    parts = list(sizes)[: 2 + seed % 3]
    changes = {
        part: (torch.randn(rank, n, generator=g) / n**0.5, torch.randn(m, rank, generator=g) * 0.3)
        for part, (n, m) in sizes.items()
        if part in parts
    }
    vectors = torch.randn(5, config.d_model, generator=g) if seed % 2 else None
    return Adapter(tuple(changes for _ in range(config.n_layer)), vectors)


@needs_it
@pytest.mark.parametrize("kind", KINDS)
def test_the_step_equals_torch_and_no_bit_depends_on_company(kind: str) -> None:
    made = step_decoder(kind)
    adapters = {f"{seed}": random_adapter(made.config, rank, seed) for seed, rank in enumerate((1, 16, 40))}
    requests = [asked(i, name, prompt) for i, prompt in enumerate(PROMPTS) for name in ("", *adapters)]
    torchs = drive(engine_with(made, adapters, rows=1), requests) if kind in ("fp32", "biased") else {}
    step.make(made)
    engine = engine_with(made, adapters)
    together = drive(engine, requests, every=2)
    again = engine_with(made, adapters, rows=1)
    for request in reversed(requests):
        alone = drive(again, [request])[request.id]
        assert ids(together[request.id]) == ids(alone)
        assert logprobs(together[request.id]) == pytest.approx(logprobs(alone), abs=2e-6)
        if torchs:
            assert ids(alone) == ids(torchs[request.id]), request.id
            assert logprobs(alone) == pytest.approx(logprobs(torchs[request.id]), abs=5e-3)


def test_the_packed_copy_of_an_adapter_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made, adapter = base(LLAMA), random_adapter(LLAMA, 3, 1)
    assert step.adapter_memory(made, adapter) == 0, "torch reads the adapter itself"
    monkeypatch.setitem(step._under_way, made, threading.Thread())
    kept = [t for t in step.pack_adapter(adapter).owners if isinstance(t, torch.Tensor) and t is not adapter.soft]
    assert step.adapter_memory(made, adapter) == sum(t.nbytes for t in kept) > adapter.bytes


def test_an_adapter_of_some_parts_only(tmp_path: Path) -> None:
    lora(LLAMA, 1, 4, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    kept = {n: t for n, t in tensors.items() if "q_proj" in n or "v_proj" in n}
    kept |= {n: torch.randn(t.shape) for n, t in kept.items() if "v_proj.lora_A" in n}  # an A of its own
    save_file(kept, tmp_path / "adapter_model.safetensors")
    a, b = read_adapter(tmp_path, LLAMA).changes[1]["qkv"]
    change = b @ a
    stem = "base_model.model.model.layers.1.self_attn."
    parts = [2.0 * kept[f"{stem}{p}.lora_B.weight"] @ kept[f"{stem}{p}.lora_A.weight"] for p in ("q_proj", "v_proj")]
    torch.testing.assert_close(change[:32], parts[0])
    torch.testing.assert_close(change[48:], parts[1])
    assert not change[32:48].any()
    assert set(read_adapter(tmp_path, LLAMA).changes[0]) == {"qkv"}


def test_bad_adapters_are_one_clear_line(tmp_path: Path) -> None:
    lora(LLAMA, 1, 4, tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    second = first.replace("lora_A", "lora_B")

    def refused(why: str, change: dict[str, object] | None = None, **weights: torch.Tensor | None) -> None:
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | (change or {})))
        save_file(
            {n: t for n, t in (tensors | weights).items() if t is not None}, tmp_path / "adapter_model.safetensors"
        )
        with pytest.raises(UserError, match=why) as said:
            read_adapter(tmp_path, LLAMA)
        assert "\n" not in str(said.value)

    refused("r is 0", {"r": 0})
    refused("belongs to another model", {"r": 5})
    refused("belongs to another model", **{first: torch.zeros(4, 31)})
    refused("only one of lora_A", **{first: None})
    refused("no finite numbers", **{first: torch.full((4, 32), float("nan"))})
    refused("layers.7.* has no place", **{first.replace("layers.0", "layers.7"): torch.zeros(4, 32)})
    refused("lm_head.* has no place", **{"base_model.model.lm_head.lora_A.weight": torch.zeros(4, 32)})
    refused("float8_e4m3fn; F32", **{first: torch.zeros(4, 32).to(torch.float8_e4m3fn)})
    refused("float8_e5m2; F32", **{first: torch.zeros(4, 32).to(torch.float8_e5m2)})
    for alpha in (10**400, 1e39, float("inf"), "16"):
        refused("lora_alpha is .* one that fp32 holds", {"lora_alpha": alpha})
    refused("change of block 0 is no finite number", {"lora_alpha": 3e38}, **{second: torch.full((32, 4), 100.0)})
    refused("peft_type is 'IA3'", {"peft_type": "IA3"})
    refused("use_dora is True", {"use_dora": True})
    for init in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "new"):
        refused(f"init_lora_weights is '{init}'", {"init_lora_weights": init})
    refused("alora_invocation_tokens is", {"alora_invocation_tokens": [1, 2]})
    refused("alora_invocation_tokens is", {"alora_invocation_tokens": []})
    refused("lora_bias is True", {"lora_bias": True})
    refused("target_parameters is", {"target_parameters": ["mlp.experts"]})
    refused("one tensor, prompt_embeddings", {"peft_type": "PROMPT_TUNING"})
    (tmp_path / "adapter_config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="not JSON"):
        read_adapter(tmp_path, LLAMA)
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        read_adapter(tmp_path, LLAMA)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match="pickled weights can run code"):
        read_adapter(tmp_path, LLAMA)
    with pytest.raises(UserError, match="no adapter here"):
        read_adapter(tmp_path / "none", LLAMA)
    soft(LLAMA, 4, tmp_path / "soft")
    with pytest.raises(UserError, match="the base is 16 wide: it belongs to another model"):
        read_adapter(tmp_path / "soft", DecoderConfig(d_model=16, n_head=2))


def test_names_and_use(tmp_path: Path) -> None:
    adapter, _ = lora(LLAMA, 1, 4, tmp_path)
    engine = engine_with(base(LLAMA), {})
    with pytest.raises(UserError, match=r"no adapter 'x' is loaded; none is"):
        engine.add(asked(0, "x", (1,)))
    engine.add_adapter("one", adapter)
    with pytest.raises(UserError, match="did you mean 'one'"):
        engine.add(asked(0, "ones", (1,)))
    with pytest.raises(UserError, match="the name is taken"):
        engine.add_adapter("one", adapter)
    engine.add(asked(0, "one", (1,)))
    with pytest.raises(UserError, match="let them finish"):
        engine.remove_adapter("one")
    assert engine.cancel("one 0")
    engine.remove_adapter("one")
    wide, _ = soft(LLAMA, 159, tmp_path / "soft")
    engine.add_adapter("wide", wide)
    with pytest.raises(UserError, match="the prompt has 163 with 159 of the soft prompt"):
        engine.add(asked(0, "wide", (1, 2, 3, 4)))
    with pytest.raises(UserError, match="the model has 2"):
        engine.add_adapter("deep", Adapter(adapter.changes * 2))
