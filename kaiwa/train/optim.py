"""The optimizer: AdamW with decay on matrices only, and one step of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def adamw(
    modules: Iterable[nn.Module], lr: float, betas: tuple[float, float], weight_decay: float, eps: float = 1e-8
) -> torch.optim.AdamW:
    """AdamW over the distinct trainable parameters of some modules; vectors (norms, biases) are not decayed."""
    seen: dict[int, nn.Parameter] = {}
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                seen[id(parameter)] = parameter
    matrices = [p for p in seen.values() if p.ndim >= 2]
    vectors = [p for p in seen.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, eps=eps, fused=True)


def apply_gradients(optimizer: torch.optim.Optimizer, lr: float, max_norm: float) -> float:
    """Clips to `max_norm` (0: no clipping), steps, clears; returns the gradient's norm before clipping."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or float("inf"), foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """The norm of the gradients held now."""
    squares = [p.grad.float().pow(2).sum() for p in parameters if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def autocast(device: str) -> AbstractContextManager[object]:
    """bf16 products where they are faster (CUDA, CPUs with AMX), fp32 elsewhere (MPS too); weights stay fp32."""
    from kaiwa.core import machine

    if device.startswith("cuda"):
        return torch.autocast("cuda", torch.bfloat16)
    if device == "cpu" and machine.has_bf16_tiles():
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def compiled(
    function: Callable[..., tuple[Tensor, ...]], wanted: bool, device: str, say: Callable[[str], None]
) -> Callable[..., tuple[Tensor, ...]]:
    """torch.compile where asked for and possible; says so in one line where it is not."""
    from kaiwa.core import machine

    if not wanted:
        return function
    if device != "cpu":
        say(f"torch.compile is for the CPU here: training on {device} runs uncompiled")
        return function
    if not machine.has_compiler():
        say("no C++ compiler with Python's headers found: training runs uncompiled, about 20 % slower")
        return function
    return torch.compile(function, dynamic=False)
