"""The optimizer: AdamW with weight decay on matrices only, the update step, autocast and torch.compile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn


class AdamW:
    """A copy of torch.optim.AdamW(fused=True): the same kernel, the same bytes, the same state_dict.

    Departure: torch's class imports all of torch.compile, 70 MB and a second for every process that trains.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> None:
        self.param_groups = [{"lr": lr, "betas": betas, "eps": eps, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            if not trained:
                continue
            states = [self._state(p) for p in trained]
            torch._foreach_add_([s["step"] for s in states], 1)
            torch._fused_adamw_(
                trained, [p.grad for p in trained], [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states],
                [], [s["step"] for s in states], lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
                weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip

    def _state(self, p: Tensor) -> dict[str, Tensor]:
        if p not in self.state:
            moments = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            self.state[p] = {"step": torch.zeros((), device=p.device)} | moments
        return self.state[p]

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state in torch's layout: parameters by their number."""
        numbers = {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: state for p, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load a state in torch's layout. ValueError if the state does not fit the parameters."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        sizes = [[len(group["params"]) for group in groups] for groups in (saved["param_groups"], self.param_groups)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"optimizer state of groups of {sizes[0]} parameters, {sizes[1]} are trained")
        for i, state in saved["state"].items():
            if (shape := state["exp_avg"].shape) != parameters[int(i)].shape:
                raise ValueError(f"optimizer state {i} is {tuple(shape)}, the weight {tuple(parameters[int(i)].shape)}")
        self.state = {
            parameters[int(i)]: {name: t.to(parameters[int(i)].device, copy=True) for name, t in state.items()}
            for i, state in saved["state"].items()
        }
        for group, other in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update({name: value for name, value in other.items() if name != "params"})


def adamw(
    modules: Iterable[nn.Module], lr: float, betas: tuple[float, float], weight_decay: float, eps: float = 1e-8
) -> AdamW:
    """Return AdamW over the distinct trainable parameters of some modules; vectors (norms, biases) are not decayed."""
    distinct: dict[int, nn.Parameter] = {}
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                distinct[id(parameter)] = parameter
    matrices = [p for p in distinct.values() if p.ndim >= 2]
    vectors = [p for p in distinct.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW([g for g in groups if g["params"]], lr, betas, eps)


def apply_gradients(optimizer: AdamW, lr: float, max_norm: float) -> float:
    """Clip the gradients to `max_norm` (0: no clipping), step, clear them. Return the norm before clipping."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or float("inf"), foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad()
    return float(norm)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Return the norm of the current gradients."""
    squares = [p.grad.float().pow(2).sum() for p in parameters if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def autocast(device: str) -> AbstractContextManager[object]:
    """Return a context for bf16 products on CUDA and CPUs with AMX, where bf16 is faster; fp32 elsewhere (MPS too).

    Weights stay fp32.
    """
    from kaiwa.core import machine

    if device.startswith("cuda"):
        return torch.autocast("cuda", torch.bfloat16)
    if device == "cpu" and machine.has_bf16_tiles():
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def compile_step(
    function: Callable[..., tuple[Tensor, ...]], use_compile: bool, device: str, say: Callable[[str], None]
) -> Callable[..., tuple[Tensor, ...]]:
    """Return torch.compile of a function over tensors [...] if requested and possible; else the function itself.

    If requested but not possible, `say` gets the reason.
    """
    from kaiwa.core import machine
    from kaiwa.core.home import home

    if not use_compile:
        return function
    if device != "cpu":
        say(f"torch.compile is for the CPU here: training on {device} runs uncompiled")
        return function
    if not machine.has_compiler():
        say("no C++ compiler with Python's headers found: training runs uncompiled, about 20 % slower")
        return function
    cache = home() / "cache" / "torch"  # torch's default is a folder of /tmp that stays behind
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    return torch.compile(function, dynamic=False)
