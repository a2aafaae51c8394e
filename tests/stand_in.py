"""A second device on a machine that has none: tensors marked as being there work as on the real one, or fail as there.

They live in ordinary memory; the mark is on the storage, so that views share it. Under the mode every operation sees
where its tensors are: a mixture of devices fails, as do `.numpy()`, a CPU generator, a CPU-only kernel and (on mps)
fp64. What torch allows is allowed: `.item()` and `.tolist()`, and indexing with CPU indices. Stricter than torch: a
0-dim CPU tensor beside the device's fails too, and so does a matrix product left on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = ("linear", "scaled_dot_product_attention", "embedding", "matmul")
CROSSING = ("copy_", "__set__", "_has_compatible_shallow_copy_type")  # may see tensors of two devices
INDEXING = ("__getitem__", "__setitem__")


class StandIn(TorchFunctionMode):
    """device: "cuda" or "mps". `products` counts the matrix products that ran on it, `here` those on the CPU, which are
    a fault unless the work is `shared`."""

    def __init__(self, device: str, shared: bool = False) -> None:
        super().__init__()
        self.device, self.shared = torch.device(device), shared
        self.products = self.here = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", str(func)), dict(kwargs or {})
        owner = getattr(func, "__self__", None)
        if owner is torch.Tensor.device:
            return self.device if is_there(args[0]) else func(*args)
        if owner is torch.Tensor.grad and name == "__get__":
            return self._mark(func(*args)) if is_there(args[0]) else func(*args)
        if name in ("to", "cpu"):
            return self._move(func, name, args, kwargs)
        if (wanted := kwargs.get("device")) is not None and torch.device(wanted).type == self.device.type:
            return self._mark(func(*args, **kwargs | {"device": "cpu"}))
        tensors = list(tensors_in((args, kwargs)))
        if not any(map(is_there, tensors)):
            self.here += name in PRODUCTS or "for_cpu" in str(func)
            assert self.shared or name not in PRODUCTS, f"{name} runs on the CPU although {self.device} is asked for"
            return func(*args, **kwargs)
        self._check(func, name, args, kwargs, tensors)
        self.products += name in PRODUCTS
        made = func(*args, **kwargs)
        return made if name in CROSSING else self._mark(made)

    def _check(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> None:
        if name in ("numpy", "__array__", "__dlpack__"):
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        if "for_cpu" in str(func) or "int8pack" in str(func):
            raise NotImplementedError(f"{func} is a kernel of the CPU, asked of {self.device}")
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            raise RuntimeError(f"{name} on {self.device} with a generator of the CPU")
        if name in INDEXING:  # indices may be on the CPU
            tensors = [args[0], *tensors_in(args[2:])]
        if name.startswith("_foreach"):  # clipping groups by the true device, and moves its 0-dim factor there
            tensors = [tensor for tensor in tensors if tensor.ndim]
        if name not in CROSSING and not all(map(is_there, tensors)):
            shapes = [(tuple(t.shape), "there" if is_there(t) else "cpu") for t in tensors]
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {self.device}: {shapes}")

    def _move(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Tensor.to and Tensor.cpu: over a border always a copy."""
        source, target = args[0], torch.device("cpu") if name == "cpu" else None
        plain: list[Any] = []
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, str | torch.device):
                target = torch.device(value)
            elif isinstance(value, Tensor):
                target = self.device if is_there(value) else torch.device("cpu")
                plain.append(value.dtype)
            elif isinstance(value, torch.dtype):
                plain.append(value)
        there = is_there(source)
        target = target or (self.device if there else torch.device("cpu"))
        assert target.type in ("cpu", self.device.type), target
        if (target.type != "cpu") == there:
            made = source.to(*plain, copy=kwargs.get("copy", False)) if plain or "copy" in kwargs else source
        else:
            made = source.to(*plain, copy=True) if plain else source.clone()
        return self._mark(made) if target.type != "cpu" else made

    def _mark(self, made: Any) -> Any:
        for tensor in tensors_in(made):
            if self.device.type == "mps" and tensor.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
            tensor.untyped_storage().stand_in = True  # type: ignore[attr-defined]
        return made


def is_there(tensor: Tensor) -> bool:
    """Whether the tensor is on the stand-in."""
    return getattr(tensor.untyped_storage(), "stand_in", False)


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
