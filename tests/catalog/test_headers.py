"""The state of every folder and file: listed with the true reason where it cannot be loaded, without a path."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kaiwa.catalog import entries
from kaiwa.catalog.headers import folder_refusal, gguf_header
from kaiwa.core.errors import UserError
from kaiwa.model.families.by_name import GGUF
from kaiwa.model.formats.gguf_container import read_gguf

gguf = pytest.importorskip("gguf")
KNOWN = f"there is {', '.join(sorted(GGUF))}"


def write_gguf(file: Path, architecture: str = "llama", tokenizer: str = "gpt2", template: str = "") -> Path:
    """Write a file of two tensors and a few fields."""
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_tokenizer_model(tokenizer)
    writer.add_token_list([b"a", b"bc", "日本".encode()])
    writer.add_token_types([1, 1, 1])
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.zeros((3, 32), np.float16))
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_split(folder: Path, n: int = 3) -> list[Path]:
    """Write a model in n files, a tensor in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        writer = gguf.GGUFWriter(str(folder / f"big-{i + 1:05}-of-{n:05}.gguf"), "llama")
        if i == 0:
            writer.add_tokenizer_model("llama")
        writer.add_uint16("split.no", i)
        writer.add_uint16("split.count", n)
        writer.add_int32("split.tensors.count", n)
        writer.add_tensor(f"blk.{i}.ffn_up.weight", np.full((4, 32), i, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return sorted(folder.glob("*.gguf"))


def test_facts_of_a_gguf_file(tmp_path: Path) -> None:
    header = gguf_header(write_gguf(tmp_path / "a.gguf", template="{{ messages }}"))
    assert (header.refusal, header.chat, header.parameters, header.bits) == ("", True, 3 * 32 + 32, 16)
    assert not gguf_header(write_gguf(tmp_path / "b.gguf")).chat


@pytest.mark.parametrize(
    ("architecture", "tokenizer", "reason"),
    [
        ("nonesuch", "llama", f"architecture 'nonesuch' is not read; {KNOWN}"),
        ("llama", "t5", "tokenizer.ggml.model is 't5'; gpt2 and llama are read"),
    ],
)
def test_why_a_gguf_file_cannot_be_loaded(architecture: str, tokenizer: str, reason: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "x.gguf", architecture, tokenizer)
    assert gguf_header(file).refusal.startswith(reason)


def test_damaged_gguf_files_have_a_reason_at_every_cut(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    for cut in range(0, 400, 7):
        file = tmp_path / f"cut{cut}.gguf"
        file.write_bytes(whole[:cut])
        refusal = gguf_header(file).refusal
        assert "\n" not in refusal
        assert str(tmp_path) not in refusal
        assert cut > 300 or refusal
    assert "No such file" in gguf_header(tmp_path / "none.gguf").refusal


def test_a_model_in_several_files_is_one_model(tmp_path: Path) -> None:
    files = write_split(tmp_path / "models")
    fields, tensors = read_gguf(files[0])
    assert sorted(tensors) == ["blk.0.ffn_up.weight", "blk.1.ffn_up.weight", "blk.2.ffn_up.weight"]
    assert fields["split.count"] == 3
    assert float(tensors["blk.2.ffn_up.weight"].data.view(np.float32)[0, 0]) == 2.0
    known = [
        e for e in entries.entries(tmp_path / "runs", tmp_path) if e.kind == "gguf" and e.path.parent == files[0].parent
    ]
    assert [(e.name, e.parameters) for e in known] == [("big", 3 * 4 * 32)]
    with pytest.raises(UserError, match="part 2 of 3; give the first, big-00001"):
        read_gguf(files[1])
    files[2].unlink()
    with pytest.raises(UserError, match=r"1 of its 3 files are missing \(big-00003-of-00003.gguf\)"):
        read_gguf(files[0])
    shutil.copy(files[1], files[2])
    with pytest.raises(UserError, match=r"in another file of the model too|not the part that its name says"):
        read_gguf(files[0])
    files[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(UserError, match="a part of a model in 3 files; give them their names back"):
        read_gguf(tmp_path / "renamed.gguf")


@pytest.mark.parametrize(
    ("config", "files", "reason"),
    [
        ({"architectures": ["NonesuchForCausalLM"]}, ["model.safetensors"], "architecture 'NonesuchForCausalLM'"),
        ({"architectures": ["X"], "auto_map": {}}, ["model.safetensors"], "architecture 'X' is unknown"),
        ({"architectures": ["LlamaForCausalLM"]}, ["model.safetensors"], "config.json: field "),
        ({}, [], "config.json names no architecture"),
        ({"architectures": ["LlamaForSequenceClassification"]}, [], "LlamaForSequenceClassification rates texts"),
        ("good", ["pytorch_model.bin"], "no .safetensors file; pytorch_model.bin is not read"),
        ("good", ["model.safetensors"], ""),
        ({"quantization_config": {"quant_method": "fp8"}}, [], "config.json: quantization_config is 'fp8'; 4-bit GPTQ"),
        ({"quantization_config": [1]}, [], "config.json: quantization_config is '[1]'; 4-bit GPTQ and AWQ are read"),
        ("{", [], "config.json: cannot be read as JSON"),
    ],
)
def test_why_a_folder_cannot_be_loaded(config: object, files: list[str], reason: str, tmp_path: Path) -> None:
    sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 16, "max_position_embeddings": 32, "rms_norm_eps": 1e-5}
    good = {"architectures": ["LlamaForCausalLM"], **sizes, **more}
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    fields = good if config == "good" else config
    if isinstance(fields, dict) and "quantization_config" in fields:
        fields = good | fields
    text = fields if isinstance(fields, str) else json.dumps(fields)
    (folder / "config.json").write_text(text)
    for name in files:
        (folder / name).write_bytes(b"")
    refusal = folder_refusal(folder)
    assert refusal.startswith(reason)
    assert bool(refusal) == bool(reason)
    assert str(tmp_path) not in refusal
    known = entries.entries(tmp_path / "runs", tmp_path)
    assert "mine" in {entry.name for entry in known}
    assert ("mine" in {entry.name for entry in entries.usable(known)}) == (not reason)
    if reason:
        with pytest.raises(UserError, match="mine cannot be loaded: ") as caught:
            entries.entry_by_name("mine", known)
        assert caught.value.code == "model_not_supported"
