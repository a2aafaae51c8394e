"""Writing of a GGUF file (the format of llama.cpp and Ollama), by the `gguf` library's writer.

LLaMA's query and key rows are reordered for llama.cpp, which rotates neighbouring pairs; Qwen's and GPT-2's rows stay.
As in llama.cpp's own converter, the blocks' matrices have the type `kind`, embedding and unembedding at least 8 bits,
and norms and biases fp32.
"""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.by_name import family_of
from kaiwa.model.families.config_fields import yarn_scale
from kaiwa.model.families.family import Family
from kaiwa.model.formats.gguf import TOP, gguf_names
from kaiwa.model.formats.hf_names import sizes_of
from kaiwa.model.rotary import rotary_frequencies
from kaiwa.tokenizer.pre_tokenizers import PATTERNS, pre_tokenizer
from kaiwa.tokenizer.tokenizer import Tokenizer

Kind = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]
KINDS: tuple[Kind, ...] = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}
NEAREST = "qwen2"  # used for a split of text without a name in llama.cpp: letters, single digits, marks
NORMAL, CONTROL, USER, UNUSED = 1, 3, 4, 5  # llama.cpp's kinds of token


def gguf_family(config: DecoderConfig) -> Family:
    """Return the family for writing a model. UserError if GGUF has no architecture for the model."""
    if config.dialect == "llama" and config.out_bias:
        raise UserError("GGUF has no family with biases on the attention's output; export for transformers instead")
    family = family_of(config)
    if family.gguf == "gpt2" and config.activation:
        raise UserError("GGUF's gpt2 has GELU by tanh only; export for transformers instead")
    windows = "attention.sliding_window" in family.write_gguf(config)
    if not family.gguf or (config.window and not windows):
        raise UserError(f"GGUF has no field for the window of {family.model_type}; export for transformers instead")
    if config.rope.kind == "longrope":
        raise UserError("the divisors of longrope are not written to GGUF; export for transformers instead")
    return family


def write_gguf(path: Path, decoder: Decoder, tokenizer: Tokenizer, name: str, kind: Kind) -> None:
    """Write a decoder with dense weights (4-bit layers already expanded). UserError if GGUF cannot hold the model.

    A tokenizer whose split has no name in GGUF is written as `NEAREST`; `split_as` counts the changed tokens.
    """
    import gguf

    config, family = decoder.config, gguf_family(decoder.config)
    writer = gguf.GGUFWriter(path, family.gguf)
    try:
        _write_shape(writer, config, family, name, kind)
        _write_tokenizer(writer, tokenizer, config.vocab_size)
        for theirs, tensor in tensors_of(decoder, family):
            _add_tensor(writer, theirs, tensor, kind)
        if config.rope.kind == "llama3":
            plain = rotary_frequencies(DecoderConfig(d_model=config.d_head, n_head=1, rope_theta=config.rope_theta))
            _add_tensor(writer, "rope_freqs.weight", plain / rotary_frequencies(config), "F32")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _write_shape(writer: Any, c: DecoderConfig, family: Family, name: str, kind: str) -> None:
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_context_length(c.max_length)
    writer.add_embedding_length(c.d_model)
    writer.add_block_count(c.n_layer)
    writer.add_feed_forward_length(c.d_ff)
    writer.add_head_count(c.n_head)
    for field, value in family.write_gguf(c).items():
        add = writer.add_bool if isinstance(value, bool) else writer.add_uint32 if isinstance(value, int) else None
        (add or writer.add_float32)(f"{family.gguf}.{field}", value)
    if c.dialect == "gpt3":
        writer.add_layer_norm_eps(c.norm_eps)
        return
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.rotated)
    if c.head_size:
        writer.add_key_length(c.d_head)
        writer.add_value_length(c.d_head)
    if family.gguf == "llama":
        writer.add_vocab_size(c.vocab_size)
    if c.rope.kind == "linear":
        writer.add_rope_scaling_type(_scaling("linear"))
        writer.add_rope_scaling_factor(c.rope.factor)
    if c.rope.kind == "yarn":
        writer.add_rope_scaling_type(_scaling("yarn"))
        writer.add_rope_scaling_factor(c.rope.factor)
        writer.add_rope_scaling_orig_ctx_len(c.rope.original_length)
        scaling = f"{family.gguf}.rope.scaling"
        writer.add_float32(f"{scaling}.attn_factor", c.rope.attention / yarn_scale(c.rope.factor, 1.0))
        writer.add_float32(f"{scaling}.yarn_beta_fast", c.rope.high_factor)
        writer.add_float32(f"{scaling}.yarn_beta_slow", c.rope.low_factor)


def _scaling(kind: str) -> Any:
    import gguf

    return gguf.RopeScalingType(kind)


def _write_tokenizer(writer: Any, tokenizer: Tokenizer, rows: int) -> None:
    """Write a byte-level BPE: tokens in GPT-2's alphabet, merges, types; rows beyond the vocabulary are padding."""
    model = json.loads(tokenizer.inner.to_str())["model"]
    if model.get("byte_fallback"):
        raise UserError("this model's tokenizer is SentencePiece's; only byte-level BPE is written to GGUF")
    vocab: dict[str, int] = tokenizer.inner.get_vocab(with_added_tokens=True)
    added = tokenizer.inner.get_added_tokens_decoder()
    specials = set(tokenizer.specials.values())
    tokens, kinds = [f"[PAD{i}]" for i in range(rows)], [UNUSED] * rows
    for text, id in vocab.items():
        if id >= rows:
            raise UserError(f"token {id} has no row among the model's {rows}")
        tokens[id] = text
        kinds[id] = CONTROL if id in specials else USER if id in added else NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_name(tokenizer) or NEAREST)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_eot_token_id(tokenizer.end_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_bos_token_id(tokenizer.document_end_id if tokenizer.bos_id is None else tokenizer.bos_id)
    writer.add_add_bos_token(tokenizer.bos_id is not None)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def pre_name(tokenizer: Tokenizer) -> str | None:
    """Return llama.cpp's name of the tokenizer's split of text, None if no known split is equal."""
    from tokenizers import Tokenizer as Inner
    from tokenizers import models

    def describe(pre: Any) -> Any:
        probe = Inner(models.BPE())
        probe.pre_tokenizer = pre
        return json.dumps(_bare(json.loads(probe.to_str())["pre_tokenizer"]), sort_keys=True)

    ours = describe(tokenizer.inner.pre_tokenizer)
    return next((name for name in PATTERNS if describe(pre_tokenizer(name)) == ours), None)


def split_as(tokenizer: Tokenizer, pre: str, sample: str) -> tuple[int, int]:
    """Return the number of a sample's tokens that change with another split, and the number of all tokens."""
    from tokenizers import Tokenizer as Inner

    other = Inner.from_str(tokenizer.inner.to_str())
    other.pre_tokenizer = pre_tokenizer(pre)
    other.encode_special_tokens = True
    ours, theirs = tokenizer.encode(sample), other.encode(sample, add_special_tokens=False).ids
    same = sum(block.size for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks())
    return len(ours) - same, len(ours)


def _bare(value: Any) -> Any:
    """Return a pre-tokenizer's description without trim_offsets, which does not change the split."""
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items() if k != "trim_offsets"}
    return [_bare(v) for v in value] if isinstance(value, list) else value


def tensors_of(decoder: Decoder, family: Family) -> list[tuple[str, Tensor]]:
    """Return (llama.cpp's name, weight [...]) for all weights, with fused matrices split."""
    c, tensors = decoder.config, []
    for name, tensor in decoder.state_dict().items():
        head = name.rpartition(".")[0]
        if head == "unembed" and c.tie_embeddings:
            continue
        names = gguf_names(family, name)
        if head in TOP:
            tensors.append((names[0], tensor))
            continue
        pieces = [tensor] if len(names) == 1 else tensor.split(sizes_of(c, name))
        for theirs, piece in zip(names, pieces, strict=True):
            turn = family.gguf_pairs and any(f".attn_{n}." in theirs for n in "qk")
            tensors.append((theirs, pair_rows(piece, c.d_head) if turn else piece))
    return stack_experts(tensors)


def stack_experts(tensors: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Return the tensors [...] with those of a layer's experts (names that end in #0, #1, …) as one tensor each."""
    whole: dict[str, list[Tensor]] = {}
    for name, tensor in tensors:
        whole.setdefault(name.partition("#")[0], []).append(tensor)
    numbered = {name.partition("#")[0] for name, _ in tensors if "#" in name}
    return [(name, torch.stack(parts) if name in numbered else parts[0]) for name, parts in whole.items()]


def pair_rows(rows: Tensor, d_head: int) -> Tensor:
    """Reorder rows [out,...] of a query or key from halves to neighbouring pairs, the inverse of formats/gguf.py."""
    return rows.reshape(-1, 2, d_head // 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def _add_tensor(writer: Any, name: str, tensor: Tensor, kind: Kind) -> None:
    import gguf

    data: np.ndarray[Any, Any] = np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())
    chosen = kind_of(name, data.shape, kind)
    if chosen == "F32":
        writer.add_tensor(name, data)
        return
    quantization = gguf.GGMLQuantizationType[chosen]
    writer.add_tensor(name, gguf.quants.quantize(data, quantization), raw_dtype=quantization)


def kind_of(name: str, shape: tuple[int, ...], kind: Kind) -> Kind:
    """Return a tensor's type: F32 for vectors, at least 8 bits for tables, F16 for rows that are not whole blocks."""
    if len(shape) < 2 or name.startswith("position_embd"):
        return "F32"
    table = name.startswith(("token_embd", "output."))
    chosen: Kind = "Q8_0" if table and kind in ("Q4_0", "Q4_1") else kind
    blocks = chosen not in ("F32", "F16", "BF16")
    return "F16" if blocks and shape[-1] % 32 else chosen
