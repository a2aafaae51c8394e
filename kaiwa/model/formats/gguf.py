"""GGUF models: LLaMA (and Mistral), Qwen2, Qwen3 and GPT-2, in any block format that the `gguf` library unpacks.

4-bit blocks stay at 4 bits where the machine has the kernel for 4-bit products: Q4_1 is w = d*q + m, ours w = d*(q - 8)
+ z, so z = m + 8d; Q4_0 has z = 0; a Q4_K block is eight groups of this kind with scales of its own. Scales and zeros
become bf16 (relative error 2e-3). Everything else becomes dense.

llama.cpp reorders the rows of LLaMA's query and key so that rotary positions turn neighbouring pairs; ours turn one
half of a head against the other, so the order is undone here. Qwen's rows are in our order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.countdown import Countdown
from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_int4_kernel
from kaiwa.model.config import DecoderConfig, RopeScaling
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.by_name import GGUF, gguf_family
from kaiwa.model.families.config_fields import yarn_scale
from kaiwa.model.families.family import Family
from kaiwa.model.formats.gguf_container import RawTensor, read_gguf
from kaiwa.model.formats.gguf_vocabulary import RawVocabulary, read_vocabulary
from kaiwa.model.formats.hf_folder import check_state, is_finite
from kaiwa.model.formats.hf_names import split_name
from kaiwa.model.int4 import LARGE, Codes, make_linear, quantized_names, replace_linear
from kaiwa.model.int8 import Int8Linear
from kaiwa.model.rotary import rotary_frequencies

FOUR_BIT = ("Q4_0", "Q4_1", "Q4_K")
BLOCK = 32
PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("attn_q", "attn_k", "attn_v"),
    "out": ("attn_output",),
    "up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
    "norm_attn": ("attn_norm",),
    "norm_mlp": ("ffn_norm",),
    "norm_q": ("attn_q_norm",),
    "norm_k": ("attn_k_norm",),
}
TOP = {"embed": "token_embd", "positions": "position_embd", "norm": "output_norm", "unembed": "output"}


class GgufFile:
    """An open file: `config`, `vocabulary()`, `decoder()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields, self.tensors = read_gguf(path)
        family = gguf_family(self.fields)
        if family is None:
            name = str(self.fields.get("general.architecture"))[:40]
            raise UserError(f"{path}: architecture {name!r}; only {', '.join(sorted(GGUF))} are read")
        self.family = family
        try:
            self.config = self._config()
        except (TypeError, ValueError, OverflowError) as error:
            why = str(error) if isinstance(error, UserError) else f"a field has the wrong type ({error})"
            raise UserError(why if why.startswith(str(path)) else f"{path}: {why}") from None

    def _require(self, key: str) -> Any:
        value = self.fields.get(f"{self.family.gguf}.{key}")
        if value is None:
            raise UserError(f"{self.path}: {self.family.gguf}.{key} is missing; the file is incomplete")
        return value

    def _config(self) -> DecoderConfig:
        heads, d_model = int(self._require("attention.head_count")), int(self._require("embedding_length"))
        gpt2 = self.family.flags["dialect"] == "gpt3"
        size = 0 if gpt2 else int(self.fields.get(f"{self.family.gguf}.attention.key_length", 0))
        theta = float(self.fields.get(f"{self.family.gguf}.rope.freq_base", 10000.0))
        read = DecoderConfig(
            dialect="gpt3" if gpt2 else "llama",
            vocab_size=int(self._tensor("token_embd.weight").shape[0]),
            d_model=d_model,
            n_layer=int(self._require("block_count")),
            n_head=heads,
            n_kv_head=0 if gpt2 else int(self.fields.get(f"{self.family.gguf}.attention.head_count_kv", heads)),
            d_ff=int(self._require("feed_forward_length")),
            max_length=int(self._require("context_length")),
            rope_theta=theta,
            norm_eps=float(self._require(f"attention.layer_norm_{'' if gpt2 else 'rms_'}epsilon")),
            tie_embeddings="output.weight" not in self.tensors,
            head_size=0 if size * heads == d_model else size,
            qkv_bias=not gpt2 and "blk.0.attn_q.bias" in self.tensors,
            out_bias=not gpt2 and "blk.0.attn_output.bias" in self.tensors,
            qk_norm="head" if "blk.0.attn_q_norm.weight" in self.tensors else "",
            rope=RopeScaling() if gpt2 else self._rope(theta, size or d_model // max(1, heads)),
        )
        config = self.family.read_gguf(OwnFields(self), replace(read, **self.family.flags))
        if config.n_layer > len(self.tensors):
            raise UserError(
                f"{self.path}: {config.n_layer:,} layers are announced, {len(self.tensors)} tensors are there"
            )
        return config

    def _rope(self, theta: float, d_head: int) -> RopeScaling:
        """Read the scaling by its name, or Llama 3's, which llama.cpp's converter writes as a tensor of divisors."""
        kind = self.fields.get(f"{self.family.gguf}.rope.scaling.type", "none")
        if kind == "linear":
            return RopeScaling(kind="linear", factor=float(self._require("rope.scaling.factor")))
        if kind == "yarn":
            factor = float(self._require("rope.scaling.factor"))
            attention = float(self.fields.get(f"{self.family.gguf}.rope.scaling.attn_factor", 1))
            return RopeScaling(
                kind="yarn",
                factor=factor,
                low_factor=float(self.fields.get(f"{self.family.gguf}.rope.scaling.yarn_beta_slow", 1)),
                high_factor=float(self.fields.get(f"{self.family.gguf}.rope.scaling.yarn_beta_fast", 32)),
                original_length=int(self._require("rope.scaling.original_context_length")),
                attention=attention * yarn_scale(factor, 1.0),
            )
        if kind not in ("none", "longrope"):
            raise UserError(f"{self.path}: rope scaling {str(kind)[:40]!r} is not computed; there is linear, yarn")
        if "rope_freqs.weight" not in self.tensors:
            return RopeScaling()
        divisors = self._dense("rope_freqs.weight", torch.float32).flatten()
        for factor in (8.0, 32.0, 4.0, 16.0):
            rope = RopeScaling(kind="llama3", factor=factor)
            plain = DecoderConfig(d_model=d_head, n_head=1, rope_theta=theta)
            scaled = DecoderConfig(d_model=d_head, n_head=1, rope_theta=theta, rope=rope)
            ours = rotary_frequencies(plain) / rotary_frequencies(scaled)
            if ours.shape == divisors.shape and torch.allclose(ours, divisors, rtol=1e-3):
                return rope
        raise UserError(f"{self.path}: rope_freqs.weight is not Llama 3's scaling, which alone is computed")

    def vocabulary(self) -> RawVocabulary:
        """Return the file's tokenizer. UserError for a tokenizer that is neither byte-level nor SentencePiece BPE."""
        return read_vocabulary(self.fields, self.path)

    def decoder(
        self, dtype: torch.dtype, kernel: bool | None = None, say: Callable[[str], None] = lambda line: None
    ) -> Decoder:
        """Read the model: 4-bit linears as Int4Linear, the rest in `dtype`. kernel None: the machine's own. `say` gets
        lines about the time left."""
        c = self.config
        with torch.device("meta"):
            model = Decoder(c)
        shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        state: dict[str, Tensor] = {}
        linears = quantized_names(model)
        countdown = Countdown(f"reading {self.path.name}", sum(t.data.nbytes for t in self.tensors.values()), say)
        for name in shapes:
            if name == "unembed.weight" and c.tie_embeddings:
                continue
            if name in linears:
                parts, bias = self._parts(name), name.removesuffix("weight") + "bias"
                heights = sum(len(p.codes if isinstance(p, Codes) else p) for p in parts)
                widths = {(p.codes if isinstance(p, Codes) else p).shape[1] for p in parts}
                if heights != shapes[name][0] or widths != {shapes[name][1]}:
                    raise UserError(f"{self.path}: {name} is {(heights, *widths)}, {shapes[name]} is expected")
                biases = torch.cat([self._row(n) for n in self._names(bias)]) if bias in shapes else None
                replace_linear(model, name, make_linear(parts, biases, dtype, kernel, c.n_parameters > LARGE))
            elif name.removesuffix("bias") + "weight" not in linears:
                state[name] = torch.cat([self._dense(n, dtype) for n in self._names(name)])
            countdown.add(sum(self._tensor(n).data.nbytes for n in self._names(name)))
        try:
            check_state(state, shapes)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        model.load_state_dict(state, strict=False, assign=True)
        if c.tie_embeddings:
            model.unembed.weight = model.embed.weight
            has_kernel = has_int4_kernel() if kernel is None else kernel
            if has_kernel and dtype == torch.bfloat16 and self._tensor("token_embd.weight").kind == "Q8_0":
                model.unembed = Int8Linear(model.embed.weight)  # type: ignore[assignment]
        return model.requires_grad_(False).eval()

    def _names(self, name: str) -> list[str]:
        """Return llama.cpp's names of one of our tensors."""
        return gguf_names(self.family, name)

    def _parts(self, name: str) -> list[Codes | Tensor]:
        parts = []
        for theirs in self._names(name):
            tensor = self._tensor(theirs)
            codes = tensor.kind in FOUR_BIT and len(tensor.shape) == 2
            part = read_codes(tensor.data, tensor.kind) if codes else self._dense(theirs, torch.float32)
            index = self._undo(theirs, tensor.shape[0])
            parts.append(part if index is None else part.rows(index) if isinstance(part, Codes) else part[index])
        for part in parts:
            numbers = (part.scales, part.zeros) if isinstance(part, Codes) else (part,)
            if not all(map(is_finite, numbers)):
                raise UserError(f"{self.path}: {name} has weights that are not numbers; the file is damaged")
        return parts

    def _row(self, name: str) -> Tensor:
        tensor = self._dense(name, torch.float32)
        index = self._undo(name, len(tensor))
        return tensor if index is None else tensor[index]

    def _undo(self, name: str, rows: int) -> Tensor | None:
        """Return the order of rows that turns LLaMA's query or key from neighbouring pairs to halves; None where the
        order is ours.
        """
        if not self.family.gguf_pairs or not any(f".attn_{n}." in name for n in "qk"):
            return None
        size = self.config.d_head
        if rows % size:
            raise UserError(f"{self.path}: {name} has {rows} rows, no whole heads of {size}")
        return torch.arange(rows).view(-1, size // 2, 2).transpose(1, 2).reshape(-1)

    def _tensor(self, name: str) -> RawTensor:
        name, _, expert = name.partition("#")
        if expert:  # experts are stacked in one tensor
            whole = self._tensor(name)
            if len(whole.shape) != 3 or int(expert) >= whole.shape[0]:
                raise UserError(
                    f"{self.path}: {name} is {whole.shape}, {self.config.experts.n_experts} experts are announced"
                )
            rows = whole.shape[1]
            return RawTensor(whole.kind, whole.shape[1:], whole.data[int(expert) * rows : (int(expert) + 1) * rows])
        if name not in self.tensors:
            raise UserError(f"{self.path}: tensor {name} is missing; the file is incomplete")
        return self.tensors[name]

    def _dense(self, name: str, dtype: torch.dtype) -> Tensor:
        tensor = self._tensor(name)
        return read_dense(tensor.data, tensor.kind, self.path).view(tensor.shape).to(dtype)


class OwnFields:
    """The fields of an open file under its architecture's name (see families/family.py)."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file

    def __call__(self, name: str, default: Any) -> Any:
        value = self.file.fields.get(f"{self.file.family.gguf}.{name}")
        return default if value is None else value

    def numbers(self, tensor: str) -> tuple[float, ...]:
        if tensor not in self.file.tensors:
            return ()
        return tuple(self.file._dense(tensor, torch.float32).flatten().tolist())


def gguf_names(family: Family, name: str) -> list[str]:
    """Return llama.cpp's names of one of our tensors; "#5" at the end: expert 5 of a stacked tensor."""
    head, _, kind = name.rpartition(".")
    if head in TOP:
        return [f"{TOP[head]}.{kind}"]
    layer, part, kind, expert = split_name(name)
    number = f"#{expert}" if expert else ""
    return [f"blk.{layer}.{theirs}.{kind}{number}" for theirs in (PARTS | dict(family.gguf_parts))[part]]


def read_dense(data: np.ndarray[Any, Any], kind: str, path: Path | str = "") -> Tensor:
    """Return the weights [rows, weights per row] of data [rows, bytes per row], fp32 (F16 and BF16 unchanged)."""
    if kind in ("F32", "F16"):
        return torch.from_numpy(np.ascontiguousarray(data).view(np.float32 if kind == "F32" else np.float16).copy())
    if kind == "BF16":
        return torch.from_numpy(np.ascontiguousarray(data).view(np.int16).copy()).view(torch.bfloat16)
    if kind in FOUR_BIT:
        return read_codes(data, kind).dense()
    if kind == "Q8_0":
        return read_q8(data)
    from gguf import GGMLQuantizationType, quants

    try:
        return torch.from_numpy(quants.dequantize(np.ascontiguousarray(data), GGMLQuantizationType[kind]))
    except (NotImplementedError, KeyError):
        raise UserError(
            f"{path}: blocks of kind {kind} are not read; F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to Q6_K are"
        ) from None


def read_codes(data: np.ndarray[Any, Any], kind: str) -> Codes:
    """Return the codes of 4-bit blocks, data [out, bytes per row]. Q4_0: fp16 d, 16 bytes. Q4_1: fp16 d, fp16 m, 16
    bytes.

    A byte holds weight i in the low half and weight i + 16 in the high half.
    """
    if kind == "Q4_K":
        return _read_q4_k(data)
    head = 2 if kind == "Q4_0" else 4
    raw = torch.from_numpy(np.array(data)).view(len(data), -1, head + BLOCK // 2)
    halves = raw[..., :head].contiguous().view(torch.float16).float()
    scales = halves[..., 0]
    zeros = torch.zeros_like(scales) if kind == "Q4_0" else halves[..., 1] + 8 * scales
    nibbles = raw[..., head:]
    codes = torch.cat((nibbles & 15, nibbles >> 4), dim=-1)
    return Codes(codes.reshape(len(data), -1), scales.contiguous(), zeros.contiguous())


def _read_q4_k(data: np.ndarray[Any, Any]) -> Codes:
    """Return the codes of blocks of 256 weights, 144 bytes: fp16 d and m, twelve bytes of 6-bit scales and minima, 128
    of codes.

    Group j of 32 is w = d * scale_j * q - m * minimum_j. Of the twelve bytes the first four hold scales 0 to 3, the
    next four minima 0 to 3, in six bits each; the upper two bits of these eight bytes complete the nibbles of the last
    four.
    """
    raw = torch.from_numpy(np.array(data)).view(len(data), -1, 144)
    halves = raw[..., :4].contiguous().view(torch.float16).float()
    low, middle, last = raw[..., 4:8], raw[..., 8:12], raw[..., 12:16]
    scale = torch.cat((low & 63, (last & 15) | (low >> 6 << 4)), dim=-1).float()
    minimum = torch.cat((middle & 63, (last >> 4) | (middle >> 6 << 4)), dim=-1).float()
    scales = halves[..., :1] * scale
    zeros = 8 * scales - halves[..., 1:] * minimum
    bytes_ = raw[..., 16:].reshape(len(data), -1, 4, BLOCK)  # 32 bytes hold group 2i low and group 2i + 1 high
    codes = torch.stack((bytes_ & 15, bytes_ >> 4), dim=-2)
    n = len(data)
    return Codes(codes.reshape(n, -1), scales.reshape(n, -1), zeros.reshape(n, -1))


def read_q8(data: np.ndarray[Any, Any]) -> Tensor:
    """Return the weights [out,in] fp32 of Q8_0 blocks (fp16 d, 32 int8), data [out, bytes per row]: w = d*q."""
    raw = torch.from_numpy(np.array(data)).view(len(data), -1, 2 + BLOCK)
    scales = raw[..., :2].contiguous().view(torch.float16).float()
    return (raw[..., 2:].contiguous().view(torch.int8).float() * scales).view(len(data), -1)
