"""AWQ's folders (Lin et al., 2024), as AutoAWQ writes them ("gemm"); read only.

For a module of `in` inputs and `out` outputs, group g:
    qweight int32 [in, out/8]   eight outputs per word
    qzeros  int32 [in/g, out/8] zero points, in the same order
    scales  fp16  [in/g, out]   w = scale * (code - zero point)
Nibble i of a word, from the lowest, belongs to output ORDER[i] of the word's eight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.int4 import Codes

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
PLACES = torch.tensor(ORDER).argsort()  # the nibble of each output
SHIFTS = torch.arange(0, 32, 4)


def unpack_awq(tensors: Mapping[str, Tensor]) -> Codes:
    """Return the 4-bit weight [out,in] of AWQ's tensors. UserError for tensors that do not fit each other."""
    qweight, qzeros, scales = (tensors[name] for name in ("qweight", "qzeros", "scales"))
    scales = scales.float()
    inputs, out, n_groups = qweight.shape[0], qweight.shape[1] * 8, len(scales)
    if scales.shape[1] != out or inputs % n_groups or qzeros.shape != (n_groups, out // 8):
        shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        raise UserError(f"the 4-bit tensors do not fit each other: {shapes}")
    if not bool(scales.isfinite().all()):
        raise UserError("the 4-bit scales have NaN or infinity in them; the file is damaged")
    zeros = scales * (8 - _nibbles(qzeros))
    return Codes(_nibbles(qweight).T.to(torch.uint8).contiguous(), scales.T.contiguous(), zeros.T.contiguous())


def _nibbles(words: Tensor) -> Tensor:
    """Return the numbers 0 to 15 [rows, out] of words [rows, out/8], in the order of the outputs."""
    return ((words.long()[:, :, None] >> SHIFTS) & 15)[:, :, PLACES].flatten(1)
