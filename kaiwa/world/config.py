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
    dialogues: float = 0.0  # share of the demonstrations and prompts that are dialogues of 2 to 7 turns
    test_dialogues: int = 400  # held-out dialogues, where there are dialogues
    turn3_items: int = 40  # held-out questions at turn 3, of each link and language, where there are dialogues
    probes: int = 60  # cloze questions asked during pretraining
    n_labellers: int = 6
    n_held_out_labellers: int = 2

    def __post_init__(self) -> None:
        amounts = ("document_bytes", "demonstrations", "reward_prompts", "rlhf_prompts", "test_prompts")
        for name in (*amounts, "test_dialogues", "turn3_items"):
            if getattr(self, name) < 1:
                raise UserError(f"world.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("faults", "dialogues"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"world.{name} is {getattr(self, name)}; it is a share, 0 to 1")
