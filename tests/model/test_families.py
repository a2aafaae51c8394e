"""Random tiny models of every family: our logits are transformers', and our folders load there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, attend_rows
from kaiwa.model.families.by_name import ARCHITECTURES, family_of
from kaiwa.model.families.by_name import FAMILIES as FAMILY_RECORDS
from kaiwa.model.families.llama import LLAMA
from kaiwa.model.families.qwen3 import QWEN3
from kaiwa.model.formats.hf_folder import load_decoder, read_config, save_model
from kaiwa.text.sampling import Sampling

transformers = pytest.importorskip("transformers")
SHAPE = {
    "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 10000.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16,
    "beta_fast": 4.0, "beta_slow": 1.0,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama 3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
    "llama, biases": ("Llama", {"attention_bias": True}),
    "mistral": ("Mistral", {"sliding_window": 24, "head_dim": 16}),
    "qwen2": ("Qwen2", {}),
    "qwen2, yarn": ("Qwen2", {"rope_parameters": YARN}),
    "llama, yarn": ("Llama", {"rope_parameters": YARN | {"attention_factor": 1.5}, "head_dim": 16}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "gemma3": (
        "Gemma3Text",
        {"head_dim": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 7, "sliding_window": 64},
    ),
    "phi3": ("Phi3", {"pad_token_id": 0}),
    "gpt2": ("GPT2", {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
}


def theirs(name: str) -> Any:
    family, more = FAMILIES[name]
    config = getattr(transformers, f"{family}Config")(**(more if family == "GPT2" else SHAPE | more))
    torch.manual_seed(0)
    model = getattr(
        transformers, "GPT2LMHeadModel" if family == "GPT2" else f"{family.removesuffix('Text')}ForCausalLM"
    )
    model = model(config).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.normal_(1.0 if "norm" in n or "ln_" in n else 0.0, 0.3 if p.ndim == 1 else 0.2)
    return model


def logits(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    return decoder.logits(decoder(ids, positions, attend_rows(None)))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_logits_are_transformers(name: str, tmp_path: Path) -> None:
    model = theirs(name)
    model.save_pretrained(tmp_path / "a")
    ours = load_decoder(tmp_path / "a").eval()
    T = 24 if name == "mistral" else 40
    assert ours.config.max_length == (24 if name == "mistral" else 64)  # no further than the sliding window
    ids = torch.randint(0, 90, (2, T), generator=torch.Generator().manual_seed(1))
    expected = model(ids).logits
    assert expected.std() > 0.5
    assert torch.allclose(logits(ours, ids), expected, atol=1e-4)
    assert sum(p.numel() for p in {id(p): p for p in ours.parameters()}.values()) == ours.config.n_parameters
    # what we write of it, they read
    save_model(tmp_path / "b", ours, {"eos_token_id": 0}, torch.float32)
    auto = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "b").eval()
    assert torch.allclose(auto(ids).logits, expected, atol=1e-4)
    assert read_config(tmp_path / "b") == ours.config
    # the engine's cached steps see the same model
    (answer,) = Engine(ours).generate([ids[0, :8].tolist()], Sampling(max_tokens=8, temperature=0))
    text = torch.tensor([[*ids[0, :8].tolist(), *answer.ids]])
    assert logits(ours, text)[0, 7:-1].argmax(-1).tolist() == list(answer.ids)


def test_what_is_not_computed_is_refused(tmp_path: Path) -> None:
    model = theirs("llama")
    model.save_pretrained(tmp_path)
    good = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "rope scaling 'longrope'"),
        ({"architectures": ["MyForCausalLM"], "auto_map": {"AutoModel": "x.py"}}, "never run"),
        ({"hidden_size": "big"}, "'hidden_size' is 'big'"),
        ({"hidden_size": 10**12}, "from 1 to"),
        ({"num_hidden_layers": 3}, "tensor model.layers.2.*missing"),
        ({"num_hidden_layers": 1}, "have no place in this model, the first is model.layers.1"),
        ({"intermediate_size": 47}, "config.json says"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(good | change))
        with pytest.raises(UserError, match=message):
            load_decoder(tmp_path)
    del good["rms_norm_eps"]
    (tmp_path / "config.json").write_text(json.dumps(good))
    with pytest.raises(UserError, match="'rms_norm_eps' is missing"):
        load_decoder(tmp_path)


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False"),
        ("gemma3", {"query_pre_attn_scalar": 168}, "query_pre_attn_scalar is 168"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ("gemma3", {"layer_types": ["full_attention"] * 7}, "layer_types is not one full_attention in 6 layers"),
        ("gemma3", {"rope_parameters": {"sliding_attention": {"rope_theta": 7.0}}}, "theta is 7.0"),
        ("phi3", {"partial_rotary_factor": 0.75}, "partial_rotary_factor is 0.75"),
        ("phi3", {"rope_parameters": {"rope_type": "longrope"}}, "rope scaling 'longrope'"),
    ],
)
def test_flags_that_are_not_computed_are_refused_by_name(
    family: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    theirs(family).config.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    name = {"gpt2": "GPT2LMHeadModel", "gemma3": "Gemma3ForCausalLM", "phi3": "Phi3ForCausalLM"}[family]
    file.write_text(json.dumps(config | {"architectures": [name]} | change))
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


def test_every_family_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8").casefold().replace("-", "")
    assert [family.model_type for family in FAMILY_RECORDS if family.model_type not in page] == []


def test_a_record_is_all_that_a_reader_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json
    from dataclasses import replace

    theirs("qwen3").save_pretrained(tmp_path)
    expected = read_config(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {"architectures": ["ToyForCausalLM"]}))
    with pytest.raises(UserError, match="'ToyForCausalLM' is unknown"):
        read_config(tmp_path)
    monkeypatch.setitem(ARCHITECTURES, "ToyForCausalLM", replace(QWEN3, architecture="ToyForCausalLM"))
    assert read_config(tmp_path) == expected
    assert load_decoder(tmp_path).config.qk_norm


def test_a_family_may_name_its_tensors_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Phi-3 does: LLaMA's arithmetic, query, key and value in one tensor, gate and up in another."""
    import json
    from dataclasses import replace

    from safetensors.torch import load_file, save_file

    model = theirs("llama")
    model.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {"architectures": ["ToyForCausalLM"]}))
    tensors = load_file(tmp_path / "model.safetensors")
    for layer in range(2):
        head = f"model.layers.{layer}."
        qkv = [tensors.pop(f"{head}self_attn.{x}_proj.weight") for x in "qkv"]
        up = [tensors.pop(f"{head}mlp.{x}_proj.weight") for x in ("gate", "up")]
        tensors |= {f"{head}self_attn.qkv_proj.weight": torch.cat(qkv), f"{head}mlp.gate_up_proj.weight": torch.cat(up)}
    save_file(tensors, tmp_path / "model.safetensors")
    fused = {"qkv": ("self_attn.qkv_proj",), "up": ("mlp.gate_up_proj",)}
    toy = replace(LLAMA, architecture="ToyForCausalLM", tensors=LLAMA.tensors | fused)  # type: ignore[operator]
    monkeypatch.setitem(ARCHITECTURES, "ToyForCausalLM", toy)
    ids = torch.arange(20)[None]
    assert torch.allclose(logits(load_decoder(tmp_path).eval(), ids), model(ids).logits, atol=1e-4)


def test_the_written_family_has_the_models_flags() -> None:
    for family in FAMILY_RECORDS:
        config = DecoderConfig(**family.flags)
        assert family_of(config).has(config)
        assert family_of(config).flags == family.flags
