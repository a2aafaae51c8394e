"""Folders of embedding models: Hugging Face's BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet, and the files that
sentence-transformers writes beside them (modules.json, 1_Pooling, sentence_bert_config.json, prompts).

A folder without modules.json is pooled by the mean, as sentence-transformers does. What is not computed (a Dense module
after the pooling, another kind of position) is a UserError that names it. torch is imported only to read weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kaiwa.core.errors import UserError
from kaiwa.model.encoder_config import Activation, EncoderConfig, PoolingConfig, PoolingMode
from kaiwa.model.formats.hf_config import read_json

if TYPE_CHECKING:
    from torch import Tensor

    from kaiwa.model.encoder import TextEncoder

Json = Mapping[str, Any]
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
# What sentence-transformers calls a way of pooling: the newer field's value, and the older fields' names.
POOLING: dict[str, PoolingMode] = {"mean": "mean", "cls": "cls", "max": "max", "lasttoken": "last"}
OLDER = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "lasttoken": "lasttoken"}
OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of LayerNorm, in files of 2018


@dataclass(frozen=True, slots=True)
class EncoderLayout:
    """A family of encoders: its prefix in files of whole language models, its config's fields, its tensors' names.

    table, block: our name of a tensor (of block i) to theirs, without the last part.
    """

    prefix: str
    read: Callable[[Json], EncoderConfig]
    table: Mapping[str, str]
    block_prefix: str
    block: Mapping[str, str]

    def name(self, ours: str) -> str:
        """Return their name of our tensor, such as "blocks.0.q.weight"."""
        stem, _, last = ours.rpartition(".")
        if not stem.startswith("blocks."):
            return f"{self.table[stem]}.{last}"
        _, number, part = stem.split(".")
        return f"{self.block_prefix}.{number}.{self.block[part]}.{last}"


def _bert_config(raw: Json) -> EncoderConfig:
    return EncoderConfig(
        vocab_size=int(raw["vocab_size"]),
        d_model=int(raw["hidden_size"]),
        n_layer=int(raw["num_hidden_layers"]),
        n_head=int(raw["num_attention_heads"]),
        d_ff=int(raw["intermediate_size"]),
        n_positions=int(raw.get("max_position_embeddings", 512)),
        n_types=int(raw.get("type_vocab_size", 2)),
        activation=_activation(raw.get("hidden_act", "gelu")),
        norm_eps=float(raw.get("layer_norm_eps", 1e-12)),
        pad_id=int(raw.get("pad_token_id") or 0),
    )


def _roberta_config(raw: Json) -> EncoderConfig:
    """Return BERT's fields; a text's positions begin after the padding's id."""
    pad = int(raw.get("pad_token_id", 1))
    return EncoderConfig(**_fields(_bert_config(raw)) | {"first_position": pad + 1, "pad_id": pad})


def _mpnet_config(raw: Json) -> EncoderConfig:
    buckets = int(raw.get("relative_attention_num_buckets", 32))
    pad = int(raw.get("pad_token_id", 1))
    more = {"n_types": 0, "n_buckets": buckets, "pad_id": pad, "first_position": 2}  # fixed, whatever the padding's id
    return EncoderConfig(**_fields(_bert_config(raw)) | more)


def _distilbert_config(raw: Json) -> EncoderConfig:
    return EncoderConfig(
        vocab_size=int(raw["vocab_size"]),
        d_model=int(raw["dim"]),
        n_layer=int(raw["n_layers"]),
        n_head=int(raw["n_heads"]),
        d_ff=int(raw["hidden_dim"]),
        n_positions=int(raw.get("max_position_embeddings", 512)),
        activation=_activation(raw.get("activation", "gelu")),
        pad_id=int(raw.get("pad_token_id") or 0),
    )


def _fields(config: EncoderConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in EncoderConfig.__dataclass_fields__}


def _activation(name: object) -> Activation:
    if name not in ACTIVATIONS:
        raise UserError(f"activation {str(name)[:40]!r} is not computed; there is {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[str(name)]


_TABLE = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "distances": "encoder.relative_attention_bias",
    "norm": "embeddings.LayerNorm",
}
_FEED_FORWARD = {"up": "intermediate.dense", "down": "output.dense", "output_norm": "output.LayerNorm"}
_BERT_BLOCK = _FEED_FORWARD | {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
}
_MPNET_BLOCK = _FEED_FORWARD | {
    "q": "attention.attn.q",
    "k": "attention.attn.k",
    "v": "attention.attn.v",
    "out": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
}
_DISTILBERT_BLOCK = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "out": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
_BERT = EncoderLayout("bert.", _bert_config, _TABLE, "encoder.layer", _BERT_BLOCK)
_ROBERTA = EncoderLayout("roberta.", _roberta_config, _TABLE, "encoder.layer", _BERT_BLOCK)
_MPNET = EncoderLayout("mpnet.", _mpnet_config, _TABLE, "encoder.layer", _MPNET_BLOCK)
_DISTILBERT = EncoderLayout("distilbert.", _distilbert_config, _TABLE, "transformer.layer", _DISTILBERT_BLOCK)

ENCODERS: dict[str, EncoderLayout] = {
    f"{family}{head}": layout
    for family, layout in {
        "Bert": _BERT,
        "Roberta": _ROBERTA,
        "XLMRoberta": _ROBERTA,
        "Camembert": _ROBERTA,
        "MPNet": _MPNET,
        "DistilBert": _DISTILBERT,
    }.items()
    for head in ("Model", "ForMaskedLM")
}


def is_encoder(raw: Json) -> bool:
    """Return whether a config.json describes an encoder that is read here."""
    names = raw.get("architectures")
    return isinstance(names, list) and bool(names) and names[0] in ENCODERS


def read_encoder_config(folder: Path) -> EncoderConfig:
    """Read the shape of a folder's encoder. UserError for a missing field, or one that is not computed."""
    file = folder / "config.json"
    raw = read_json(file)
    if not is_encoder(raw):
        raise UserError(f"{file}: no encoder that is read here; there is {', '.join(ENCODERS)}")
    position, decodes = raw.get("position_embedding_type", "absolute"), raw.get("is_decoder")
    if position != "absolute" or decodes:
        field = "is_decoder" if decodes else f"position_embedding_type {str(position)[:40]!r}"
        raise UserError(f"{file}: {field} is not computed")
    try:
        return ENCODERS[raw["architectures"][0]].read(raw)
    except KeyError as missing:
        raise UserError(f"{file}: field {missing} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        what = str(error) if isinstance(error, UserError) else f"a field has the wrong type ({error})"
        raise UserError(f"{file}: {what}") from None


def read_pooling(folder: Path, config: EncoderConfig) -> PoolingConfig:
    """Read how a folder's hidden states become a vector. UserError for a module that is not computed."""
    mode, normalise = _read_modules(folder)
    sentence = _read_if_there(folder / "sentence_bert_config.json")
    limit = sentence.get("max_seq_length") or _read_if_there(folder / "tokenizer_config.json").get("model_max_length")
    if not isinstance(limit, int | float) or limit < 1:
        limit = config.max_length
    own = _read_if_there(folder / "config_sentence_transformers.json")
    prompts = own.get("prompts")
    texts = {str(k): v for k, v in prompts.items() if isinstance(v, str)} if isinstance(prompts, dict) else {}
    default = own.get("default_prompt_name")
    return PoolingConfig(
        mode=mode,
        normalise=normalise,
        max_length=int(min(limit, config.max_length)),  # transformers writes 1e30 for "not known"
        lowercase=sentence.get("do_lower_case") is True,
        prompts=texts,
        default_prompt=default if isinstance(default, str) and default in texts else "",
    )


def _read_if_there(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _read_modules(folder: Path) -> tuple[PoolingMode, bool]:
    """Return the way of pooling, and whether vectors are scaled to length 1."""
    file = folder / "modules.json"
    if not file.is_file():
        return "mean", True
    modules = _read_list(file)
    mode: PoolingMode | None = None
    normalise = False
    for module in modules:
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Normalize":
            normalise = True
        elif kind == "Pooling" and mode is None:
            mode = _read_mode(_inside(folder, path) / "config.json")
        elif kind != "Transformer" or path:
            raise UserError(f"{file}: module {kind[:40] or '?'} at {path[:40]!r} is not computed")
    if mode is None:
        raise UserError(f"{file}: no Pooling module, so there is a vector for each token and none for a text")
    return mode, normalise


def _read_list(file: Path) -> list[Json]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); copy the file again") from None
    if not isinstance(value, list) or not all(isinstance(module, dict) for module in value):
        raise UserError(f"{file}: a list of modules is expected")
    return value


def _inside(folder: Path, path: str) -> Path:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise UserError(f"{folder / 'modules.json'}: {path[:80]!r} leaves the folder")
    return folder / path


def _read_mode(file: Path) -> PoolingMode:
    raw = read_json(file)
    named = raw.get("pooling_mode")
    names = [named] if isinstance(named, str) else list(named) if isinstance(named, list) else []
    for field, value in raw.items():
        if field.startswith("pooling_mode_") and value is True:
            older = field.removeprefix("pooling_mode_")
            names.append(OLDER.get(older, older))
    names = list(dict.fromkeys(names))
    if len(names) != 1 or names[0] not in POOLING:
        text = ", ".join(map(str, names))[:80] or "nothing"
        raise UserError(f"{file}: pooling by {text} is not computed; one of {', '.join(POOLING)} is")
    if raw.get("include_prompt") is False:
        raise UserError(f"{file}: pooling without the prompt's tokens (include_prompt) is not computed")
    return POOLING[names[0]]


def load_encoder(folder: Path) -> TextEncoder:
    """Load a folder's encoder in fp32, whole and checked: no missing, misshapen or non-finite tensor."""
    import torch

    from kaiwa.model.encoder import TextEncoder
    from kaiwa.model.formats.hf_folder import check_state, copy_contiguous, read_tensors

    config = read_encoder_config(folder)
    layout = ENCODERS[read_json(folder / "config.json")["architectures"][0]]
    tensors = _plain_names(read_tensors(folder), layout.prefix)
    with torch.device("meta"):
        model = TextEncoder(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for ours in shapes:
        theirs = layout.name(ours)
        if theirs not in tensors:
            raise UserError(f"{folder}: tensor {theirs} is missing")
        state[ours] = tensors[theirs]
    try:
        check_state(state, shapes)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    whole = {name: copy_contiguous(tensor, torch.float32) for name, tensor in state.items()}
    model.load_state_dict(whole, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _plain_names(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return tensors by the names of a bare encoder."""
    plain = {}
    for name, tensor in tensors.items():
        stem, dot, last = name.removeprefix(prefix).rpartition(".")
        plain[stem + dot + OLD_NAMES.get(last, last)] = tensor
    return plain
