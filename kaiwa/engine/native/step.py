"""The Python side of the C++ step: a decoder's packed weights, a call for a batch of tokens, and a call for logits.

`prepare` compiles and packs in the background; `ready` returns the packed model when done. Until then, and wherever the
C++ step is not available, torch computes the same (torch_shared_rows.py, torch_step.py); tests compare the two.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kaiwa.core.errors import UserError
from kaiwa.engine.native import library as native
from kaiwa.engine.native.huge_pages import Arena
from kaiwa.engine.native.refusal import native_refusal
from kaiwa.engine.native.weight_layout import FP32, LANES, Strips, can_pack, pack, pack_dense, packed_bytes
from kaiwa.model.adapter import Adapter
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Block, Decoder
from kaiwa.model.int4 import LINEARS
from kaiwa.model.rotary import local_config, rotary_angles

SMALL = 1_000_000  # weights; for smaller models compiling is not worth the wait

NORMS = ("norm_attn", "norm_q", "norm_k", "norm_mlp", "norm_out", "norm_down")

Numbers = Sequence[int] | np.ndarray
Batch = tuple[Numbers, Numbers, Numbers]  # ids, positions and row of each token


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("layers", "width", "heads", "kv_heads", "head", "hidden", "vocabulary")),
        *((name, ctypes.c_int64) for name in ("threads", "wide_embed", "rotated", "joint_norm", "gelu")),
        *((name, ctypes.c_float) for name in ("eps", "embedding_scale", "residual_scale", "logit_scale")),
        *((name, ctypes.c_float) for name in ("attention_scale", "attention_cap", "logit_cap")),
    ]


class _Linear(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "inputs", "outputs", "group")),
        *((name, ctypes.c_void_p) for name in ("data", "scales", "bias", "order")),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in (*NORMS, "cos", "sin")),
        ("window", ctypes.c_int64),
        *((name, _Linear) for name in LINEARS),
    ]


class _Batch(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("tokens", "table_width", "wide_cache")),
        *((name, ctypes.c_void_p) for name in ("ids", "positions", "rows", "tables", "cache", "states", "adapters")),
        ("rank", ctypes.c_int64),
    ]


class _Low(ctypes.Structure):
    _fields_ = [("a", _Linear), ("b", _Linear)]


class _Adapter(ctypes.Structure):
    _fields_ = [("soft", ctypes.c_void_p), ("lows", ctypes.c_void_p)]


@dataclass(frozen=True, slots=True)
class PackedAdapter:
    """An adapter in the layout of the C++ step. `owners` keep alive the memory behind its addresses. rank: the highest
    rank, rounded up to whole strips."""

    struct: _Adapter
    rank: int
    owners: list[object]


class NativeModel:
    """A decoder's packed weights, and the threads of the computation."""

    def __init__(self, decoder: Decoder, library: ctypes.CDLL, threads: int = 0) -> None:
        """Pack a decoder's weights. threads 0: as many as torch uses."""
        c = self.config = decoder.config
        self._library = library
        self._arena = Arena()
        self._placed_strips: list[Strips] = []  # whose tensors have memory of their own
        self._adapters: weakref.WeakKeyDictionary[Adapter, PackedAdapter] = weakref.WeakKeyDictionary()
        self._angles = self._place_angles()
        embed = self._embed = decoder.embed.weight.detach().contiguous()
        scales = c.scales
        shape = _Shape(
            *(c.n_layer, c.d_model, c.n_head, c.kv_heads, c.d_head, c.d_ff, c.vocab_size),
            *(threads or torch.get_num_threads(), int(embed.dtype == torch.float32)),
            *(c.rotated, int(c.qk_norm == "all"), int(c.activation == "gelu")),
            *(c.norm_eps, scales.embedding_scale, scales.residual_scale, scales.logit_scale),
            *(scales.attention_scale or c.d_head**-0.5, scales.attention_cap, scales.logit_cap),
        )
        layers, head, norm = self._place(decoder)
        self._model = library.kaiwa_model(
            ctypes.addressof(shape),
            ctypes.addressof(layers),
            embed.data_ptr(),  # the decoder's own
            norm,
            ctypes.addressof(head),
        )
        self._finalizer = weakref.finalize(self, library.kaiwa_free, self._model)

    def renew(self, decoder: Decoder) -> None:
        """Pack the decoder's weights again after they were changed in place."""
        self._arena.rewind()
        self._place_angles()
        self._place(decoder)

    def _place_angles(self) -> dict[str, tuple[int | None, int | None]]:
        """Return the places of cosines and sines of all positions, by the letter of a layer's kind."""
        c, places = self.config, torch.arange(self.config.max_length)[None]

        def tables(config: DecoderConfig) -> tuple[int | None, int | None]:
            cos, sin = rotary_angles(places, config)
            return self._at(cos.reshape(c.max_length, -1).contiguous()), self._at(
                sin.reshape(c.max_length, -1).contiguous()
            )

        whole = tables(c)
        return {"g": whole, "n": (None, None), "w": tables(local_config(c)) if c.local_theta else whole}

    def _place(self, decoder: Decoder) -> tuple[ctypes.Array[_Layer], _Linear, int | None]:
        layers = (_Layer * self.config.n_layer)(*(self._layer(block) for block in decoder.blocks))  # type: ignore[arg-type]
        head = self._linear(pack(decoder.unembed))
        return layers, head, self._at(decoder.norm.weight.detach().float())  # type: ignore[union-attr,operator]

    def forward(
        self,
        batch: Batch,
        tables: np.ndarray,
        cache: np.ndarray,
        adapters: Sequence[Adapter | None] = (),
    ) -> Tensor:
        """Compute a batch of tokens. Return states [tokens, D] fp32.

        tables [rows, width] int32: the block of each row's positions. cache: bytes of blocks [layer, 2, K, 16 x E],
        bf16 or fp32. adapters: each token's, or none at all; ids from the vocabulary's end on are its soft prompt.
        """
        ids, positions, rows = batch
        states = torch.empty(len(ids), self.config.d_model)
        arrays = (np.array(ids, np.int64), np.array(positions, np.int32), np.array(rows, np.int32))
        struct = _Batch(
            len(ids), tables.shape[1], int(cache.dtype == np.float32), *(a.ctypes.data for a in arrays),
            tables.ctypes.data, cache.ctypes.data, states.data_ptr(),
        )  # fmt: skip
        packed = {a: self._adapter(a) for a in set(adapters) if a is not None}
        if packed:
            places = [ctypes.addressof(packed[a].struct) if a is not None else 0 for a in adapters]
            pointers = np.array(places, np.uint64)
            struct.adapters, struct.rank = pointers.ctypes.data, max(p.rank for p in packed.values())
        self._library.kaiwa_forward(self._model, ctypes.addressof(struct))
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits [n, V] fp32 of states [n, D] fp32."""
        states = states.contiguous()
        out = torch.empty(len(states), self.config.vocab_size)
        self._library.kaiwa_logits(self._model, len(states), states.data_ptr(), out.data_ptr())
        return out

    def sample(self, states: Tensor, temperature: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Sample after states [n, D] fp32 as `sampling.sample` does without filters.

        temperature [n] fp32 (0: greedy), u [n] fp64 in [0, 1). Return ids [n] and log-probabilities [n].
        """
        n = len(states)
        states, temperature, u = states.contiguous(), temperature.contiguous(), u.contiguous()
        ids, logprobs = torch.empty(n, dtype=torch.int64), torch.empty(n)
        struct = (t.data_ptr() for t in (states, temperature, u, ids, logprobs))
        self._library.kaiwa_sample(self._model, n, *struct)
        return ids, logprobs

    def _adapter(self, adapter: Adapter) -> PackedAdapter:
        packed = self._adapters.get(adapter)
        if packed is None:
            packed = self._adapters[adapter] = pack_adapter(adapter)
        return packed

    def _at(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        return self._arena.place(tensor)

    def _linear(self, s: Strips) -> _Linear:
        tensors = (s.data, s.scales, s.bias, s.order)
        if s.placed:
            self._placed_strips.append(s)
            return _Linear(
                s.kind, s.inputs, s.outputs, s.group, *(None if t is None else t.data_ptr() for t in tensors)
            )
        return _Linear(s.kind, s.inputs, s.outputs, s.group, *(self._at(t) for t in tensors))

    def _layer(self, block: Block) -> _Layer:
        if native.is_exiting():
            raise UserError("the process is ending")
        norms = (getattr(block, name) for name in NORMS)
        weights = [None if n is None else self._at(n.weight.detach().float()) for n in norms]
        angles = self._angles[self.config.layer_kind(block.layer)]
        window = self.config.layer_window(block.layer)
        return _Layer(*weights, *angles, window, *(self._linear(pack(getattr(block, name))) for name in LINEARS))


def linears(decoder: Decoder) -> list[nn.Module]:
    """Return every linear layer of the forward pass, the unembedding included."""
    return [*(getattr(block, name) for block in decoder.blocks for name in LINEARS), decoder.unembed]


def pack_adapter(adapter: Adapter) -> PackedAdapter:
    """Pack an adapter's low-rank changes (A [r,in], B [out,r]) and soft prompt [n,D] for the step."""
    owners: list[object] = [adapter.soft]
    rank = 0

    def linear(weight: Tensor) -> _Linear:
        data = pack_dense(weight)
        owners.append(data)
        return _Linear(FP32, weight.shape[1], weight.shape[0], 0, data.data_ptr())

    lows = (_Low * (len(adapter.changes) * len(LINEARS)))()  # zeros: no change
    for number, block in enumerate(adapter.changes):
        for part, (a, b) in block.items():
            lows[number * len(LINEARS) + LINEARS.index(part)] = _Low(linear(a), linear(b))
            rank = max(rank, -(-len(a) // LANES) * LANES)
    owners.append(lows)
    soft = None if adapter.soft is None else adapter.soft.data_ptr()
    return PackedAdapter(_Adapter(soft, ctypes.addressof(lows) if adapter.changes else None), rank, owners)


def decoder_refusal(decoder: Decoder) -> str:
    """Return why the C++ step cannot compute a decoder's weights on the local machine; "" if possible."""
    weight = decoder.embed.weight
    if why := native_refusal(decoder.config, weight.device.type):
        return why
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return "the C++ step computes on the CPU, in fp32 or bf16"
    if not all(can_pack(linear) for linear in linears(decoder)):
        return "this model's layers are kept in a way that the C++ step does not read"
    return ""


_ready: weakref.WeakKeyDictionary[Decoder, NativeModel] = weakref.WeakKeyDictionary()
_under_way: weakref.WeakKeyDictionary[Decoder, threading.Thread] = weakref.WeakKeyDictionary()


def ready(decoder: Decoder) -> NativeModel | None:
    """Return the packed model if ready, else None."""
    return _ready.get(decoder)


def memory(decoder: Decoder) -> int:
    """Return the bytes taken by the C++ step beside the decoder's own tensors.

    The sum counts packed copies, ready or under way, and layers with packed weights only.
    """
    if decoder not in _ready and decoder not in _under_way:
        return 0
    c = decoder.config
    tables = 4 * c.max_length * c.rotated * (2 if c.local_theta else 1)  # cosines and sines
    norms = sum(4 * p.numel() for name, p in decoder.named_parameters() if "norm" in name)
    return sum(packed_bytes(linear) for linear in linears(decoder)) + tables + norms


def adapter_memory(decoder: Decoder, adapter: Adapter) -> int:
    """Return the bytes taken by the C++ step for an adapter, beside the adapter's own tensors."""
    if decoder not in _ready and decoder not in _under_way:
        return 0
    weights = [w for block in adapter.changes for pair in block.values() for w in pair]
    return sum(4 * -(-len(w) // LANES) * LANES * w.shape[1] for w in weights)


def wait(decoder: Decoder) -> NativeModel | None:
    """Wait for the work begun by `prepare`, and return the result of `ready`."""
    if (thread := _under_way.get(decoder)) is not None:
        thread.join()
    return ready(decoder)


def is_pending(decoder: Decoder) -> bool:
    """Return whether the work begun by `prepare` still goes on, so that the way of computing will change."""
    thread = _under_way.get(decoder)
    return thread is not None and thread.is_alive()


def make(decoder: Decoder) -> NativeModel:
    """Compile if needed, pack, and return the model. UserError if impossible."""
    if why := decoder_refusal(decoder):
        raise UserError(f"{why}; PyTorch can compute the answers")
    if decoder not in _ready:
        _ready[decoder] = NativeModel(decoder, native.library())
    return _ready[decoder]


def renew(decoder: Decoder) -> None:
    """Pack a decoder's changed weights again in the background, if they were packed at all."""
    if (thread := _under_way.pop(decoder, None)) is not None:
        thread.join()
    if _ready.pop(decoder, None) is not None:
        _begin(decoder, lambda line: None)


def prepare(decoder: Decoder, say: Callable[[str], None] = lambda line: None) -> None:
    """Begin `make` in the background. `say` gets a line about the way answers are computed."""
    if decoder.config.n_parameters < SMALL:
        return
    if why := decoder_refusal(decoder):
        say(f"{why}: PyTorch computes the answers")
        return
    work = "packs the weights" if native.is_built() else "is being compiled, once"
    say(f"the C++ step {work}; PyTorch answers meanwhile, but for seeded, greedy and scored requests, which wait")
    _begin(decoder, say)


def _begin(decoder: Decoder, say: Callable[[str], None]) -> None:
    def work() -> None:
        try:
            make(decoder)
        except UserError as error:
            if not native.is_exiting():
                say(f"{error}: PyTorch computes the answers")
        else:
            say("the C++ step computes the answers")

    # Not a daemon: Python ends those inside C++ code, which then aborts. When the process leaves, packing stops;
    # a compile goes to its end, so that it is there the next time.
    _under_way[decoder] = threading.Thread(target=work)
    _under_way[decoder].start()
