"""GGUF files (llama.cpp's format), read with the `gguf` library: LLaMA architecture, byte-level BPE.

4-bit blocks stay at 4 bits where the machine has the kernel for them: Q4_1 is w = d*q + m, ours w = d*(q - 8) + z, so
z = m + 8d; Q4_0 has z = 0. Scales and zeros become bf16 (relative error 2e-3). Everything else becomes dense.

llama.cpp reorders the rows of query and key so that its rotary positions turn neighbouring pairs; ours turn one half of
a head against the other, so the order is undone here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_int4_kernel
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.int4 import Int4Linear, dequantize, replace_linear
from kaiwa.model.int8 import Int8Linear

FOUR_BIT = ("Q4_0", "Q4_1")
DENSE = ("F32", "F16", "BF16", "Q8_0")
BLOCK = 32


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a tokenizer is made from (Tokenizer.from_vocab_merges)."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    special: tuple[str, ...]
    pre: str
    eos: str
    pad: str
    bos: str
    chat_template: str | None
    add_bos: bool


@dataclass(frozen=True, slots=True)
class Codes:
    """A 4-bit tensor: codes [out,in] uint8, scales, zeros [out,in/32]."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor

    def rows(self, index: Tensor) -> Codes:
        return Codes(self.codes[index], self.scales[index], self.zeros[index])


class GgufFile:
    """An open file: `config`, `vocabulary()`, `decoder()`."""

    def __init__(self, path: Path) -> None:
        import gguf

        try:
            self._reader = gguf.GGUFReader(path)
        except (ValueError, IndexError, KeyError, OSError) as error:
            raise UserError(f"{path}: damaged or no GGUF file ({error})") from None
        self.path = path
        self._tensors = {t.name: t for t in self._reader.tensors}
        self.config = self._config()

    def _get(self, key: str, default: Any = None) -> Any:
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def _config(self) -> DecoderConfig:
        kind = self._get("general.architecture")
        if kind != "llama":
            raise UserError(f"{self.path}: architecture {kind!r}; only 'llama' is read")
        if any(f.startswith("llama.rope.scaling") for f in self._reader.fields):
            raise UserError(f"{self.path}: scaled rotary positions (llama.rope.scaling) are not read")

        def need(key: str) -> Any:
            value = self._get(f"llama.{key}")
            if value is None:
                raise UserError(f"{self.path}: llama.{key} is missing; the file is incomplete")
            return value

        heads = int(need("attention.head_count"))
        embedding = self._tensor("token_embd.weight")
        return DecoderConfig(
            dialect="llama",
            vocab_size=int(embedding.shape[1]),
            d_model=int(need("embedding_length")),
            n_layer=int(need("block_count")),
            n_head=heads,
            n_kv_head=int(self._get("llama.attention.head_count_kv", heads)),
            d_ff=int(need("feed_forward_length")),
            max_length=int(need("context_length")),
            rope_theta=float(self._get("llama.rope.freq_base", 10000.0)),
            norm_eps=float(need("attention.layer_norm_rms_epsilon")),
            tie_embeddings="output.weight" not in self._tensors,
        )

    def vocabulary(self) -> Vocabulary:
        """UserError for tokenizers that are not byte-level BPE."""
        model = self._get("tokenizer.ggml.model")
        if model != "gpt2":
            raise UserError(f"{self.path}: tokenizer {model!r}; only byte-level BPE ('gpt2') is read")
        tokens = tuple(self._get("tokenizer.ggml.tokens"))
        kinds = self._get("tokenizer.ggml.token_type", [1] * len(tokens))

        def named(role: str) -> str:
            id = self._get(f"tokenizer.ggml.{role}_token_id")
            return "" if id is None else tokens[int(id)]

        return Vocabulary(
            tokens=tokens,
            merges=tuple(self._get("tokenizer.ggml.merges", [])),
            special=tuple(t for t, kind in zip(tokens, kinds, strict=True) if kind in (2, 3)),  # unknown, control
            pre=str(self._get("tokenizer.ggml.pre", "gpt-2")),
            eos=named("eos"),
            pad=named("padding"),
            bos=named("bos"),
            chat_template=self._get("tokenizer.chat_template"),
            add_bos=bool(self._get("tokenizer.ggml.add_bos_token", False)),
        )

    def decoder(self, dtype: torch.dtype, kernel: bool | None = None) -> Decoder:
        """The model: 4-bit linears as Int4Linear, the rest in `dtype`."""
        c = self.config
        with torch.device("meta"):
            model = Decoder(c)
        state: dict[str, Tensor] = {
            "embed.weight": self._dense("token_embd.weight", dtype),
            "norm.weight": self._dense("output_norm.weight", dtype),
        }
        state["unembed.weight"] = state["embed.weight"] if c.tie_embeddings else self._dense("output.weight", dtype)
        linears: dict[str, Mapping[str, Codes | Tensor]] = {}
        for i in range(c.n_layer):
            ours, theirs = f"blocks.{i}.", f"blk.{i}."
            state[ours + "norm_attn.weight"] = self._dense(theirs + "attn_norm.weight", dtype)
            state[ours + "norm_mlp.weight"] = self._dense(theirs + "ffn_norm.weight", dtype)
            linears[ours + "qkv.weight"] = {
                "q": self._reordered(theirs + "attn_q.weight", c.n_head),
                "k": self._reordered(theirs + "attn_k.weight", c.kv_heads),
                "v": self._linear(theirs + "attn_v.weight"),
            }
            linears[ours + "out.weight"] = {"": self._linear(theirs + "attn_output.weight")}
            gate, up = self._linear(theirs + "ffn_gate.weight"), self._linear(theirs + "ffn_up.weight")
            linears[ours + "up.weight"] = {"gate": gate, "up": up}
            linears[ours + "down.weight"] = {"": self._linear(theirs + "ffn_down.weight")}
        for name, parts in linears.items():
            codes = [p for p in parts.values() if isinstance(p, Codes)]
            if len(codes) == len(parts):
                joined = [torch.cat([getattr(p, field) for p in codes]) for field in ("codes", "scales", "zeros")]
                replace_linear(model, name, Int4Linear.from_codes(*joined, dtype=dtype, kernel=kernel))
            else:
                state[name] = torch.cat([_weights(p) for p in parts.values()]).to(dtype)
        model.load_state_dict(state, strict=False, assign=True)
        if c.tie_embeddings:
            model.unembed.weight = model.embed.weight
            wanted = has_int4_kernel() if kernel is None else kernel
            if wanted and dtype == torch.bfloat16 and self._tensor("token_embd.weight").tensor_type.name == "Q8_0":
                model.unembed = Int8Linear(model.embed.weight)  # type: ignore[assignment]
        left = [name for name, parameter in model.named_parameters() if parameter.is_meta]
        if left:
            raise UserError(f"{self.path}: no tensor for {left[0]}; the file is incomplete")
        return model.requires_grad_(False).eval()

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise UserError(f"{self.path}: tensor {name} is missing; the file is incomplete")
        return self._tensors[name]

    def _linear(self, name: str) -> Codes | Tensor:
        tensor = self._tensor(name)
        if tensor.tensor_type.name in FOUR_BIT:
            return read_codes(np.ascontiguousarray(tensor.data), tensor.tensor_type.name)
        return self._dense(name, torch.float32)

    def _reordered(self, name: str, heads: int) -> Codes | Tensor:
        """Rows of query or key, from neighbouring pairs to halves."""
        tensor = self._linear(name)
        size = self.config.d_head
        index = torch.arange(heads * size).view(heads, size // 2, 2).transpose(1, 2).reshape(-1)
        return tensor.rows(index) if isinstance(tensor, Codes) else tensor[index]

    def _dense(self, name: str, dtype: torch.dtype) -> Tensor:
        tensor = self._tensor(name)
        kind = tensor.tensor_type.name
        data = np.ascontiguousarray(tensor.data)
        if kind in ("F32", "F16"):
            return torch.from_numpy(data.copy()).to(dtype)
        if kind == "BF16":
            return torch.from_numpy(data.view(np.int16).copy()).view(torch.bfloat16).to(dtype)
        if kind == "Q8_0":
            return read_q8(data).to(dtype)
        if kind in FOUR_BIT:
            return _weights(read_codes(data, kind)).to(dtype)
        raise UserError(f"{self.path}: {name} is {kind}; {', '.join((*FOUR_BIT, *DENSE))} are read")


def _weights(tensor: Codes | Tensor) -> Tensor:
    return dequantize(tensor.codes, tensor.scales, tensor.zeros) if isinstance(tensor, Codes) else tensor


def read_codes(data: np.ndarray[Any, Any], kind: str) -> Codes:
    """data [out, bytes a row] of Q4_0 (fp16 d, 16 bytes) or Q4_1 (fp16 d, fp16 m, 16 bytes) blocks of 32 weights.

    A byte holds weight i in its low half and weight i + 16 in its high half.
    """
    head = 2 if kind == "Q4_0" else 4
    raw = torch.from_numpy(data.copy()).view(len(data), -1, head + BLOCK // 2)
    halves = raw[..., :head].contiguous().view(torch.float16).float()
    scales = halves[..., 0]
    zeros = torch.zeros_like(scales) if kind == "Q4_0" else halves[..., 1] + 8 * scales
    nibbles = raw[..., head:]
    codes = torch.cat((nibbles & 15, nibbles >> 4), dim=-1)
    return Codes(codes.reshape(len(data), -1), scales.contiguous(), zeros.contiguous())


def read_q8(data: np.ndarray[Any, Any]) -> Tensor:
    """data [out, bytes a row] of Q8_0 blocks (fp16 d, 32 int8): w = d*q -> [out,in] fp32"""
    raw = torch.from_numpy(data.copy()).view(len(data), -1, 2 + BLOCK)
    scales = raw[..., :2].contiguous().view(torch.float16).float()
    return (raw[..., 2:].contiguous().view(torch.int8).float() * scales).view(len(data), -1)
