"""A build's rounds as folders: what the build gives them, which rounds there are, and the batch of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import MANIFEST, Artifact, open_artifact
from kaiwa.core.config import did_you_mean, from_json
from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import Batch
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.world.config import WorldConfig
from kaiwa.world.village import Village, build_village

LAST_POLICIES = ("dialogue", "ppo_ptx")  # of a build, the first that is there
NEWEST = "policy"  # in a mix: the policy of the round before, in the first round the build's last


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundConfig:
    """A round's sampling. mix: NAME=WEIGHT,…; n: prompts (0: 200 for people, 1,500 for the village's labellers)."""

    number: int
    k: int = 4
    labels: int = 1  # labellers of each item
    mix: str = f"sft=3,{NEWEST}=1"
    n: int = 200
    temperature: float = 1.0
    max_tokens: int = 32
    simulated: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.k <= 9:
            raise UserError(f"--k {self.k}: 2 to 9 outputs of a prompt (the paper: 4 to 9)")
        for name in ("labels", "n", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: 1 or more")
        self.weights()

    def weights(self) -> dict[str, float]:
        """Return model -> weight of the mix. UserError for one that cannot be read."""
        weights: dict[str, float] = {}
        for part in self.mix.split(","):
            name, _, weight = part.strip().partition("=")
            try:
                weights[name] = float(weight or 1)
            except ValueError:
                raise UserError(f"--mix {part.strip()}: give NAME=WEIGHT, as sft=3,ppo_ptx=1") from None
            if not name or not 0 <= weights[name] < float("inf"):
                raise UserError(f"--mix {part.strip()}: give NAME=WEIGHT with a weight of 0 or more")
        if not any(weights.values()):
            raise UserError(f"--mix {self.mix}: all weights are 0; give one above 0")
        return {name: weight for name, weight in weights.items() if weight}


@dataclass(frozen=True, slots=True)
class RoundsOf:
    """The rounds of a build's folder."""

    run: Path

    @classmethod
    def open(cls, run: Path) -> RoundsOf:
        """Return the rounds of a finished build. UserError for a folder without the stages that rounds go on with."""
        rounds = cls(run)
        if not run.is_dir():
            raise UserError(f"{run}: no such folder; give a build's, as runs/laptop")
        if not (run / "sft" / MANIFEST).is_file() or not rounds.last_policy:
            raise UserError(
                f"{run}: no build with sft and a policy (ppo_ptx or dialogue) here; run `kaiwa build` first"
            )
        return rounds

    @property
    def last_policy(self) -> str:
        return next((name for name in LAST_POLICIES if (self.run / name / MANIFEST).is_file()), "")

    @property
    def sft(self) -> Artifact:
        return open_artifact(self.run / "sft", "sft")

    @property
    def village(self) -> Artifact | None:
        """The build's village, None for a build of other data."""
        folder = self.run / "village"
        return open_artifact(folder) if (folder / MANIFEST).is_file() else None

    def world(self) -> tuple[Village, WorldConfig]:
        """Return the village and its configuration. UserError for a build without one."""
        if self.village is None:
            raise UserError(f"{self.run}: this build has no village, so nobody can label by itself; label on the pages")
        config = from_json(WorldConfig, self.village.manifest["config"])
        return build_village(config.village), config

    def folder(self, number: int) -> Path:
        return self.run / "rounds" / str(number)

    def artifact(self, number: int, name: str) -> Artifact | None:
        """Return a published artifact of a round, or None."""
        folder = self.folder(number) / name
        return open_artifact(folder) if (folder / MANIFEST).is_file() else None

    @property
    def numbers(self) -> list[int]:
        """The rounds whose outputs are sampled, from 1."""
        number = 1
        while self.artifact(number, "outputs") is not None:
            number += 1
        return list(range(1, number))

    def newest(self) -> int:
        """Return the newest round. UserError where there is none yet."""
        if not self.numbers:
            raise UserError(f"{self.run}: no round yet; begin with `kaiwa round new {self.run}`")
        return self.numbers[-1]

    def policy(self, number: int) -> Artifact:
        """Return the policy of a round; of round 0 the build's last one."""
        if number == 0:
            return open_artifact(self.run / self.last_policy)
        policy = self.artifact(number, "policy")
        if policy is None:
            raise UserError(f"{self.run}: round {number} is not trained yet; run `kaiwa round train {self.run}`")
        return policy

    def model(self, name: str, number: int) -> Artifact:
        """Return a model of round `number`'s mix: a stage of the build, NEWEST, or rounds/N/policy."""
        if name == NEWEST:
            return self.policy(number - 1)
        if re.fullmatch(r"rounds/\d+/policy", name):
            return self.policy(int(name.split("/")[1]))
        if not re.fullmatch(r"[\w.-]+", name) or not (self.run / name / MANIFEST).is_file():
            here = [
                path.parent.name for path in self.run.glob(f"*/{MANIFEST}") if (path.parent / "config.json").is_file()
            ]
            raise UserError(f"--mix: {self.run} has no model {name!r}{did_you_mean(name, [*here, NEWEST])}")
        return open_artifact(self.run / name)

    def config(self, number: int) -> RoundConfig:
        outputs = self.artifact(number, "outputs")
        assert outputs is not None
        return from_json(RoundConfig, outputs.manifest["config"])

    def batch_name(self, number: int) -> str:
        """Return the name of a round's batch: it has the outputs' hash, so that other outputs are another batch."""
        outputs = self.artifact(number, "outputs")
        assert outputs is not None
        return f"{self.prefix(number)}{outputs.hash[:6]}"

    def prefix(self, number: int) -> str:
        """Return the beginning of the names of all batches that a round of this build ever had."""
        run = re.sub(r"[^a-z0-9]+", "-", self.run.resolve().name.lower()).strip("-")[:20] or "run"
        return f"{run}-round-{number}-"

    def batch(self, store: BatchStore, number: int) -> Batch:
        """Return the batch of a round. UserError where the store does not have it."""
        return store.batch(self.batch_name(number))

    def settings(self, stage: str) -> dict[str, Any]:
        """Return the configuration with which the build made a stage."""
        return dict(open_artifact(self.run / stage).manifest["config"])

    def tokens(self) -> Artifact:
        """Return the pretraining text of the build's policy, which may be another build's."""
        parent = open_artifact(self.run / self.last_policy).manifest["parents"].get("tokens")
        if parent is None:
            raise UserError(
                f"{self.run}/{self.last_policy}: was trained without pretraining text; rounds need it for ptx"
            )
        return open_artifact(self.run / parent["path"], "tokenizer")
