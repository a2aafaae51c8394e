"""Large 4-bit folders as the C++ step reads them: equal to the ordinary reader, kept in a file, read back."""

import json
import threading
from pathlib import Path

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import library, packed_file, packed_folder, packed_model
from kaiwa.engine.native import step as fused
from kaiwa.engine.native.weight_layout import pack, unpack
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.gptq import load_int4, save_gptq
from kaiwa.model.formats.hf_config import read_config
from kaiwa.model.int4 import Codes, quantize_rtn, quantized_names
from kaiwa.text.sampling import Sampling

CONFIG = DecoderConfig(vocab_size=200, d_model=128, n_layer=2, n_head=4, n_kv_head=2, d_ff=192, tie_embeddings=False)
needs_step = pytest.mark.skipif(bool(library.machine_refusal()), reason="there is no C++ step on this machine")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native_home = library._file() if not library.machine_refusal() else None
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path / "home"))
    if native_home is not None:
        monkeypatch.setattr(library, "_file", lambda: native_home)  # compiled once for all tests
    monkeypatch.setattr(packed_model, "LARGE", 0)


def folder_of(path: Path, order: bool, version: int, head: bool = False, group: int = 64) -> Path:
    """A GPTQ folder with random weights: with act-order, in either version, with a 4-bit head."""
    decoder = make_decoder(CONFIG, 0)
    names = [*quantized_names(decoder), *(["unembed.weight"] if head else [])]
    made = {}
    for i, name in enumerate(names):
        weight = decoder.state_dict()[name] * 5
        columns = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(i)) if order else None
        codes, scales, _ = quantize_rtn(weight if columns is None else weight[:, columns], group)
        zeros = torch.zeros_like(scales)
        if version == 2:  # asymmetric
            zeros = scales * torch.randint(-7, 8, scales.shape, generator=torch.Generator().manual_seed(i))
        made[name] = Codes(codes, scales, zeros, columns)
    settings = {"group_size": group, "sym": version == 1, "desc_act": order, "meta": {}}
    save_gptq(path, decoder, {"eos_token_id": 0}, made, settings=settings, version=version)
    return path


def logits(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    return decoder.logits(decoder(ids, positions, attend_rows(None))).float()


def test_unpack_is_packs_way_back() -> None:
    codes, scales, zeros = quantize_rtn(torch.randn(40, 96, generator=torch.Generator().manual_seed(0)), 32)
    from kaiwa.model.int4 import Int4Linear

    made = Int4Linear.from_codes(codes[:32], scales[:32], zeros[:32], torch.arange(32.0), kernel=True)
    weight, bias = unpack(pack(made))
    assert made.dense is not None
    assert torch.equal(weight.bfloat16(), made.dense)
    assert bias is not None
    assert bias.tolist() == list(range(32))
    plain = torch.nn.Linear(96, 40, bias=False).bfloat16()
    assert torch.equal(unpack(pack(plain))[0].bfloat16(), plain.weight)


@needs_step
@pytest.mark.parametrize(("order", "version", "head"), [(False, 1, False), (True, 1, True), (True, 2, False)])
@torch.no_grad()
def test_equal_to_the_ordinary_reader(order: bool, version: int, head: bool, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", order, version, head)
    plain = load_int4(folder, torch.float32, False)
    ids = torch.randint(0, 200, (1, 12), generator=torch.Generator().manual_seed(3))
    expected = logits(plain, ids)
    lines: list[str] = []
    for load in ("first", "second"):
        decoder = packed_model.load_packed(folder, read_config(folder), lines.append)
        assert torch.nn.functional.cosine_similarity(logits(decoder, ids), expected, dim=-1).min() > 0.999, load
        fused.make(decoder)
        engine = Engine(decoder, dtype=torch.bfloat16, cache_dtype=torch.float32)
        (answer,) = engine.generate([ids[0].tolist()], Sampling(max_tokens=1, temperature=0))
        step = fused.ready(decoder)
        assert step is not None
        assert answer.ids[0] == int(expected[0, -1].argmax())
        states = torch.randn(3, 128, generator=torch.Generator().manual_seed(5))
        close = torch.nn.functional.cosine_similarity(step.logits(states), plain.logits(states), dim=-1)
        assert close.min() > 0.999
        hidden = one_pass(step, ids[0].tolist())
        whole = plain(ids, torch.arange(12)[None], attend_rows(None))[0]
        assert torch.nn.functional.cosine_similarity(hidden, whole, dim=-1).min() > 0.999, load
    assert lines == ["first load: the weights are put in the C++ step's order and kept for the next time"]


def one_pass(step: fused.NativeModel, ids: list[int]) -> torch.Tensor:
    """The C++ step over one row of fewer than sixteen tokens."""
    import numpy as np

    c = step.config
    cache = np.zeros((1, c.n_layer * 2 * c.kv_heads * 16 * c.d_head), np.float32)
    tables = np.zeros((1, 1), np.int32)
    return step.forward((ids, list(range(len(ids))), [0] * len(ids)), tables, cache)


@needs_step
def test_an_act_ordered_layer_runs_in_the_step_of_small_models_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", True, 1)
    decoder = load_int4(folder)
    assert fused.decoder_refusal(decoder) == ""
    hidden = one_pass(fused.make(decoder), list(range(10)))
    plain = load_int4(folder, torch.float32, False)
    with torch.no_grad():
        whole = plain(torch.arange(10)[None], torch.arange(10)[None], attend_rows(None))[0]
    assert torch.nn.functional.cosine_similarity(hidden, whole, dim=-1).min() > 0.999


@needs_step
def test_a_damaged_copy_is_made_anew_and_a_changed_folder_is_seen(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", False, 1)
    config = read_config(folder)
    packed_model.load_packed(folder, config)
    (file,) = (tmp_path / "home" / "cache" / "packed").iterdir()
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"x" * 2000, b""):
        file.write_bytes(broken)
        lines: list[str] = []
        packed_model.load_packed(folder, config, lines.append)
        assert "damaged" in lines[0]
        assert file.read_bytes() == whole
    folder_of(folder, False, 1, group=32)
    packed_model.load_packed(folder, config)
    (newer,) = file.parent.iterdir()  # the earlier one is of no use
    assert newer != file
    from safetensors import safe_open

    with safe_open(newer, framework="pt") as f:  # a safetensors file that others can read
        assert f.get_tensor("blocks.0.norm_attn.weight").shape == (128,)


@needs_step
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.layers.1.mlp.down_proj.qzeros", None, "qzeros is missing"),
        ("model.layers.0.self_attn.k_proj.scales", lambda t: t[:1], "do not fit each other"),
        ("model.layers.0.self_attn.k_proj.qweight", lambda t: t[:, :32], "do not fit each other"),
        ("model.layers.0.self_attn.o_proj.scales", lambda t: t * float("nan"), "NaN or infinity"),
        ("model.layers.0.self_attn.k_proj.qweight", lambda t: t.to(torch.uint8), "no part of GPTQ"),
        ("model.layers.0.self_attn.k_proj.scales", lambda t: t[:0], "no part of GPTQ"),
        ("model.layers.0.self_attn.k_proj.g_idx", lambda t: t[None], "no part of GPTQ"),
        ("lm_head.weight", None, "lm_head.weight is missing"),
        ("model.norm.weight", lambda t: t * float("inf"), "NaN or infinity"),
        ("model.layers.0.mlp.up_proj.g_idx", lambda t: t * 0, "does not sort"),
    ],
)
def test_bad_folders(name: str, change: object, message: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of(tmp_path / "m", True, 1)
    tensors = load_file(folder / "model.safetensors")
    if change is None:
        del tensors[name]
    else:
        tensors[name] = change(tensors[name]).contiguous()  # type: ignore[operator]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=message):
        packed_model.load_packed(folder, read_config(folder))
    assert not list((tmp_path / "home" / "cache" / "packed").iterdir())


@needs_step
def test_groups_that_the_step_has_not_are_left_to_the_ordinary_reader(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", False, 1, group=16)
    with pytest.raises(packed_model.NotPackable, match="no multiples of 32"):
        packed_model.load_packed(folder, read_config(folder))
    assert load_int4(folder).config.d_model == 128


@needs_step
def test_a_removed_model_takes_its_packed_copies_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kaiwa.commands.models import main as models

    folder = folder_of(tmp_path / "home" / "models" / "large", False, 1)
    other = folder_of(tmp_path / "other", False, 1)
    for one in (folder, other):
        packed_model.load_packed(one, read_config(one))
    cache = tmp_path / "home" / "cache" / "packed"
    (cache / "unreadable.safetensors").write_bytes(b"x" * 100)
    kept = next(file for file in cache.iterdir() if packed_folder.read_owner(file) == str(other))
    before = sum(f.stat().st_size for f in (tmp_path / "home").rglob("*") if f.is_file())
    models(["rm", "large"])
    after = sum(f.stat().st_size for f in (tmp_path / "home").rglob("*") if f.is_file())
    assert list(cache.iterdir()) == [kept]
    assert capsys.readouterr().out == f"removed {folder}: {(before - after) / 1e6:,.1f} MB free again\n"


@needs_step
def test_without_room_on_the_disk_the_weights_are_in_memory_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lines = folder_of(tmp_path / "m", False, 1), list[str]()
    mapped = packed_model.load_packed(folder, read_config(folder))
    (file,) = (tmp_path / "home" / "cache" / "packed").iterdir()
    file.unlink()
    monkeypatch.setattr(packed_file, "MARGIN", 1 << 60)
    held = packed_model.load_packed(folder, read_config(folder), lines.append)
    assert "no room" in lines[1]
    assert not list(file.parent.iterdir())
    ids = torch.arange(9)[None]
    assert torch.equal(logits(held, ids), logits(mapped, ids))


@needs_step
def test_what_a_killed_load_left_is_cleared(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", False, 1)
    left = tmp_path / "home" / "cache" / "packed" / "x.part999999999-1"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    packed_model.load_packed(folder, read_config(folder))
    assert [f.suffix for f in left.parent.iterdir()] == [".safetensors"]


@needs_step
def test_a_large_file_gets_its_name_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, written = folder_of(tmp_path / "m", False, 1), threading.Event()
    sync = packed_file.os.fsync
    monkeypatch.setattr(packed_file, "PATIENCE", 0)
    monkeypatch.setattr(packed_file.os, "fsync", lambda descriptor: written.wait(10) and sync(descriptor))
    first = packed_model.load_packed(folder, read_config(folder))
    cache = tmp_path / "home" / "cache" / "packed"
    assert [".part" in f.suffix for f in cache.iterdir()] == [True]
    written.set()
    for thread in threading.enumerate():
        if thread.name == "publish":
            thread.join()
    assert [f.suffix for f in cache.iterdir()] == [".safetensors"]
    ids = torch.arange(9)[None]
    assert torch.equal(logits(first, ids), logits(packed_model.load_packed(folder, read_config(folder)), ids))


@needs_step
def test_which_models_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "m", False, 1)
    config = read_config(folder)
    assert packed_model.applies(folder, config, "cpu")
    assert not packed_model.applies(folder, config, "cuda")
    monkeypatch.setenv("KAIWA_STEP", "torch")
    assert not packed_model.applies(folder, config, "cpu")
    assert json.loads((folder / "config.json").read_text())["quantization_config"]["bits"] == 4


@needs_step
def test_memory_counts_what_the_step_keeps(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", True, 1)
    decoder = packed_model.load_packed(folder, read_config(folder))
    assert fused.memory(decoder) == 0
    step = fused.make(decoder)
    kept = [t for s in step._placed_strips for t in (s.data, s.scales, s.bias, s.order) if t is not None]
    beside = step._arena._used  # norms, and the tables of angles
    assert fused.memory(decoder) == pytest.approx(sum(t.nbytes for t in kept) + beside, abs=64 * beside // 1000)
    small = make_decoder(CONFIG, 0)
    kept_small = fused.make(small)._arena._used
    assert fused.memory(small) == pytest.approx(kept_small, rel=0.005)  # the last strip is filled up
    assert kept_small > sum(small.get_parameter(n).numel() * 4 for n in [*quantized_names(small), "unembed.weight"])
