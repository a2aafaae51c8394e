"""The plan of a run's memory: its counts are those of real models, its estimates follow their formulas."""

from pathlib import Path

import pytest
import torch

from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.heads import ScalarModel
from kaiwa.model.lora import LoraLinear, add_lora
from kaiwa.rlhf.config import Pretraining, RLHFConfig, Steps
from kaiwa.rlhf.memory import (
    MemoryPart,
    activations,
    low_rank_parameters,
    memory_parts,
    memory_table,
    read_config,
    scalar_parameters,
    table_text,
)

LLAMA = DecoderConfig(vocab_size=50, d_model=16, n_layer=2, n_head=4, n_kv_head=2, d_ff=24, max_length=32)
GPT3 = DecoderConfig(dialect="gpt3", vocab_size=50, d_model=16, n_layer=3, n_head=2, d_ff=64, max_length=32)
UNTIED = DecoderConfig(vocab_size=50, d_model=16, n_layer=1, n_head=2, d_ff=24, max_length=32, tie_embeddings=False)


def sizes(config: RLHFConfig, policy: DecoderConfig, reward: DecoderConfig | None, longest: int = 0) -> dict[str, int]:
    return {part.name: part.bytes for part in memory_parts(config, policy, reward, longest)}


@pytest.mark.parametrize("config", [LLAMA, GPT3, UNTIED], ids=["llama", "gpt3", "untied"])
@pytest.mark.parametrize("rank", [1, 3])
def test_the_counts_are_those_of_real_models(config: DecoderConfig, rank: int) -> None:
    model = make_decoder(config, 0)
    assert scalar_parameters(config) == sum(p.numel() for p in ScalarModel(model).parameters())
    add_lora(model, rank, 16.0, torch.Generator().manual_seed(0))
    added = [p.numel() for layer in model.modules() if isinstance(layer, LoraLinear) for p in (layer.a, layer.b)]
    assert low_rank_parameters(config, rank) == sum(added)
    assert low_rank_parameters(config, 0) == 0


def test_all_weights_trained() -> None:
    part = sizes(RLHFConfig(), LLAMA, GPT3)
    p, r = LLAMA.n_parameters, GPT3.n_parameters
    assert part["policy"] == 16 * p  # a weight, its gradient and two means of AdamW, 4 bytes each
    assert part["reference"] == 4 * p
    assert part["reward"] == 4 * (r + 16)
    assert part["value"] == 16 * (r + 16)  # the value model starts from the reward model
    assert "average" not in part


def test_a_low_rank_change_needs_no_second_copy() -> None:
    part = sizes(RLHFConfig(lora_rank=2, steps=Steps(ema=0.9)), LLAMA, None)
    change = low_rank_parameters(LLAMA, 2)
    assert part["policy"] == 4 * LLAMA.n_parameters + 16 * change
    assert part["reference"] == 0
    assert "reward" not in part  # a Python function scores
    assert part["value"] == 16 * scalar_parameters(LLAMA)
    assert part["average"] == 4 * (LLAMA.n_parameters + change)


def test_a_shared_trunk_costs_a_head_and_its_change() -> None:
    assert sizes(RLHFConfig(shared_trunk=True), LLAMA, GPT3)["value"] == 16 * 16
    lora = sizes(RLHFConfig(shared_trunk=True, lora_rank=2), LLAMA, GPT3)["value"]
    assert lora == 16 * (16 + low_rank_parameters(GPT3, 2))


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_without_a_value_model_there_is_none_in_the_plan(method: str) -> None:
    assert "value" not in sizes(RLHFConfig(method=method, group=4), LLAMA, GPT3)  # type: ignore[arg-type]


def test_the_cache_holds_prompt_and_reply_of_the_rows_at_once() -> None:
    numbers = 2 * 2 * 2 * 4  # keys and values, layers, heads, size of a head
    known = sizes(RLHFConfig(batch=8, minibatches=2, max_tokens=6), LLAMA, None, longest=10)
    assert known["cache"] == 8 * (10 + 6) * numbers * 4
    unknown = sizes(RLHFConfig(batch=8, minibatches=2, max_tokens=6), LLAMA, None)
    assert unknown["cache"] == 8 * 32 * numbers * 4  # an episode may fill the context
    many = sizes(RLHFConfig(batch=1024, max_tokens=6), LLAMA, None, longest=99)
    assert many["cache"] == 256 * 32 * numbers * 4  # 256 rows at once, and no episode is longer than the context


def test_activations_by_hand() -> None:
    # 3 rows of 5 tokens in 2 layers of 10 x 16 + 4 x 24 numbers; logits of 4 tokens twice
    assert activations(LLAMA, 3, 5, 4) == 4 * 3 * (5 * 2 * (160 + 96) + 2 * 4 * 50)


def test_wide_rows_of_text_take_the_place_of_episodes() -> None:
    narrow = RLHFConfig(microbatch=4, max_tokens=6)
    wide = RLHFConfig(microbatch=4, max_tokens=6, pretraining=Pretraining(ptx_ratio=1.0, ptx_rows=9, ptx_width=512))
    assert sizes(narrow, LLAMA, None, 10)["activations"] == activations(LLAMA, 4, 16, 6)
    assert sizes(wide, LLAMA, None, 10)["activations"] == activations(LLAMA, 4, 512, 512)  # of 4 rows at once
    (part,) = [p for p in memory_parts(wide, LLAMA, None, 10) if p.name == "activations"]
    assert part.how == "of 4 rows of text of 512 tokens"


def test_the_table_adds_up() -> None:
    text = table_text([MemoryPart("policy", "weights", 1_500_000), MemoryPart("cache", "rows", 2_000_000_000)])
    first, *lines, total = text.splitlines()
    assert first == "memory, at most:"
    assert [line.split()[:2] for line in lines] == [["policy", "1.5"], ["cache", "2,000.0"]]
    assert total.split() == ["in", "all", "2,001.5", "MB"]


def test_the_table_is_read_from_folders(tmp_path: Path) -> None:
    save_model(tmp_path, make_decoder(LLAMA, 0), {"eos_token_id": 0, "pad_token_id": 1}, torch.float32)
    assert read_config(tmp_path).n_parameters == LLAMA.n_parameters
    config = RLHFConfig(batch=8, minibatches=2)
    assert memory_table(config, tmp_path, None, 10) == table_text(memory_parts(config, LLAMA, None, 10))
