"""LoRA and soft prompts: nothing changes at the start, and merged is the same as not merged."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kaiwa.core.errors import UserError
from kaiwa.model.adapter import read_adapter
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig, ExpertsConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.hf_names import names_of, to_hf
from kaiwa.model.int4 import Codes, expand, make_linear, quantize_rtn
from kaiwa.model.lora import LoraLinear, add_lora, merge_lora, save_adapter
from kaiwa.model.soft_prompt import add_soft_prompt, least_likely, merge_soft_prompt

LLAMA = DecoderConfig(vocab_size=60, d_model=16, n_layer=2, n_head=4, n_kv_head=2, d_ff=24, max_length=32)
GPT3 = DecoderConfig(dialect="gpt3", vocab_size=60, d_model=16, n_layer=2, n_head=4, d_ff=24, max_length=32)
IDS = torch.randint(0, 60, (3, 9), generator=torch.Generator().manual_seed(0))


def logits(model: Decoder, ids: torch.Tensor) -> torch.Tensor:
    return model.logits(model(ids, torch.arange(ids.shape[1]).expand_as(ids), attend_rows(None)))


@pytest.mark.parametrize("config", [LLAMA, GPT3], ids=["llama", "gpt3"])
def test_lora_changes_nothing_at_first_and_merges_to_what_it_was(config: DecoderConfig, tmp_path: Path) -> None:
    model = make_decoder(config, 0)
    before, weights = logits(model, IDS), {n: t.clone() for n, t in model.state_dict().items()}
    add_lora(model, 3, 6.0, torch.Generator().manual_seed(1))
    assert torch.equal(logits(model, IDS), before)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4 * config.n_layer
    assert all(n.endswith((".a", ".b")) for n in trained)
    logits(model, IDS).logsumexp(-1).sum().backward()
    assert all(p.grad is None for n, p in model.named_parameters() if n not in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    apart = logits(model, IDS)
    assert not torch.allclose(apart, before, atol=0.1)
    save_adapter(tmp_path, model, "base")
    merge_lora(model)
    assert model.state_dict().keys() == weights.keys()
    torch.testing.assert_close(logits(model, IDS), apart, atol=1e-3, rtol=1e-3)
    settings, saved = (
        json.loads((tmp_path / "adapter_config.json").read_text()),
        load_file(tmp_path / "adapter_model.safetensors"),
    )
    old, new = to_hf(config, weights, False), to_hf(config, model.state_dict(), False)
    scale = settings["lora_alpha"] / settings["r"]
    for name in (n for n in weights if f"{n}".startswith("blocks.") and n.endswith(("qkv.weight", "down.weight"))):
        for theirs in names_of(config, name):  # what PEFT would add to each of Hugging Face's weights
            stem = f"base_model.model.{theirs.removesuffix('.weight')}"
            change = scale * saved[f"{stem}.lora_B.weight"] @ saved[f"{stem}.lora_A.weight"]
            change = change.T if settings["fan_in_fan_out"] else change
            torch.testing.assert_close(new[theirs] - old[theirs], change, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="rank 99"):
        add_lora(model, 99, 1.0, torch.Generator())


@pytest.mark.parametrize("config", [LLAMA, dataclasses.replace(LLAMA, tie_embeddings=False), GPT3])
def test_a_soft_prompt_is_rows_of_the_embedding(config: DecoderConfig) -> None:
    model = make_decoder(config, 0)
    add_soft_prompt(model, torch.tensor([5, 9]))
    soft = torch.cat((torch.tensor([[60, 61]]).expand(3, -1), IDS), dim=1)
    plain = torch.cat((torch.tensor([[5, 9]]).expand(3, -1), IDS), dim=1)
    assert torch.equal(logits(model, soft), logits(make_decoder(config, 0), plain))
    (trained,) = (p for p in model.parameters() if p.requires_grad)
    assert trained.shape == (2, 16)
    with torch.no_grad():
        trained.normal_(generator=torch.Generator().manual_seed(2))
    before = logits(model, soft)
    hidden = model(soft, torch.arange(11).expand_as(soft), attend_rows(None)).flatten(0, 1)
    unlikely = least_likely(model, hidden)
    highest = torch.log_softmax(before, -1).flatten(0, 1).amax(0)
    assert highest[unlikely] == highest.min()
    merged = merge_soft_prompt(model, unlikely)
    after = logits(merged, soft)
    assert merged.config.vocab_size == 62
    assert after.shape[-1] == 62
    torch.testing.assert_close(after[..., :60], before)
    torch.testing.assert_close(after[..., 60:], before[..., [unlikely, unlikely]])


def test_expanded_weights_are_those_of_the_4_bit_layer() -> None:
    model, dense = make_decoder(LLAMA, 0), make_decoder(LLAMA, 0)
    for part in ("qkv", "out", "up", "down"):
        weight = getattr(model.blocks[1], part).weight
        codes = Codes(*quantize_rtn(weight, 8))
        parts = [codes.rows(torch.arange(4)), weight[4:]] if part == "up" else [codes]  # one layer of two kinds
        setattr(model.blocks[1], part, make_linear(parts, None, torch.float32, False))
    packed = logits(model, IDS)
    assert all(isinstance(getattr(expand(model).blocks[1], part), torch.nn.Linear) for part in ("qkv", "up"))
    torch.testing.assert_close(logits(model, IDS), packed)
    assert not torch.allclose(packed, logits(dense, IDS), atol=1e-4)


@pytest.mark.parametrize("shape", [
    {"dialect": "gpt3", "rotary_size": 4, "parallel": True, "activation": "gelu_erf"},
    {"experts": ExpertsConfig(n_experts=4, n_active=2)},
    {"qk_norm": "all", "norms": "after"},
])  # fmt: skip
@torch.no_grad()
def test_an_adapter_of_every_layout_comes_back(shape: dict[str, Any], tmp_path: Path) -> None:
    """What was trained, merged and saved gives the same logits when it is read for the base."""
    config = DecoderConfig(vocab_size=40, d_model=32, n_layer=2, n_head=4, d_ff=48, max_length=32, **shape)
    base, trained = make_decoder(config, 0), make_decoder(config, 0)
    add_lora(trained, 3, 6.0, torch.Generator().manual_seed(0))
    for layer in trained.modules():
        if isinstance(layer, LoraLinear):
            layer.b.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(1))
    save_adapter(tmp_path, trained, "base")
    read = read_adapter(tmp_path, config)
    for number, changes in enumerate(read.changes):
        for part, (a, b) in changes.items():
            getattr(base.blocks[number], part).weight += b @ a
    merge_lora(trained)
    for name, tensor in trained.state_dict().items():
        assert torch.allclose(tensor, base.state_dict()[name], atol=1e-5), name
    assert len(read.changes[0]) == (2 if config.experts.n_experts else 4)


def test_an_adapter_of_fused_products_is_read_for_its_own_layout(tmp_path: Path) -> None:
    """PEFT names Phi-3's products as Phi-3 has them: one for query, key and value."""
    config = DecoderConfig(vocab_size=40, d_model=32, n_layer=1, n_head=4, n_kv_head=2, d_ff=48, max_length=32)
    a, b = torch.randn(2, 32), torch.randn(64, 2)
    stem = "base_model.model.model.layers.0.self_attn.qkv_proj"
    save_file({f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}, tmp_path / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 2, "target_modules": ["qkv_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    (changes,) = read_adapter(tmp_path, config).changes
    assert list(changes) == ["qkv"]
    assert torch.allclose(changes["qkv"][1] @ changes["qkv"][0], b @ a, atol=1e-5)
