"""GPTQ (Frantar et al., 2023, algorithm 1): one linear layer, rounded column by column.

With inputs X the layer's squared error is (w - q) H (w - q)^T, H = X X^T over calibration text. Columns are rounded one
after another; the columns not yet rounded compensate for a column's error:

    q_j = round(w_j)      e = (w_j - q_j) / U_jj      w_k -= e U_jk  for k > j,      U^T U = H^-1 (Cholesky, upper)

Departures. A group's grid is fitted on its weights including all compensation so far; the authors' code uses the
weights before the block's own compensation, which matters for groups smaller than a block. Grids are searched over a
few shrinkages for the least squared error. Decompositions are in fp64. Each Hessian is computed from the inputs that
the layer gets from the layers already rounded ("true sequential").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kaiwa.model.int4 import Codes

BLOCK = 128  # columns between two updates of all later columns
SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8)  # of a group's range: clipping the largest weight often reduces the error
RETRIES = 4  # each with ten times the damping


@dataclass(frozen=True, slots=True)
class QuantizedLayer:
    """A layer's 4-bit weight. error: mean squared output error / mean squared output. note: a fallback used, or ""."""

    codes: Codes
    error: float
    note: str = ""


def fit_grid(weight: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return scales and zero points [out] for a weight [out,g] = (code - point) * scale. Scales are bf16 numbers."""
    low, high = weight.amin(dim=1).clamp(max=0), weight.amax(dim=1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    best: list[Tensor] | None = None
    for shrink in SHRINK:
        scale = ((high - low) * shrink / 15).clamp(min=1e-4).bfloat16().float()
        point = torch.full_like(scale, 8.0) if symmetric else (-low * shrink / scale).round().clamp(0, 15)
        off = (round_to(weight, scale[:, None], point[:, None])[1] - weight).square().sum(dim=1)
        if best is None:
            best = [off, scale, point]
        else:
            less = off < best[0]
            best = [torch.where(less, new, old) for new, old in zip((off, scale, point), best, strict=True)]
    assert best is not None
    return best[1], best[2]


def round_to(weight: Tensor, scale: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes 0 to 15 (as floats) and the weights of these codes, both [out,g]; scale, point [out]."""
    codes = (weight / scale + point).round().clamp(0, 15)
    return codes, (codes - point) * scale


def gptq(
    weight: Tensor,
    hessian: Tensor,
    group: int,
    *,
    symmetric: bool = False,
    act_order: bool = True,
    static_groups: bool = True,
    damping: float = 0.01,
) -> QuantizedLayer:
    """Quantize a weight [out,in] for least output error; hessian [in,in] is the mean of x x^T over tokens."""
    inputs = weight.shape[1]
    w, H = weight.detach().float().clone(), hessian.double().clone()
    dead = H.diagonal() == 0  # inputs that are always 0 in calibration: their weights do not matter
    H[dead, dead] = 1.0
    order = torch.argsort(H.diagonal(), descending=True, stable=True) if act_order else torch.arange(inputs)
    upper, note = _upper(H[order][:, order], damping)
    if upper is None:
        rounded = nearest(weight, group, symmetric)
        return QuantizedLayer(rounded, output_error(weight, rounded, hessian), note)
    static = act_order and static_groups
    grids = [fit_grid(part, symmetric) for part in w.split(group, dim=1)] if static else []
    w = w[:, order]
    codes = torch.zeros_like(w)
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        block, errors = w[:, start:stop], torch.zeros(len(w), stop - start)
        for j in range(stop - start):
            column = start + j
            if not static and column % group == 0:
                grids.append(fit_grid(block[:, j : j + group], symmetric))
            scale, point = grids[int(order[column]) // group if static else column // group]
            codes[:, column], value = round_to(block[:, j], scale, point)
            errors[:, j] = (block[:, j] - value) / upper[column, column]
            block[:, j:] -= errors[:, j, None] * upper[column, column:stop]
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    codes = codes.to(torch.uint8)
    scales = torch.stack([scale for scale, _ in grids], dim=1)
    zeros = scales * (8 - torch.stack([point for _, point in grids], dim=1))
    if static:
        quantized = Codes(codes[:, order.argsort()].contiguous(), scales, zeros)
    else:
        quantized = Codes(codes, scales, zeros, order if act_order else None)
    return QuantizedLayer(quantized, output_error(weight, quantized, hessian), note)


def nearest(weight: Tensor, group: int, symmetric: bool) -> Codes:
    """Round a weight [out,in] to nearest on the same grids, the baseline of GPTQ."""
    parts = weight.detach().float().split(group, dim=1)
    grids = [fit_grid(part, symmetric) for part in parts]
    codes = [round_to(p, s[:, None], z[:, None])[0] for p, (s, z) in zip(parts, grids, strict=True)]
    scales = torch.stack([s for s, _ in grids], dim=1)
    zeros = scales * (8 - torch.stack([z for _, z in grids], dim=1))
    return Codes(torch.cat(codes, dim=1).to(torch.uint8), scales, zeros)


def output_error(weight: Tensor, codes4: Codes, hessian: Tensor) -> float:
    """Return the relative squared output error sum (w - q) H (w - q)^T / sum w H w^T; weight [out,in], H [in,in]."""
    w, off = weight.detach().float(), weight.detach().float() - codes4.dense()
    H = hessian.float()
    return float(((off @ H) * off).sum() / ((w @ H) * w).sum().clamp(min=1e-30))


def _upper(hessian: Tensor, damping: float) -> tuple[Tensor | None, str]:
    """Return U [in,in] with U^T U = (H + damping)^-1, fp32, and a note if more damping was needed; None on failure."""
    mean = float(hessian.diagonal().mean())
    eye = torch.eye(len(hessian), dtype=hessian.dtype)
    for attempt in range(RETRIES):
        share = damping * 10**attempt
        lower, failed = torch.linalg.cholesky_ex(hessian + share * mean * eye)
        if int(failed) == 0:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if int(failed) == 0 and bool(upper.isfinite().all()):
                return upper.float(), f"damping {share:g} instead of {damping:g}" if attempt else ""
    return None, f"its Hessian has no Cholesky decomposition even at damping {share:g}: rounded to nearest"


class Hessian:
    """The running mean of x x^T over the inputs of all tokens."""

    def __init__(self, inputs: int) -> None:
        self.total = torch.zeros(inputs, inputs)
        self.tokens = 0

    def see(self, x: Tensor) -> None:
        """Add the inputs x [...,in] of some tokens."""
        rows = x.detach().reshape(-1, x.shape[-1]).float()
        self.total += rows.T @ rows
        self.tokens += len(rows)

    def mean(self) -> Tensor:
        """Return the mean of x x^T [in,in]."""
        return self.total / max(1, self.tokens)
