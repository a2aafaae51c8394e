"""The configuration of collecting comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Labellers:
    """The simulated labellers; other values give other people, and so other rankings."""

    number: int = 6
    held_out: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    k_min: int = 4
    k_max: int = 9
    max_tokens: int = 32
    temperature: float = 1.0
    strays: int = 0  # completions among the K that answer other prompts: alternately a frequent reply and any reply
    labellers: Labellers = field(default_factory=Labellers)  # a build uses the labellers of its village

    def __post_init__(self) -> None:
        if not 2 <= self.k_min <= self.k_max:
            raise UserError(f"K is {self.k_min}..{self.k_max}; it must be 2 or more, smallest first (the paper: 4..9)")
        if not 0 <= self.strays <= self.k_min - 2:
            raise UserError(f"compare.strays is {self.strays}; it must be 0 to k_min - 2 = {self.k_min - 2}")
