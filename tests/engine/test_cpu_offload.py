"""A model split between a card and the CPU: on a strict stand-in for the card, since few machines have one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kaiwa.catalog import memory_plan as plans
from kaiwa.catalog.entries import Entry, read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.memory_plan import MemoryPlan, load_here, plan
from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.engine.request import Request
from kaiwa.engine.rows.cpu_offload import MemoryLimits, OffloadedBlock, is_split, parse_limits, place_blocks
from kaiwa.model.adapter import save_soft_prompt
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.gptq import save_int4
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train
from tests.contract.test_device import PROMPTS, answers
from tests.engine.test_engine import drive, ids
from tests.engine.test_engine_adapters import engine_with, logprobs, random_adapter
from tests.stand_in import StandIn, is_there

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")
CONFIG = DecoderConfig(
    vocab_size=265, d_model=64, n_layer=4, n_head=4, n_kv_head=2, d_ff=64, max_length=64, tie_embeddings=False
)


@pytest.mark.parametrize(("dialect", "n_on_device"), [("llama", 1), ("gpt3", 2), ("llama", 0)])
def test_a_split_model_gives_the_same_answers(dialect: str, n_on_device: int) -> None:
    heads = {"n_kv_head": 0} if dialect == "gpt3" else {}
    config = replace(CONFIG, vocab_size=256, dialect=dialect, **heads)  # type: ignore[arg-type]
    expected = answers(make_decoder(config, 0))
    with StandIn("cuda", shared=True) as mode:
        decoder = place_blocks(make_decoder(config, 0), "cuda", n_on_device)
        assert [isinstance(b, OffloadedBlock) for b in decoder.blocks] == [i >= n_on_device for i in range(4)]
        for name, parameter in decoder.named_parameters():
            layer = int(name.split(".")[1]) if name.startswith("blocks.") else 0
            assert is_there(parameter) == (not name.startswith("blocks.") or layer < n_on_device), name
        found = answers(decoder)
    assert is_split(decoder)
    # attention and the unembedding are on the card whatever is elsewhere
    assert mode.products > 0
    assert mode.here > 0
    # one row's bulk answers and scores by other kernels (the C++ step, the lean step) round otherwise: ids must agree
    assert _ids(found) == _ids(expected)


def _ids(found: list[object]) -> list[object]:
    """The sampled ids of `answers`: the bulk ones, then the served events'."""
    bulk = [[c.ids for c in some] for some in found[:3]]  # type: ignore[attr-defined]
    return [*bulk, [(e.id, t.id) for events in found[5:25] for e in events for t in e.tokens]]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    """A model of four blocks, dense and at 4 bits."""
    tokenizer = train(["the old mill by the river"] * 3, TokenizerConfig(vocab_size=265))
    decoder, found = make_decoder(CONFIG, 0), {}
    for name in ("dense", "four"):
        folder = tmp_path_factory.mktemp(name)
        if name == "dense":
            save_model(folder, decoder, special_ids(tokenizer), torch.float32)
        else:
            save_int4(folder, decoder, special_ids(tokenizer), 32)
        save(tokenizer, folder)
        entry = read_entry(folder, name)
        assert entry is not None
        found[name] = entry
    return found


def test_a_four_bit_model_is_expanded_on_the_card_and_stays_packed_elsewhere(folders: dict[str, Entry]) -> None:
    said: list[str] = []
    plain = load(folders["four"], device="cpu").decoder
    ids = torch.tensor([PROMPTS[2]])
    with StandIn("cuda", shared=True) as mode:
        split = load(folders["four"], said.append, "cuda", 2).decoder
        assert type(split.blocks[1].qkv) is torch.nn.Linear
        assert type(split.blocks[2].block.qkv) is not torch.nn.Linear  # type: ignore[union-attr]
        there = split.logits(split(ids.to("cuda"), torch.arange(7, device="cuda")[None], attend_rows(None))).cpu()
    here = plain.logits(plain(ids, torch.arange(7)[None], attend_rows(None)))
    assert torch.nn.functional.cosine_similarity(there.float(), here.float(), dim=-1).min() > 0.999
    assert said[-1] == "2 of 4 blocks are on cuda, the others on the CPU"
    assert mode.here >= 2 * 4


def test_limits_are_read() -> None:
    assert parse_limits("8") == MemoryLimits(all=8 * 10**9)
    assert parse_limits("gpu=6GiB, cpu=16.5GB") == MemoryLimits(gpu=6 << 30, cpu=16_500_000_000)
    for wrong in ("", "6 apples", "gpu=6GiB,8", "disk=3GB", "gpu=1GB,gpu=2GB", "-1", "1e3"):
        with pytest.raises(UserError, match=r"give 8GB, or|give one size"):
            parse_limits(wrong)


def planned(entry: Entry, limits: str, monkeypatch: pytest.MonkeyPatch) -> MemoryPlan:
    monkeypatch.setattr(plans, "bandwidth", lambda device: {"cuda": 100e9, "cpu": 10e9}[device])
    monkeypatch.setattr(plans, "free_bytes", lambda device: 1 << 34)
    monkeypatch.setattr(machine, "device", lambda wanted="": wanted or "cuda")
    return plan(entry, limits=parse_limits(limits))


def test_a_plan_counts_what_is_where(folders: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = folders["dense"]
    block, cache = 4 * (64 * 128 + 64 * 64 + 3 * 64 * 64), 4 * 2 * 2 * 16 * 4  # bytes; the latter of a token
    beside = 4 * (2 * 265 * 64 + 9 * 64) + 64 * cache
    whole = planned(entry, "1GB", monkeypatch)
    assert (whole.n_on_device, len(whole.sides)) == (None, 1)
    room = (beside + 2.5 * block) / 0.95 / 1e6
    split = planned(entry, f"gpu={room:.6f}MB,cpu=1GB", monkeypatch)
    assert split.n_on_device == 2
    assert split.bytes == whole.bytes
    assert [side.device for side in split.sides] == ["cuda", "cpu"]
    assert split.sides[1].bytes == 2 * block
    seconds = split.sides[0].read / 100e9 + split.sides[1].read / 10e9
    assert split.tokens_per_second == pytest.approx(1 / seconds)
    assert "blocks 3 to 4" in split.as_text()
    assert "blocks 1 to 2" in split.as_text()
    with pytest.raises(UserError, match="2 of 4 blocks fit cuda; the others take"):
        planned(entry, f"gpu={room:.6f}MB,cpu=0.1MB", monkeypatch)
    with pytest.raises(UserError, match="embeddings, keys and values take"):
        planned(entry, "gpu=0.1MB", monkeypatch)
    with pytest.raises(UserError, match="--max-memory allows"):
        planned(entry, "0.1MB", monkeypatch)


def test_a_card_that_is_not_here_is_planned_for_and_not_loaded(
    folders: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIWA_DEVICE", "cpu")
    made = plan(folders["dense"], limits=parse_limits("gpu=0.5MB"))
    assert made.n_on_device is not None
    assert made.tokens_per_second == 0
    assert "there is no cuda here: planned only" in made.as_text()
    monkeypatch.setenv("KAIWA_MAX_MEMORY", "gpu=0.5MB")
    with pytest.raises(UserError, match="this model goes to the CPU"):
        load_here(folders["dense"], lambda line: None)


def test_an_adapter_is_planned_and_loaded_with_its_base(
    folders: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = folders["dense"]
    save_soft_prompt(tmp_path, torch.ones(3, 64), CONFIG, base.name)
    alone = replace(base, name="mine", path=tmp_path, kind="adapter", adapter=tmp_path, base=base)
    assert planned(alone, "1GB", monkeypatch) == replace(planned(base, "1GB", monkeypatch), name="mine")
    monkeypatch.setattr(machine, "device", lambda wanted="": "cpu")
    for loaded in (load_here(alone, max_memory="1GB", say=print), load(alone, n_on_device=2)):
        assert loaded.adapter is not None
        assert (loaded.entry, loaded.adapter.n_soft) == (alone, 3)
    assert is_split(loaded.decoder)


def test_whether_the_card_has_room(folders: dict[str, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    size = planned(folders["dense"], "1GB", monkeypatch).bytes
    for free in (size, size - 1):
        monkeypatch.setattr(plans, "free_bytes", lambda device, free=free: free)
        assert plans.has_room(folders["dense"]) == (free == size)
    monkeypatch.setenv("KAIWA_MAX_MEMORY", "gpu=0.1MB")
    assert plans.has_room(folders["dense"]), "what is free does not decide"


def test_a_model_larger_than_the_card_is_split_by_itself(
    folders: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "device", lambda wanted="": wanted or "cuda")
    monkeypatch.setattr(plans, "free_bytes", lambda device: 500_000 if device == "cuda" else 1 << 34)
    with StandIn("cuda", shared=True):
        loaded = load_here(folders["dense"], lambda line: None)
    assert is_split(loaded.decoder)


def test_an_adapter_of_a_split_model_gives_the_same_answers() -> None:
    made = random_adapter(CONFIG, 4, 1)
    requests = [
        Request(
            id=f"{i}", prompt_ids=(7, 8, i), sampling=Sampling(max_tokens=4, temperature=0.0), adapter="a" * (i % 2)
        )
        for i in range(3)
    ]
    expected = drive(engine_with(make_decoder(CONFIG, 0), {"a": made}), requests)
    with StandIn("cuda", shared=True):
        found = drive(engine_with(place_blocks(make_decoder(CONFIG, 0), "cuda", 2), {"a": made}), requests)
    for id, events in expected.items():
        assert ids(found[id]) == ids(events)
        assert logprobs(found[id]) == pytest.approx(logprobs(events), abs=1e-3)
