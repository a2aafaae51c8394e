"""Training of a reward model from files: held-out comparisons of a file of their own."""

import json
from pathlib import Path

from kaiwa.core.context import Context
from kaiwa.reward.config import RewardConfig
from kaiwa.reward.run import run
from tests.tiny_models import policy_folder


def write(file: Path, n: int) -> Path:
    rows = [{"question": f"the cat {i}?", "chosen": "the dog", "rejected": f"zq {i}"} for i in range(n)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_held_out_comparisons_of_a_file(tmp_path: Path) -> None:
    policy = policy_folder(tmp_path / "policy", max_length=128)
    train, held_out = write(tmp_path / "train.jsonl", 20), write(tmp_path / "held_out.jsonl", 7)
    artifact = run(
        RewardConfig(prompts=4, width=128), Context(), policy=policy, comparisons=train, validation_file=held_out,
        out=tmp_path / "reward",
    )  # fmt: skip
    assert artifact.metrics["prompts"] == 20
    assert artifact.metrics["held_out_pairs"] == 7
    assert sorted(artifact.manifest["parents"]) == ["comparisons", "policy", "validation"]
