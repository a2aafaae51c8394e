"""Memory for weights: large regions on huge pages, where the system has them.

A token reads every weight once, from front to back. Pages of 4 KB need an address look-up every 4 KB, which
in a virtual machine costs two walks through page tables; with pages of 2 MB the cost is negligible.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
import torch
from torch import Tensor

REGION = 64 << 20
ALIGNED = 64


class Arena:
    """Memory for tensors, filled from front to back; never freed as long as the arena lives."""

    def __init__(self) -> None:
        self._regions: list[np.ndarray] = []
        self._region, self._used = -1, 0  # the region being filled, and how many bytes of it

    def rewind(self) -> None:
        """Begin again at the front: the same tensors in the same order get the same addresses."""
        self._region, self._used = min(0, len(self._regions) - 1), 0

    def place(self, tensor: Tensor) -> int:
        """Copy a tensor of any shape [...] into the arena. Return its address."""
        data = tensor.detach().contiguous().view(torch.uint8).reshape(-1)
        if self._region < 0 or self._used + data.numel() > len(self._regions[self._region]):
            self._region, self._used = self._region + 1, 0
            if self._region == len(self._regions):
                self._regions.append(allocate_huge(max(REGION, data.numel())))
        target = self._regions[self._region][self._used : self._used + data.numel()]
        target[:] = data.numpy()
        self._used += -(-data.numel() // ALIGNED) * ALIGNED
        return int(target.ctypes.data)

    def keep(self, tensor: Tensor) -> Tensor:
        """Copy a tensor [...] into the arena. Return a tensor over the copy."""
        self.place(tensor)
        size = tensor.numel() * tensor.element_size()
        start = self._used - -(-size // ALIGNED) * ALIGNED
        raw = torch.from_numpy(self._regions[self._region][start : start + size])
        return raw.view(tensor.dtype).view(tensor.shape)


def allocate_huge(size: int) -> np.ndarray:
    """Return `size` bytes [size] uint8 on huge pages, where the system has them."""
    memory = mmap.mmap(-1, size)  # zeros that take no memory before they are written to
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # this kernel has none: ordinary pages are slower, not wrong
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)
