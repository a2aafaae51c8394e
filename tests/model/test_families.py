"""Random tiny models of every family: our logits are transformers', and our folders load there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
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
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen2, window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "qwen2, yarn": ("Qwen2", {"rope_parameters": YARN}),
    "llama, yarn": ("Llama", {"rope_parameters": YARN | {"attention_factor": 1.5}, "head_dim": 16}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "gemma3": (
        "Gemma3Text",
        {"head_dim": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 7, "sliding_window": 8},
    ),
    "gemma3, another scale": ("Gemma3Text", {"head_dim": 16, "query_pre_attn_scalar": 21, "sliding_window": 8}),
    "gemma2": ("Gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 3, "sliding_window": 8}),
    "gemma2, another scale": ("Gemma2", {"head_dim": 8, "query_pre_attn_scalar": 21, "final_logit_softcapping": None}),
    "phi3": ("Phi3", {"pad_token_id": 0}),
    "phi3, window": ("Phi3", {"pad_token_id": 0, "sliding_window": 9}),
    "phi4": ("Phi3", {"pad_token_id": 0, "partial_rotary_factor": 0.5, "tie_word_embeddings": True}),
    "phi3, longrope": (
        "Phi3",
        {
            "pad_token_id": 0,
            "original_max_position_embeddings": 64,
            "max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.1, 1.3, 2.0],
                "long_factor": [1.0, 2.0, 4.0, 8.0],
            },
        },
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5, "pad_token_id": 0}),
    "smollm3, own layers": ("SmolLM3", {"num_hidden_layers": 3, "no_rope_layers": [0, 1, 1], "pad_token_id": 0}),
    "granite": (
        "Granite",
        {"embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "olmo2": ("Olmo2", {}),
    "gpt-neox": ("GPTNeoX", {"num_key_value_heads": 4}),
    "gpt-neox, one after the other": (
        "GPTNeoX",
        {"num_key_value_heads": 4, "use_parallel_residual": False, "rotary_pct": 1.0, "hidden_act": "gelu_new"},
    ),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "mixtral, window": ("Mixtral", {"num_local_experts": 4, "sliding_window": 9}),
    "qwen3 moe": (
        "Qwen3Moe",
        {"head_dim": 16, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24},
    ),
    "qwen3 moe, normalised": (
        "Qwen3Moe",
        {
            "head_dim": 8,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
        },
    ),
    "gpt2": ("GPT2", {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt2, erf": (
        "GPT2",
        {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "activation_function": "gelu"},
    ),
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
    assert ours.config.max_length == 64
    ids = torch.randint(0, 90, (2, 40), generator=torch.Generator().manual_seed(1))
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
    lengths = (8, 14, 30)
    prompts = [ids[0, :n].tolist() for n in lengths]
    answers = Engine(ours).generate(prompts, Sampling(max_tokens=8, temperature=0))
    for n, prompt, answer in zip(lengths, prompts, answers, strict=True):
        text = torch.tensor([[*prompt, *answer.ids]])
        assert logits(ours, text)[0, n - 1 : -1].argmax(-1).tolist() == list(answer.ids)


def test_what_is_not_computed_is_refused(tmp_path: Path) -> None:
    model = theirs("llama")
    model.save_pretrained(tmp_path)
    good = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, "rope scaling 'dynamic'"),
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
        ("gemma3", {"layer_types": ["chunked_attention"] * 7}, "layer_types has 'chunked_attention'"),
        ("gemma3", {"layer_types": ["full_attention"] * 3}, "layer_types has 3 long for 7 layers"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("gemma2", {"query_pre_attn_scalar": -2}, "query_pre_attn_scalar is -2"),
        ("phi3", {"rope_parameters": {"partial_rotary_factor": 0.2}}, "even head size, got 1"),
        ("phi3", {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0]}}, "1 divisors for 4 frequencies"),
        ("qwen3 moe", {"decoder_sparse_step": 2}, "decoder_sparse_step is 2"),
        ("qwen3 moe", {"mlp_only_layers": [0]}, r"mlp_only_layers is \[0\]"),
        ("mixtral", {"num_experts_per_tok": 9}, "9 of 4 experts are active"),
        ("smollm3", {"no_rope_layers": [1, 2]}, "no_rope_layers must be 5 numbers"),
        ("smollm3", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("gpt-neox", {"rotary_pct": 0.01, "rope_parameters": None}, "no dimension of a head of 8"),
        ("granite", {"logits_scaling": 0}, "logits_scaling 0"),
    ],
)
def test_flags_that_are_not_computed_are_refused_by_name(
    family: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    theirs(family).config.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    name = f"{FAMILIES[family][0].removesuffix('Text')}{'LMHeadModel' if family == 'gpt2' else 'ForCausalLM'}"
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
