"""Sampling, vectorised over rows, with randomness that depends only on (seed, position).

One uniform number u per token, from splitmix64 (Steele et al., 2014) of seed and position; the token is the first whose
cumulative probability exceeds u (inverse transform). The rest of the batch and its order have no influence. The usual
alternative, Gumbel noise for every entry of the vocabulary, costs a hash per entry and has the same distribution.

Log-probabilities come from the distribution at the sampling temperature before min-p, top-k and top-p (at
temperature 1 for greedy rows). PPO samples at temperature 1 with no filter, and so gets the policy's own values.

The random numbers are made on the CPU, from 64-bit integers that some devices lack, and are the same on every device;
logits stay on their device, and the sampled ids go to the CPU, where the next step is planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.text.sampling import Sampling

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
BLOCK = 64
SHORTLIST = 512  # top-p looks at this many tokens first, and sorts all only if they do not suffice


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, torch's is arithmetic


def mix(x: Tensor) -> Tensor:
    """Return splitmix64's finaliser of x [...] int64 (arithmetic modulo 2^64)."""
    x = (x ^ _shift(x, 30)) * MIX_1
    x = (x ^ _shift(x, 27)) * MIX_2
    return x ^ _shift(x, 31)


def row_seeds(seed: int, n: int) -> Tensor:
    """Return n independent seeds [n] int64 derived from a single seed."""
    base = torch.tensor(_to_signed(seed), dtype=torch.int64)
    return mix(mix(base + GOLDEN) + (torch.arange(n, dtype=torch.int64) + 1) * GOLDEN)


def seed_tensor(seeds: list[int]) -> Tensor:
    """Return any Python integers as int64 seeds [n]."""
    return torch.tensor([_to_signed(s) for s in seeds], dtype=torch.int64)


def _to_signed(seed: int) -> int:
    return ((seed + (1 << 63)) % (1 << 64)) - (1 << 63)


def uniforms(seeds: Tensor, positions: Tensor) -> Tensor:
    """Return uniform numbers [n] fp64 in [0, 1), 53 random bits each, for seeds and positions [n] int64."""
    return _shift(mix(mix(seeds + GOLDEN) + (positions + 1) * GOLDEN), 11).double() * 2.0**-53


@dataclass(slots=True)
class SamplingRules:
    """Sampling parameters of n rows: temperature [n] fp32 (0: greedy), top_k [n] int64 (0: all), top_p [n] fp32, seeds
    [n]; min_p [n] fp32, None where every row's is 0."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    seeds: Tensor
    greedy: bool = False  # every row is greedy
    plain: bool = False  # every row samples at temperature 1 without a filter
    filtered: bool = True  # some row has top-k, top-p or min-p
    min_p: Tensor | None = None

    @classmethod
    def make(
        cls,
        temperature: list[float],
        top_k: list[int],
        top_p: list[float],
        seeds: Tensor,
        min_p: Sequence[float] = (),
    ) -> SamplingRules:
        """Build the rules of n rows from lists of n numbers and seeds [n] int64."""
        filtered = any(top_k) or any(p < 1 for p in top_p) or any(min_p)
        return cls(
            torch.tensor(temperature, dtype=torch.float32),
            torch.tensor(top_k, dtype=torch.int64),
            torch.tensor(top_p, dtype=torch.float32),
            seeds,
            greedy=all(t == 0 for t in temperature),
            plain=all(t == 1 for t in temperature) and not filtered,
            filtered=filtered,
            min_p=torch.tensor(min_p, dtype=torch.float32) if any(min_p) else None,
        )

    @classmethod
    def of(cls, samplings: Sequence[Sampling], seeds: Tensor) -> SamplingRules:
        """Build the rules of n rows from how each is sampled. seeds: [n] int64."""
        return cls.make(
            [s.temperature for s in samplings],
            [s.top_k for s in samplings],
            [s.top_p for s in samplings],
            seeds,
            [s.min_p for s in samplings],
        )

    def rows(self, index: Tensor | slice) -> SamplingRules:
        """Return the rules of the rows at `index` [m]."""
        min_p = None if self.min_p is None else self.min_p[index]
        parts = (self.temperature[index], self.top_k[index], self.top_p[index], self.seeds[index])
        return SamplingRules(*parts, self.greedy, self.plain, self.filtered, min_p)


def sample(logits: Tensor, rules: SamplingRules, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Sample a token for each row of logits [n,V] fp32 (on any device, overwritten).

    positions [n]: of the new token, on the CPU like the rules. Return ids [n] int64 and log-probabilities [n], on the
    CPU.
    """
    device = logits.device
    if rules.greedy:
        best, ids = logits.max(dim=-1)
        return ids.cpu(), (best - logits.logsumexp(dim=-1)).cpu()
    temperature = rules.temperature.to(device)
    greedy = temperature == 0
    if not rules.plain:
        logits /= torch.where(greedy, 1.0, temperature)[:, None]
    mass = logits.sub_(logits.amax(dim=-1, keepdim=True)).exp_()
    u = uniforms(rules.seeds, positions)
    u = (u.float() if device.type == "mps" else u).to(device)  # mps has no fp64
    ids, total = _first_beyond(mass, u)
    if not rules.plain:
        filtered = (rules.top_k > 0) | (rules.top_p < 1)
        if rules.min_p is not None:
            filtered |= rules.min_p > 0
        filtered_rows = (filtered & (rules.temperature != 0)).nonzero()[:, 0]
        if len(filtered_rows):
            remaining = mass[filtered_rows.to(device)]
            if rules.min_p is not None:  # the likeliest has mass 1
                remaining = remaining.masked_fill(remaining < rules.min_p[filtered_rows].to(device)[:, None], 0.0)
            top_k, top_p, filtered_rows = (
                rules.top_k[filtered_rows].to(device),
                rules.top_p[filtered_rows].to(device),
                filtered_rows.to(device),
            )
            ids[filtered_rows] = _sample_filtered(remaining, top_k, top_p, u[filtered_rows])
        ids = torch.where(greedy, mass.argmax(dim=-1), ids)
    return ids.cpu(), (mass.gather(1, ids[:, None])[:, 0] / total).log().cpu()


def _first_beyond(mass: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return for mass [n,V] and u [n] the first index whose cumulative mass exceeds u x total [n], and total [n].

    In two steps, block then place in the block: a cumulative sum over the whole row costs six times as much. Never an
    index of mass 0.
    """
    if mass.shape[1] % BLOCK:
        mass = F.pad(mass, (0, BLOCK - mass.shape[1] % BLOCK))
    blocks = mass.view(len(mass), -1, BLOCK)
    ends = blocks.sum(dim=-1).cumsum(dim=-1)
    total = ends[:, -1]
    target = torch.minimum((u * total).float(), torch.nextafter(total, torch.zeros_like(total)))
    block = torch.searchsorted(ends, target[:, None], right=True)
    rows = torch.arange(len(mass), device=mass.device)
    start = torch.where(block > 0, ends.gather(1, (block - 1).clamp(min=0)), 0.0)[:, 0]
    inner = blocks[rows, block[:, 0]].cumsum(dim=-1)
    rest = torch.minimum(target - start, torch.nextafter(inner[:, -1], torch.zeros_like(total)))
    place = torch.searchsorted(inner, rest[:, None], right=True)[:, 0]
    return block[:, 0] * BLOCK + place, total


def _sample_filtered(mass: Tensor, top_k: Tensor, top_p: Tensor, u: Tensor) -> Tensor:
    """Sample from mass [n,V] with top-k [n], then top-p [n] (Holtzman et al., 2020: the smallest set of the likeliest
    tokens whose mass reaches p). Return ids [n]."""
    V = mass.shape[1]
    k = torch.where(top_k > 0, top_k.clamp(max=V), V)
    n = min(V, SHORTLIST)
    values, order = mass.topk(n, dim=-1)
    enough = torch.where(top_k > 0, k <= n, values.sum(-1) >= top_p * mass.sum(-1))
    ids = _sample_sorted(values, order, k, top_p, u, mass=mass)
    if n < V and not bool(enough.all()):
        rest = (~enough).nonzero()[:, 0]
        values, order = mass[rest].sort(dim=-1, descending=True, stable=True)
        ids[rest] = _sample_sorted(values, order, k[rest], top_p[rest], u[rest], mass=mass[rest])
    return ids


def _sample_sorted(values: Tensor, order: Tensor, k: Tensor, top_p: Tensor, u: Tensor, *, mass: Tensor) -> Tensor:
    """Sample from values [n,m], descending masses of the tokens `order` [n,m]; k, top_p, u [n]. Return ids [n]."""
    values = values.masked_fill(torch.arange(values.shape[1], device=values.device) >= k[:, None], 0.0)
    cumulative = values.cumsum(dim=-1)
    whole = torch.where(
        k < mass.shape[1], cumulative[:, -1], mass.sum(-1)
    )  # top-p is relative to the mass that top-k leaves
    before = cumulative - values
    values = values.masked_fill(before >= (top_p * whole)[:, None], 0.0)
    place, _ = _first_beyond(values, u)
    return order.gather(1, place[:, None])[:, 0]


def alternatives(logits: Tensor, temperature: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n likeliest tokens of logits [m,V]: ids [m,n] and log-probabilities [m,n] at temperature [m]."""
    scale = torch.where(temperature == 0, 1.0, temperature).to(logits.device)
    logprobs = (logits / scale[:, None]).log_softmax(dim=-1)
    values, ids = logprobs.topk(min(n, logits.shape[1]), dim=-1)
    return ids, values
