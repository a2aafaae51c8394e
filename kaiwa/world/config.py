"""The configuration of the village stage: amounts of documents, demonstrations and prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.world.village import VillageConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    village: VillageConfig = field(default_factory=VillageConfig)
    document_bytes: int = 3_000_000
    growing: float = 0.3  # first share of the documents during which the village grows to its full size
    faults: float = 0.0  # share of careless answers in the documents' dialogues, as on the web
    neutral_bytes: int = 600_000  # size of the same documents with random names, for the tokenizer
    demonstrations: int = 3000  # of each quality, mixed and good
    reward_prompts: int = 2500
    rlhf_prompts: int = 5000
    test_prompts: int = 600
    probes: int = 60  # cloze questions asked during pretraining
    n_labellers: int = 6
    n_held_out_labellers: int = 2

    def __post_init__(self) -> None:
        for name in ("document_bytes", "demonstrations", "reward_prompts", "rlhf_prompts", "test_prompts"):
            if getattr(self, name) < 1:
                raise UserError(f"world.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.faults <= 1:
            raise UserError(f"world.faults is {self.faults}; it is a share, 0 to 1")
