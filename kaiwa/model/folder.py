"""Model folders: Hugging Face's layout, so that transformers and vLLM load what we publish, and we what they do.

LLaMA dialect <-> LlamaForCausalLM, GPT-3 dialect <-> GPT2LMHeadModel, reward models <-> ...ForSequenceClassification
with one label (`score` has no bias there: ours is `kaiwa_score_bias` in config.json). safetensors only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.heads import ScalarModel

WEIGHTS = "model.safetensors"
LLAMA_LIKE = ("LlamaForCausalLM", "LlamaForSequenceClassification")
GPT2_LIKE = ("GPT2LMHeadModel", "GPT2ForSequenceClassification")


def save_model(folder: Path, model: Decoder | ScalarModel, special: dict[str, int], dtype: torch.dtype) -> None:
    """Writes config.json and model.safetensors. `special`: bos/eos/pad token ids for config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    scalar = isinstance(model, ScalarModel)
    decoder = model.decoder if isinstance(model, ScalarModel) else model
    tensors = to_hf(decoder.config, decoder.state_dict(), scalar)
    config = hf_config(decoder.config, scalar) | special | {"torch_dtype": str(dtype).removeprefix("torch.")}
    if isinstance(model, ScalarModel):
        tensors["score.weight"] = model.score.weight
        config["kaiwa_score_bias"] = float(model.bias)
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_decoder(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    config = read_config(folder)
    model = Decoder(config)
    state = from_hf(config, read_tensors(folder))
    _load(model, {k: v for k, v in state.items() if k != "score.weight"}, folder)
    return model.to(dtype)


def load_scalar(folder: Path, dtype: torch.dtype = torch.float32) -> ScalarModel:
    """A reward model from its folder (the head and its bias included)."""
    config = read_config(folder)
    model = ScalarModel(Decoder(config))
    tensors = read_tensors(folder)
    if "score.weight" not in tensors:
        raise UserError(f"{folder}: has no scalar head (score.weight); give a reward model's folder")
    with torch.no_grad():
        model.score.weight.copy_(tensors.pop("score.weight"))
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model.bias.fill_(raw.get("kaiwa_score_bias", 0.0))
    _load(model.decoder, from_hf(config, tensors), folder)
    return model.to(dtype)


def read_config(folder: Path) -> DecoderConfig:
    """The shape from config.json; a UserError names an architecture we do not have."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder}: no config.json; give a Hugging Face model folder or a .gguf file")
    raw = json.loads(file.read_text(encoding="utf-8"))
    name = (raw.get("architectures") or ["?"])[0]
    if name in LLAMA_LIKE:
        return DecoderConfig(
            dialect="llama",
            vocab_size=raw["vocab_size"],
            d_model=raw["hidden_size"],
            n_layer=raw["num_hidden_layers"],
            n_head=raw["num_attention_heads"],
            n_kv_head=raw.get("num_key_value_heads") or 0,
            d_ff=raw["intermediate_size"],
            max_length=raw["max_position_embeddings"],
            rope_theta=(raw.get("rope_parameters") or {}).get("rope_theta", raw.get("rope_theta", 10000.0)),
            norm_eps=raw["rms_norm_eps"],
            tie_embeddings=raw.get("tie_word_embeddings", False),
        )
    if name in GPT2_LIKE:
        return DecoderConfig(
            dialect="gpt3",
            vocab_size=raw["vocab_size"],
            d_model=raw["n_embd"],
            n_layer=raw["n_layer"],
            n_head=raw["n_head"],
            d_ff=raw.get("n_inner") or 4 * raw["n_embd"],
            max_length=raw["n_positions"],
            norm_eps=raw["layer_norm_epsilon"],
        )
    raise UserError(f"{folder}: architecture {name!r} is unknown; there is {', '.join(LLAMA_LIKE + GPT2_LIKE)}")


def hf_config(config: DecoderConfig, scalar: bool) -> dict[str, Any]:
    c, kind = config, "ForSequenceClassification" if scalar else None
    labels = {"num_labels": 1, "id2label": {"0": "reward"}, "label2id": {"reward": 0}} if scalar else {}
    if c.dialect == "llama":
        return labels | {
            "architectures": ["Llama" + (kind or "ForCausalLM")],
            "model_type": "llama",
            "vocab_size": c.vocab_size,
            "hidden_size": c.d_model,
            "num_hidden_layers": c.n_layer,
            "num_attention_heads": c.n_head,
            "num_key_value_heads": c.kv_heads,
            "intermediate_size": c.d_ff,
            "max_position_embeddings": c.max_length,
            "rope_theta": c.rope_theta,
            "rms_norm_eps": c.norm_eps,
            "tie_word_embeddings": c.tie_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
        }
    return labels | {
        "architectures": ["GPT2" + (kind or "LMHeadModel")],
        "model_type": "gpt2",
        "vocab_size": c.vocab_size,
        "n_embd": c.d_model,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
        "n_inner": c.d_ff,
        "n_positions": c.max_length,
        "layer_norm_epsilon": c.norm_eps,
        "activation_function": "gelu_new",
        "tie_word_embeddings": c.tie_embeddings,
    }


def to_hf(config: DecoderConfig, state: dict[str, Tensor], scalar: bool) -> dict[str, Tensor]:
    """Our names and fused products as Hugging Face's names (GPT-2 keeps its products transposed)."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "unembed.weight":
            if not config.tie_embeddings and not scalar:
                out["lm_head.weight"] = tensor
        elif config.dialect == "llama":
            out.update(_llama_out(config, name, tensor))
        else:
            out["transformer." + _gpt2_name(name)] = (
                tensor.T if name.startswith("blocks") and tensor.ndim == 2 else tensor
            )
    return out


def from_hf(config: DecoderConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names as ours; missing parts are a UserError that names them."""
    state: dict[str, Tensor] = {}
    try:
        if config.dialect == "llama":
            state["embed.weight"] = tensors["model.embed_tokens.weight"]
            state["norm.weight"] = tensors["model.norm.weight"]
            for i in range(config.n_layer):
                p, q = f"model.layers.{i}.", f"blocks.{i}."
                heads = [tensors[f"{p}self_attn.{n}_proj.weight"] for n in "qkv"]
                state[q + "qkv.weight"] = torch.cat(heads)
                state[q + "out.weight"] = tensors[p + "self_attn.o_proj.weight"]
                state[q + "up.weight"] = torch.cat([tensors[f"{p}mlp.{n}_proj.weight"] for n in ("gate", "up")])
                state[q + "down.weight"] = tensors[p + "mlp.down_proj.weight"]
                state[q + "norm_attn.weight"] = tensors[p + "input_layernorm.weight"]
                state[q + "norm_mlp.weight"] = tensors[p + "post_attention_layernorm.weight"]
        else:
            for ours in Decoder(_one_layer(config)).state_dict():
                layers = range(config.n_layer) if ours.startswith("blocks.0.") else [0]
                for i in layers:
                    name = ours.replace("blocks.0.", f"blocks.{i}.")
                    if name == "unembed.weight":
                        continue
                    theirs = tensors.get("transformer." + _gpt2_name(name), tensors.get(_gpt2_name(name)))
                    if theirs is None:
                        raise KeyError(_gpt2_name(name))
                    state[name] = theirs.T if name.startswith("blocks") and theirs.ndim == 2 else theirs
    except KeyError as missing:
        raise UserError(f"{WEIGHTS}: tensor {missing} is missing; the file does not fit its config.json") from None
    state["unembed.weight"] = (
        state["embed.weight"] if config.tie_embeddings else tensors.get("lm_head.weight", state["embed.weight"])
    )
    return state


def _one_layer(config: DecoderConfig) -> DecoderConfig:
    return DecoderConfig(dialect=config.dialect, vocab_size=1, d_model=2, n_layer=1, n_head=1, d_ff=1, max_length=1)


def _llama_out(config: DecoderConfig, name: str, tensor: Tensor) -> dict[str, Tensor]:
    if name in ("embed.weight", "norm.weight"):
        return {{"embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}[name]: tensor}
    _, layer, part = name.split(".", 2)
    p = f"model.layers.{layer}."
    if part == "qkv.weight":
        kv = config.kv_heads * config.d_head
        q, k, v = tensor.split([config.n_head * config.d_head, kv, kv])
        return {p + f"self_attn.{n}_proj.weight": t for n, t in zip("qkv", (q, k, v), strict=True)}
    if part == "up.weight":
        gate, up = tensor.chunk(2)
        return {p + "mlp.gate_proj.weight": gate, p + "mlp.up_proj.weight": up}
    names = {
        "out.weight": "self_attn.o_proj.weight",
        "down.weight": "mlp.down_proj.weight",
        "norm_attn.weight": "input_layernorm.weight",
        "norm_mlp.weight": "post_attention_layernorm.weight",
    }
    return {p + names[part]: tensor}


def _gpt2_name(name: str) -> str:
    for ours, theirs in (
        ("blocks.", "h."),
        ("norm_attn.", "ln_1."),
        ("norm_mlp.", "ln_2."),
        ("qkv.", "attn.c_attn."),
        ("out.", "attn.c_proj."),
        ("up.", "mlp.c_fc."),
        ("down.", "mlp.c_proj."),
    ):
        name = name.replace(ours, theirs)
    return {"embed.weight": "wte.weight", "positions.weight": "wpe.weight", "norm.weight": "ln_f.weight",
            "norm.bias": "ln_f.bias"}.get(name, name)  # fmt: skip


def read_tensors(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{folder}: no .safetensors file (pickled weights are refused: they can run code)")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors.update(load_file(file))
        except SafetensorError as error:
            raise UserError(f"{file}: damaged or no safetensors file ({error})") from None
    return tensors


def _load(model: Decoder, state: dict[str, Tensor], folder: Path) -> None:
    for name, parameter in model.state_dict().items():
        if name not in state:
            raise UserError(f"{folder / WEIGHTS}: tensor for {name} is missing")
        if state[name].shape != parameter.shape:
            raise UserError(
                f"{folder / WEIGHTS}: {name} is {tuple(state[name].shape)}, config.json says {tuple(parameter.shape)}"
            )
    model.load_state_dict(state, strict=False)
