"""The plan of a model's memory: counts of real models, bounds by hand, how a model is split, what does not fit."""

from pathlib import Path

import pytest

from kaiwa.catalog import memory_plan
from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.catalog.memory_plan import DeviceSide, MemoryPlan, WeightsPart, parts_of, plan
from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.engine.rows.cpu_offload import MemoryLimits
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from tests.tiny_models import policy_folder, tiny_config

GB = 10**9
SIZES = {"n_layer": 8, "d_ff": 512, "max_length": 16}  # most of it is blocks
LLAMA = DecoderConfig(vocab_size=50, d_model=16, n_layer=3, n_head=2, d_ff=24, max_length=32)
UNTIED = DecoderConfig(vocab_size=50, d_model=16, n_layer=2, n_head=2, d_ff=24, max_length=32, tie_embeddings=False)
GPT3 = DecoderConfig(dialect="gpt3", vocab_size=50, d_model=16, n_layer=2, n_head=2, d_ff=64, max_length=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_folder(tmp_path_factory.mktemp("plan") / "model", **SIZES).path


@pytest.fixture
def _card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that nobody has: what is planned for it needs no weights on it."""
    monkeypatch.setattr(machine, "device", lambda name="": name or "cuda")
    monkeypatch.setattr(memory_plan, "free_bytes", lambda device: 10 * GB)
    monkeypatch.setattr(memory_plan, "has_bf16", lambda device: False)


@pytest.mark.parametrize("config", [LLAMA, UNTIED, GPT3], ids=["llama", "untied", "gpt3"])
def test_the_weights_are_those_of_a_real_model(config: DecoderConfig) -> None:
    parts = parts_of(config, False, "cpu")
    assert sum(part.weights for part in parts) == sum(p.numel() for p in make_decoder(config, 0).parameters())
    assert all(part.stored == 4.0 for part in parts)  # a small model stays in fp32
    read = {part.name: part.read for part in parts}
    assert read["blocks"] == 4.0
    # a token looks up one row of the embedding; the whole table is read where it is the unembedding too
    assert read["embedding"] == (4.0 if config.tie_embeddings else 0.0)


def test_the_bound_by_hand() -> None:
    part = WeightsPart("blocks", 1000, 2.0, 0.5)
    assert part.bytes == 2000
    side = DeviceSide("cpu", (part, WeightsPart("embedding", 100, 4.0, 0.0)), GB, 1e6)
    assert (side.bytes, side.read) == (2400, 500.0)
    one = MemoryPlan("m", (side,), 10)
    assert one.tokens_per_second == 1e6 / 500
    two = MemoryPlan("m", (side, DeviceSide("cuda", (part,), GB, 5e5)), 10)
    assert two.bytes == 4400
    assert two.tokens_per_second == pytest.approx(1 / (500 / 1e6 + 500 / 5e5))  # the sides take turns
    assert MemoryPlan("m", (DeviceSide("cuda", (part,), 0, 0.0),), 10).tokens_per_second == 0.0


def test_the_plan_as_text() -> None:
    part = WeightsPart("blocks", 2_000_000, 2.0, 2.0)
    text = MemoryPlan("m", (DeviceSide("cpu", (part,), 3 * GB, 4e9),), 5000).as_text()
    lines = text.splitlines()
    assert lines[0] == "m on cpu"
    assert lines[1].split() == ["blocks", "2.0M", "weights", "4.0", "MB"]
    assert lines[2].split() == ["weights", "on", "cpu", "4.0", "MB"]
    assert lines[3] == "  3.0 GB are free there; 4 GB/s measured"
    assert lines[4].split()[-2:] == ["5.0", "MB"]
    assert lines[5] == "  at most 1,000.0 tokens/s for one stream"
    nowhere = MemoryPlan("m", (DeviceSide("cuda", (part,), 0, 0.0),), 5000).as_text()
    assert "there is no cuda here: planned only" in nowhere
    assert "tokens/s" not in nowhere


def test_a_model_that_fits_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "free_bytes", lambda device: GB)
    whole = plan(entry_by_name_or_path(str(folder)), "cpu", measured=False)
    assert whole.n_on_device is None
    (side,) = whole.sides
    assert (side.device, side.free, side.bandwidth) == ("cpu", GB, 0.0)
    assert whole.bytes == 4 * tiny_config(**SIZES).n_parameters
    assert whole.cache == 2 * 8 * 2 * 8 * 4  # keys and values, blocks, heads, size, bytes


def test_a_model_that_does_not_fit_is_refused_with_what_would(folder: Path) -> None:
    entry = entry_by_name_or_path(str(folder))
    with pytest.raises(UserError, match=r"takes 0.00 GB on cpu, 0.00 GB --max-memory allows; choose a smaller or a"):
        plan(entry, "cpu", MemoryLimits(all=1000), measured=False)
    with pytest.raises(UserError, match="--max-memory gpu=…: this model goes to the CPU"):
        plan(entry, "cpu", MemoryLimits(gpu=GB), measured=False)


@pytest.mark.usefixtures("_card")
@pytest.mark.parametrize("n", [0, 1, 4, 6])
def test_so_many_blocks_as_the_card_has_room_for(folder: Path, n: int) -> None:
    config = tiny_config(**SIZES)
    block = 4 * config.block_products
    beside = 4 * (config.n_parameters - 8 * config.block_products) + config.cache_numbers * 4 * config.max_length
    limit = round((beside + (n + 0.9) * block) / 0.95)
    split = plan(entry_by_name_or_path(str(folder)), "cuda", MemoryLimits(gpu=limit), measured=False)
    assert split.n_on_device == n
    card, cpu = split.sides
    assert (card.device, cpu.device) == ("cuda", "cpu")
    assert card.parts[0].weights == n * config.block_products
    assert cpu.parts[0].weights == (8 - n) * config.block_products
    assert card.bytes + cpu.bytes == 4 * config.n_parameters
    assert card.parts[0].name == (f"blocks 1 to {n}" if n else "no blocks")
    assert cpu.parts[0].name == f"blocks {n + 1} to 8"


@pytest.mark.usefixtures("_card")
def test_a_split_that_fits_nowhere_is_refused(folder: Path) -> None:
    entry, config = entry_by_name_or_path(str(folder)), tiny_config(**SIZES)
    with pytest.raises(UserError, match=r"embeddings, keys and values take .* may be used; choose --device cpu"):
        plan(entry, "cuda", MemoryLimits(gpu=1000), measured=False)
    limit = 4 * config.n_parameters - 1
    with pytest.raises(
        UserError, match=r"7 of 8 blocks fit cuda; the others take .* --max-memory allows; choose a small"
    ):
        plan(entry, "cuda", MemoryLimits(gpu=limit, cpu=10), measured=False)
    with pytest.raises(UserError, match="or --max-memory gpu=…,cpu=… for both"):
        plan(entry, "cuda", MemoryLimits(all=limit), measured=False)  # one size: not to be split


def test_a_limit_for_a_card_plans_for_one_that_is_not_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "device", lambda name="": name or "cpu")
    planned = plan(entry_by_name_or_path(str(folder)), "", MemoryLimits(gpu=GB))
    (side,) = planned.sides
    assert (side.device, side.free, side.bandwidth) == ("cuda", 0, 0.0)
