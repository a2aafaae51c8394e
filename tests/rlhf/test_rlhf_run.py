"""What a run of reinforcement learning refuses before it loads anything, and what it publishes."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.rlhf.config import Pretraining, RLHFConfig, Steps
from kaiwa.rlhf.run import run
from tests.tiny_models import policy_folder

SMALL: dict[str, Any] = {"batch": 4, "minibatches": 1, "max_tokens": 4, "updates": 3}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return policy_folder(tmp_path_factory.mktemp("rlhf") / "policy")


def trained(policy: Artifact, folder: Path, config: RLHFConfig, ctx: Context | None = None, **options: Any) -> Artifact:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("cat", "dog", "0 1")))
    inputs: dict[str, Any] = {"policy": policy, "reward": None, "tokens": None, "prompts": file}
    return run(config, ctx or Context(), out=folder / "rlhf", **(inputs | options))


def brevity(prompts: Any, replies: Any) -> torch.Tensor:
    return torch.tensor([-float(len(reply.ids)) for reply in replies])


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (RLHFConfig(), {}, "nothing says what is good: give a reward model"),
        (RLHFConfig(pretraining=Pretraining(ptx_ratio=1.0)), {"score": brevity}, "ptx mixes pretraining text in: give"),
        (RLHFConfig(lora_rank=2), {"score": brevity, "publish_after": (1,)}, "leave lora_rank at 0"),
        (RLHFConfig(score="rewards.txt"), {}, "give FILE.py:FUNCTION"),
        (RLHFConfig(score="none.py:score"), {}, "none.py: no such file"),
    ],
)
def test_what_is_refused_at_once(
    policy: Artifact, tmp_path: Path, config: RLHFConfig, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        trained(policy, tmp_path, config, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_run_is_published_with_its_last_figures(policy: Artifact, tmp_path: Path) -> None:
    lines: list[str] = []
    ctx = Context(logs=tmp_path / "logs", say=lines.append)
    options: dict[str, Any] = {"score": brevity, "publish_after": (1, 2), "chat": {"languages": ["en"]}}
    artifact = trained(policy, tmp_path, RLHFConfig(**SMALL, steps=Steps(lr=1e-2)), ctx, **options)
    rows = [row for row in read_metrics(tmp_path / "logs" / "rlhf.jsonl") if "score" in row]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert artifact.metrics["score"] == pytest.approx(rows[-1]["score"])
    assert artifact.metrics["optimizer_steps"] == 3
    assert sorted(p.name for p in (artifact.path / "updates").iterdir()) == ["1", "2"]
    folders = [policy.path, artifact.path / "updates" / "1", artifact.path / "updates" / "2", artifact.path]
    weights = [load_decoder(folder).embed.weight for folder in folders]
    for before, after in pairwise(weights):
        assert not torch.equal(before, after)
    assert json.loads((artifact.path / "chat.json").read_text()) == {"languages": ["en"]}
    assert lines[0].startswith("memory, at most:")
    again = trained(policy, tmp_path, RLHFConfig(**SMALL, steps=Steps(lr=1e-2)), ctx, **options)
    assert again.hash == artifact.hash
    assert len(read_metrics(tmp_path / "logs" / "rlhf.jsonl")) == len(rows)  # nothing was done again
