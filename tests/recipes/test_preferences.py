"""Preference files in the shapes people publish, and the recipe for a real model on the smallest one there is."""

import gzip
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
from kaiwa.recipes.preferences import preference, read_preferences
from kaiwa.recipes.smollm2 import SmolLM2, build, split_preferences, summary
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import Pretraining, RLHFConfig
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train

USER = [{"role": "user", "content": "Hello?"}]
SHAPES = [
    {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."},
    {"prompt": USER, "chosen": [{"role": "assistant", "content": "Hi."}], "rejected": "No."},
    {"instruction": "Hello?", "input": "", "output": "x", "chosen": "Hi.", "rejected": "No."},
    {"chosen": "\n\nHuman: Hello?\n\nAssistant: Hi.", "rejected": "\n\nHuman: Hello?\n\nAssistant: No."},
    {
        "conversations": [{"from": "human", "value": "Hello?"}],
        "chosen": {"from": "gpt", "value": "Hi."},
        "rejected": {"from": "gpt", "value": "No."},
    },
]


@pytest.mark.parametrize("raw", SHAPES)
def test_one_shape_of_all(raw: dict[str, object]) -> None:
    assert preference(raw) == {"prompt": USER, "chosen": "Hi.", "rejected": "No."}


def test_files_lists_lines_and_compressed_ones(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in SHAPES)
    (tmp_path / "a.json").write_text(json.dumps(SHAPES))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert [len(read_preferences(file)) for file in sorted(tmp_path.iterdir())] == [5, 5, 5]
    (tmp_path / "b.jsonl").write_text(lines + '{"chosen": "Hi."}\n')
    with pytest.raises(UserError, match="record 6: no preference"):
        read_preferences(tmp_path / "b.jsonl")
    with pytest.raises(UserError, match="no such file"):
        read_preferences(tmp_path / "c.jsonl")


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


@pytest.mark.parametrize(
    "raw",
    [
        {"chosen": "no turns in it", "rejected": "nor here"},
        {"chosen": "\n\nHuman: Hello?\n\nAssistant: Hi.", "rejected": "no turns"},
        {"chosen": [], "rejected": []},
        {"prompt": "Hello?", "chosen": "Hi."},
        {"prompt": [{"role": "assistant", "content": "Hello?"}], "chosen": "a", "rejected": "b"},
        {"conversations": [], "chosen": {"value": "a"}, "rejected": {"value": "b"}},
        {"conversations": [{"from": "robot", "value": "x"}], "chosen": {"value": "a"}, "rejected": {"value": "b"}},
        "a text",
        7,
    ],
)
def test_a_record_that_is_no_preference_is_named(raw: object, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([SHAPES[0], raw]))
    with pytest.raises(UserError, match=r"a\.json, record 2: no preference \(.*\); each needs a prompt, chosen and"):
        read_preferences(file)


def test_equal_answers_say_nothing_and_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([SHAPES[0], SHAPES[0] | {"rejected": " Hi. "}]))
    assert len(read_preferences(file)) == 1
    file.write_text(json.dumps([SHAPES[0] | {"rejected": "Hi."}]))
    with pytest.raises(UserError, match="no preference in it"):
        read_preferences(file)


@pytest.mark.parametrize("data", [b'{"a": ', b"[1, 2", gzip.compress(b"x"), b'{"a": "caf\xe9"}'])
def test_a_file_that_is_no_json_is_told(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jsonl: not JSON"):
        read_preferences(file)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(b"not packed at all")
    with pytest.raises(UserError, match=r"b\.jsonl\.gz: not compressed by gzip"):
        read_preferences(packed)


def test_a_dialogue_of_more_turns_is_the_prompt_of_the_last(tmp_path: Path) -> None:
    talk = "\n\nHuman: One?\n\nAssistant: Yes.\n\nHuman: Two?\n\nAssistant: "
    row = preference({"chosen": talk + "Good.", "rejected": talk + "Bad."})
    assert [m["content"] for m in row["prompt"]] == ["One?", "Yes.", "Two?"]
    assert (row["chosen"], row["rejected"]) == ("Good.", "Bad.")
    alpaca = preference({"instruction": "Add.", "input": "1 2", "chosen": "3", "rejected": "4"})
    assert alpaca["prompt"] == [{"role": "user", "content": "Add.\n\n1 2"}]


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    row = {"prompt": "Hello?", "chosen": "Hi\u2028there\x85.", "rejected": "No."}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\r\n" + json.dumps(row) + "\n", encoding="utf-8", newline="")
    assert [r["chosen"] for r in read_preferences(file)] == [row["chosen"]] * 2
