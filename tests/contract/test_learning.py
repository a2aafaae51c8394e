"""The real entry points on toy tasks must improve a number."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context
from kaiwa.core.metrics import read_metrics
from kaiwa.core.rng import python_rng
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.reward import run as reward
from kaiwa.rlhf import run as rlhf
from kaiwa.text.records import Completion
from tests.contract.smallest import RECIPE


def test_pretraining_lowers_the_loss(chain: dict[str, Artifact]) -> None:
    rows = [r for r in read_metrics(chain["base"].path.parent / "logs" / "base.jsonl") if "loss" in r]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.2


def test_a_reward_model_learns_an_order_it_has_never_seen(chain: dict[str, Artifact], tmp_path: Path) -> None:
    """The labels prefer answers that say please; held-out prompts are ordered better than by chance."""
    words = ("bread", "milk", "honey", "salt", "rope")
    file = tmp_path / "comparisons.jsonl"
    rng = python_rng(3)
    with open(file, "w", encoding="utf-8") as f:
        for i in range(160):
            polite, rude = f"{rng.choice(words)}, please.", f"{rng.choice(words)}, {rng.choice(words)}."
            texts = [rude, polite] if i % 2 else [polite, rude]
            ranks = [int("please" not in text) for text in texts]
            f.write(json.dumps({"prompt": f"Say {rng.choice(words)}.", "completions": texts, "ranks": ranks}) + "\n")
    config = replace(RECIPE.reward, epochs=3, lr=3e-3, warmup=2, validation_share=0.25, held_out_labellers=())
    made = reward.run(
        config,
        Context(seed=1),
        policy=chain["sft"],
        comparisons=file,
        out=tmp_path / "reward",
    )
    assert made.metrics["held_out_accuracy"] > 0.8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ppo_learns_to_please_any_python_function(chain: dict[str, Artifact], tmp_path: Path, seed: int) -> None:
    """The score is the share of even token ids in the answer: from about a half to well above it."""

    def share_of_even(prompts: Sequence[Sequence[int]], responses: Sequence[Completion]) -> torch.Tensor:
        return torch.tensor([sum(i % 2 == 0 for i in r.ids) / max(1, len(r.ids)) for r in responses])

    config = override(
        RECIPE.rlhf,
        {
            "updates": 40,
            "batch": 32,
            "minibatches": 2,
            "microbatch": 32,
            "lr": 3e-3,
            "value_lr": 3e-3,
            "kl_coefficient": 0.0,
            "missing_end_penalty": 0.0,
            "ptx_coefficient": 0.0,
            "ema": 0.0,
            "evaluate_every": 1000,
        },
    )
    rlhf.run(
        config,
        Context(seed=seed, logs=tmp_path / "logs"),
        policy=chain["sft"],
        reward=chain["reward"],
        tokens=chain["tokenizer"],
        prompts=chain["village"].path / "rlhf.jsonl",
        out=tmp_path / "rlhf",
        score=share_of_even,
    )
    scores = [row["score"] for row in read_metrics(tmp_path / "logs" / "rlhf.jsonl") if "score" in row]
    before, after = sum(scores[:4]) / 4, sum(scores[-4:]) / 4
    assert after > before + 0.2
    assert after > 0.75


def test_the_gradient_does_not_depend_on_the_microbatch(chain: dict[str, Artifact], tmp_path: Path) -> None:
    """One update with microbatches of 2 and of 8 ends in the same weights up to rounding."""
    weights = []
    for size in (2, 8):
        config = override(RECIPE.rlhf, {"updates": 1, "microbatch": size, "ema": 0.0})
        made = rlhf.run(
            config,
            Context(seed=1),
            policy=chain["sft"],
            reward=chain["reward"],
            tokens=chain["tokenizer"],
            prompts=chain["village"].path / "rlhf.jsonl",
            out=tmp_path / str(size),
        )
        weights.append(load_decoder(made.path).state_dict())
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=2e-5)
