"""Preference files in the shapes people publish, and the recipe for a real model on the smallest one there is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kaiwa.core.artifact import open_artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.recipes.smollm2 import SmolLM2, build, split_preferences, summary
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import Pretraining, RLHFConfig
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train


def rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"the cat {i % 60}?"}],
            "chosen": f"the dog {i}",
            "rejected": f"cat {i}",
        }
        for i in range(n)
    ]


def test_no_prompt_of_the_test_is_trained_on(tmp_path: Path) -> None:
    files = split_preferences(SmolLM2(most=90, test=30), rows(100), tmp_path)
    read = {name: [json.loads(line) for line in file.read_text().splitlines()] for name, file in files.items()}
    asked = {name: {json.dumps(r["prompt"]) for r in read[name]} for name in ("test", "reward", "judge")}
    assert not asked["test"] & (asked["reward"] | asked["judge"])
    assert len(read["demonstrations"]) == len(read["prompts"]) == len(read["reward"])
    with pytest.raises(UserError, match="are needed"):
        split_preferences(SmolLM2(test=150), rows(100), tmp_path)


def test_the_whole_on_the_smallest_model(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = train(["the cat and the dog 0123?\n"] * 30, TokenizerConfig(vocab_size=270))
    config = DecoderConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_layer=1, n_head=2, d_ff=24, max_length=256)
    save_model(base, make_decoder(config, 0), special_ids(tokenizer), torch.float32)
    save(tokenizer, base)
    file = tmp_path / "preferences.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(60)))
    small = SmolLM2(
        most=60,
        test=12,
        answered=6,
        max_tokens=6,
        sft=replace(SFTConfig(pretrain_rows=0, lora_rank=2), epochs=1, batch=16, width=128),
        reward=RewardConfig(prompts=8, lora_rank=2),
        rlhf=RLHFConfig(
            updates=2,
            batch=8,
            max_tokens=6,
            lora_rank=2,
            shared_trunk=True,
            pretraining=Pretraining(ptx_coefficient=0.5, ptx_rows=1, ptx_width=64),
        ),
    )
    report = build(small, Context(), [file], tmp_path / "out", base)
    assert [m["name"] for m in report["models"]] == ["sft", "base", "ppo_ptx"]
    assert 0 <= report["accuracy"]["judge"]["low"] <= report["accuracy"]["judge"]["mean"] <= 1
    assert (tmp_path / "out" / "ppo_ptx" / "adapter" / "adapter_config.json").is_file()
    assert any("ptx_loss" in row for row in read_metrics(tmp_path / "out" / "logs" / "ppo_ptx.jsonl"))
    assert "by the judge" in summary(report)
    assert build(small, Context(), [file], tmp_path / "out", base)["models"] == report["models"]
    assert open_artifact(tmp_path / "out" / "reward", "reward").metrics["card"]
