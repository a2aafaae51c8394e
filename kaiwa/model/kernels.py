"""The operations between a block's products, in C++ (csrc/): norm, rotation, SwiGLU and attention within documents,
forward and backward, each in one pass over memory. PyTorch's take four to eight passes, and store values that can be
computed again.

Where a function here returns None, the caller does the same with torch's operations: another device or type, under
torch.compile, without a compiler, and on few numbers, where compiling does not pay. The choice depends on shapes alone,
never on the state of compilation: a run that is resumed ends in the same bytes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.compiled import CppSource, compiler, load, processor_flags
from kaiwa.core.errors import UserError

SOURCE = CppSource(Path(__file__).parent / "csrc", "block.cpp", "block", "the C++ of a block")
NEEDED = ("avx2", "fma")
MOST_FEW = 32768  # numbers
CHUNK = 64  # rows, as in block.cpp


def machine_refusal() -> str:
    """Return why this machine cannot have the kernels, as the beginning of a sentence; "" where the machine can."""
    if os.environ.get("KAIWA_STEP") == "torch":
        return "KAIWA_STEP says torch"
    if os.environ.get("ATEN_CPU_CAPABILITY", "").lower() == "default":
        return "ATEN_CPU_CAPABILITY says default"
    if not all(f in processor_flags().split() for f in NEEDED):
        return "this processor has no AVX2"
    if compiler() is None and not os.path.isfile(SOURCE.file()):
        return "there is no C++ compiler"
    return ""


@functools.cache
def library() -> ctypes.CDLL | str:
    """Load the kernels' library, or return why this machine cannot have the library."""
    why = machine_refusal()
    if not why:
        try:
            return _declare_types(load(SOURCE, SOURCE.file()))
        except UserError as error:
            why = str(error)
    return why


def can_compute(*tensors: Tensor) -> bool:
    """Return whether the C++ computes with these tensors [...]. Where only this machine prevents it, training gets one
    line."""
    if torch.compiler.is_compiling() or tensors[0].numel() < MOST_FEW:
        return False
    if not all(t.device.type == "cpu" and t.dtype is torch.float32 for t in tensors):
        return False
    loaded = library()
    if isinstance(loaded, str) and torch.is_grad_enabled():
        _tell(loaded)
    return not isinstance(loaded, str)


@functools.cache
def _tell(why: str) -> None:
    if not why.startswith("KAIWA_STEP"):
        print(f"kaiwa: {why}: between the products training computes with PyTorch, which is slower", file=sys.stderr)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor | None:
    """Return x [...,d] / sqrt(mean(x^2) + eps) * weight [d], None where torch must compute."""
    return _Norm.apply(x, weight, eps) if can_compute(x, weight) else None  # type: ignore[no-untyped-call,no-any-return]


def swiglu(h: Tensor) -> Tensor | None:
    """Return silu(gate) * up [...,f] of h [...,2f], gate then up; None where torch must compute."""
    return _SwiGLU.apply(h) if can_compute(h) else None  # type: ignore[no-untyped-call,no-any-return]


def rotate(x: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor | None:
    """Rotate the first `heads` of x [B,T,*,E] in place; cos, sin [B,T,1,E/2]. None where torch must compute."""
    if not can_compute(x, cos, sin) or not x.is_contiguous() or cos.shape[:2] != x.shape[:2]:
        return None
    return _Rotate.apply(x, heads, cos, sin)  # type: ignore[no-untyped-call,no-any-return]


def attention(q: Tensor, k: Tensor, v: Tensor, documents: Tensor, last: Tensor) -> Tensor | None:
    """Return attention [1,n,H,E] of q [1,n,H,E] over k, v [1,N,K,E]; each query sees its document's keys up to `last`
    [n]."""
    if not can_compute(q, k, v) or q.shape[-1] % 16:
        return None
    return _Attention.apply(_by_token(q), _by_token(k), _by_token(v), documents, last)  # type: ignore[no-untyped-call,no-any-return]


def _by_token(x: Tensor) -> Tensor:
    """Return the tensor with the heads of a token in one piece, tokens at any distance."""
    return x if x.shape[0] == 1 and x.stride(3) == 1 and x.stride(2) == x.shape[3] else x.contiguous()


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        d = x.shape[-1]
        n = x.numel() // d
        y, inverse = torch.empty_like(x), x.new_empty(n)
        _call("norm", n, d, x, weight, eps, y, inverse)
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        d, n = x.shape[-1], len(inverse)
        dx, dw = torch.empty_like(x), torch.empty_like(weight)
        partial = x.new_empty(-(-n // CHUNK), d)
        _call("norm_backward", n, d, x, weight, inverse, g.contiguous(), dx, dw, partial)
        return dx, dw, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        h = h.contiguous()
        f = h.shape[-1] // 2
        y = h.new_empty(*h.shape[:-1], f)
        _call("swiglu", y.numel() // f, f, h, y)
        ctx.save_for_backward(h)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        dh, f = torch.empty_like(h), g.shape[-1]
        _call("swiglu_backward", g.numel() // f, f, h, g.contiguous(), dh)
        return dh


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.mark_dirty(x)
        ctx.heads = heads
        ctx.save_for_backward(cos, sin)
        _turn(x, heads, cos, sin, 1.0)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        g = g.clone(memory_format=torch.contiguous_format)
        cos, sin = ctx.saved_tensors
        _turn(g, ctx.heads, cos, sin, -1.0)
        return g, None, None, None


def _turn(x: Tensor, heads: int, cos: Tensor, sin: Tensor, way: float) -> None:
    n, size = x.shape[0] * x.shape[1], x.shape[3]
    _call("rotate", n, heads, size, x, x.shape[2] * size, cos, sin, way)


class _Arguments(ctypes.Structure):
    """As in attention.h."""

    COUNTS = ("n_head", "kv_heads", "size", "n_documents", "threads", "q_stride", "k_stride", "v_stride")
    POINTERS = ("documents", "last", "q", "k", "v", "out", "lse", "d_out", "d_q", "d_k", "d_v")
    _fields_ = [(name, ctypes.c_int64) for name in COUNTS] + [(name, ctypes.c_void_p) for name in POINTERS]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, documents: Tensor, last: Tensor) -> Tensor:
        out, lse = q.new_empty(q.shape), q.new_empty(q.shape[1:3])
        _attend(0, q, k, v, documents=documents, last=last, out=out, lse=lse)
        ctx.save_for_backward(q, k, v, documents, last, lse)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, documents, last, lse = ctx.saved_tensors
        d_q, d_k, d_v = q.new_empty(q.shape), k.new_zeros(k.shape), v.new_zeros(v.shape)
        more = {"d_out": g.contiguous(), "d_q": d_q, "d_k": d_k, "d_v": d_v}
        _attend(1, q, k, v, documents=documents, last=last, lse=lse, **more)
        return d_q, d_k, d_v, None, None


def _attend(backward: int, q: Tensor, k: Tensor, v: Tensor, **more: Tensor) -> None:
    counts = (q.shape[2], k.shape[2], q.shape[3], len(more["documents"]), torch.get_num_threads())
    strides = (q.stride(1), k.stride(1), v.stride(1))
    pointers = {name: t.data_ptr() for name, t in ({"q": q, "k": k, "v": v} | more).items()}
    loaded = library()
    assert not isinstance(loaded, str)
    loaded.kaiwa_attention(ctypes.byref(_Arguments(*counts, *strides, **pointers)), backward)


def _call(name: str, *values: Tensor | float) -> None:
    loaded = library()
    assert not isinstance(loaded, str)
    pointers = [v.data_ptr() if isinstance(v, Tensor) else v for v in values]
    getattr(loaded, f"kaiwa_{name}")(*pointers, torch.get_num_threads())


def _declare_types(loaded: ctypes.CDLL) -> ctypes.CDLL:
    letters = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "f": ctypes.c_float}
    signatures = {
        "norm": "nnppfppn",
        "norm_backward": "nnpppppppn",
        "swiglu": "nnppn",
        "swiglu_backward": "nnpppn",
        "rotate": "nnnpnppfn",
        "attention": "pn",
    }
    for name, signature in signatures.items():
        function = getattr(loaded, f"kaiwa_{name}")
        function.restype, function.argtypes = None, [letters[letter] for letter in signature]
    return loaded
