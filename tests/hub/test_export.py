"""What is exported is read back, here and by transformers, and computes the same logits."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.memory_plan import parts_of, plan
from kaiwa.catalog.trainable import open_base
from kaiwa.core.errors import UserError
from kaiwa.engine.rows.cpu_offload import parse_limits
from kaiwa.hub.export import ExportSource, export, modelfile
from kaiwa.hub.gguf_write import NEAREST, gguf_family, pre_name, split_as
from kaiwa.hub.verify import VerificationResult, verify
from kaiwa.model.config import DecoderConfig, ExpertsConfig, RopeScaling, Scales
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.gguf import GgufFile
from kaiwa.model.formats.gptq import save_int4
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.text.template import CHATML
from kaiwa.tokenizer.config import SPLIT, TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save, train

TEXT = "The old mill stands by the river, and 12 sacks of flour are there. 水車小屋のそばで、パンを焼きます。"
YARN = RopeScaling(kind="yarn", factor=4.0, low_factor=1.0, high_factor=32.0, original_length=64, attention=1.2)
GEMMA = {"activation": "gelu", "norms": "around"}
SHAPES = {
    "llama": {"n_kv_head": 2},
    "llama 3": {"rope": RopeScaling(kind="llama3", factor=8.0)},
    "llama, yarn": {"rope": YARN},
    "qwen2": {"qkv_bias": True, "tie_embeddings": False},
    "qwen3": {"qk_norm": "head", "head_size": 32},
    "qwen3moe": {"qk_norm": "head", "head_size": 32, "experts": ExpertsConfig(n_experts=4, n_active=2)},
    "mixtral": {"n_kv_head": 2, "experts": ExpertsConfig(n_experts=4, n_active=2)},
    "gemma2": {
        **GEMMA,
        "layers": "wg",
        "window": 6,
        "scales": Scales(embedding_scale=8.0, attention_cap=50.0, logit_cap=30.0),
    },
    "gemma3": {
        **GEMMA,
        "layers": "wwwwwg",
        "window": 6,
        "qk_norm": "head",
        "scales": Scales(embedding_scale=8.0),
        "local_theta": 10000.0,
        "rope_theta": 1e6,
    },
    "granite": {"scales": Scales(embedding_scale=3.0, residual_scale=0.5, logit_scale=0.25, attention_scale=0.2)},
    "olmo2": {"qk_norm": "all", "norms": "after"},
    "smollm3": {"n_layer": 4, "layers": "gggn"},
    "gptneox": {
        "dialect": "gpt3",
        "rotary_size": 4,
        "parallel": True,
        "activation": "gelu_erf",
        "tie_embeddings": False,
    },
    "gpt2": {"dialect": "gpt3"},
    "phi3": {"n_kv_head": 2, "rotary_size": 8, "layers": "w", "window": 12},
}


def made(split: str, name: str = "llama") -> tuple[Tokenizer, Decoder]:
    tokenizer = train([TEXT] * 3, TokenizerConfig(vocab_size=290, split=split))
    config = DecoderConfig(**{"vocab_size": 290, "d_model": 64, "n_layer": 2, "n_head": 4, "d_ff": 96} | SHAPES[name])
    decoder = make_decoder(config, 0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(4.0) if parameter.ndim > 1 else parameter.add_(torch.rand(len(parameter)) * 0.1)
    return tokenizer, decoder.requires_grad_(False)


def by_name(found: list[VerificationResult]) -> dict[str, VerificationResult]:
    return {one.by: one for one in found}


@pytest.mark.parametrize("name", SHAPES)
def test_gguf_reads_back_as_the_same_model(name: str, tmp_path: Path) -> None:
    tokenizer, decoder = made("smollm", name)
    source = ExportSource(name="tiny/model", decoder=decoder, tokenizer=tokenizer, folder=None)
    file = export(source, "gguf", tmp_path / "out", "F32")
    assert file.name == "tiny-model-F32.gguf"
    assert by_name(verify(source, file))["kaiwa"].cosine > 0.99999
    entry = read_entry(file, "tiny")
    assert entry is not None
    theirs = load(entry).tokenizer
    for text in (TEXT, "  <|im_end|> x\n\n12345", "é日本"):
        assert theirs.encode(text) == tokenizer.encode(text)
    assert (theirs.eos_id, theirs.pad_id, theirs.chat_template) == (
        tokenizer.eos_id,
        tokenizer.pad_id,
        tokenizer.chat_template,
    )
    assert dict(theirs.specials) == dict(tokenizer.specials)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_smaller_types_are_close(kind: str, tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    source = ExportSource(name="m", decoder=decoder, tokenizer=tokenizer, folder=None)
    file = export(source, "gguf", tmp_path / "out", kind)  # type: ignore[arg-type]
    assert verify(source, file)[0].cosine > (0.8 if kind.startswith("Q4") else 0.99)
    kinds = {name: t.kind for name, t in GgufFile(file).tensors.items()}
    assert kinds["blk.0.attn_q.weight"] == kind
    assert kinds["token_embd.weight"] == ("Q8_0" if kind.startswith("Q") else kind)
    assert kinds["output_norm.weight"] == "F32"


def test_our_own_split_has_no_name_there_and_a_line_says_so(tmp_path: Path) -> None:
    tokenizer, decoder = made(SPLIT)
    assert pre_name(tokenizer) is None
    assert split_as(tokenizer, NEAREST, "plain words and 12 numbers")[0] == 0
    lines: list[str] = []
    source = ExportSource(name="m", decoder=decoder, tokenizer=tokenizer, folder=None)
    export(source, "gguf", tmp_path / "out", "F16", lines.append)
    assert "GGUF has no name" in lines[0]
    assert "'qwen2'" in lines[0]


@pytest.mark.parametrize("name", ["llama, yarn", "qwen2", "gpt2"])
def test_a_gguf_becomes_a_folder_that_transformers_loads(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    tokenizer, decoder = made("smollm", name)
    file = export(
        ExportSource(name="m", decoder=decoder, tokenizer=tokenizer, folder=None), "gguf", tmp_path / "a", "F32"
    )
    entry = read_entry(file, "m")
    assert entry is not None
    again, words = open_base(entry.path)
    source = ExportSource(name="m", decoder=again, tokenizer=words, folder=None)
    folder = export(source, "transformers", tmp_path / "b")
    found = by_name(verify(source, folder))
    assert found["transformers"].cosine > 0.99
    assert found["kaiwa"].cosine > 0.99
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == sorted({0, tokenizer.eos_id})


def test_four_bits_stay_where_others_read_them(tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    save_int4(tmp_path / "q", decoder, special_ids(tokenizer), 32)
    save(tokenizer, tmp_path / "q")
    entry = read_entry(tmp_path / "q", "q")
    assert entry is not None
    dense, words = open_base(entry.path)
    source = ExportSource(name="q", decoder=dense, tokenizer=words, folder=tmp_path / "q")
    (tmp_path / "q" / "pulled.json").write_text('{"endpoint": "https://hub.example"}')
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    del config["quantization_config"]  # as old folders have it: in quantize_config.json alone
    (tmp_path / "q" / "config.json").write_text(json.dumps(config))
    folder = export(source, "vllm", tmp_path / "v")
    assert not (folder / "pulled.json").exists()
    assert json.loads((folder / "config.json").read_text())["quantization_config"]["bits"] == 4
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "q" / "model.safetensors").read_bytes()
    assert verify(source, folder)[0].cosine > 0.9999
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= {"sym": False, "checkpoint_format": "gptq_v2"}
    (tmp_path / "q" / "config.json").write_text(json.dumps(config))
    lines: list[str] = []
    wide = export(source, "transformers", tmp_path / "w", say=lines.append)
    assert "expanded to bf16" in lines[0]
    assert "quantization_config" not in json.loads((wide / "config.json").read_text())


def test_ollama_gets_a_modelfile_and_nothing_is_overwritten(tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    source = ExportSource(name="m", decoder=decoder, tokenizer=tokenizer, folder=None)
    export(source, "ollama", tmp_path / "o", "Q8_0")
    text = (tmp_path / "o" / "Modelfile").read_text()
    assert text.startswith("FROM ./m-Q8_0.gguf\n")
    assert '<|im_start|>assistant\n"""' in text
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert "SYSTEM" not in text
    standing = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
    tokenizer.chat_template = standing
    assert 'SYSTEM """Be kind."""\n' in modelfile(source, "F16")
    with pytest.raises(UserError, match="exists already"):
        export(source, "gguf", tmp_path / "o")
    biased = replace(decoder.config, qkv_bias=True, out_bias=True)
    with pytest.raises(UserError, match="no family with biases"):
        export(replace(source, decoder=make_decoder(biased, 0)), "gguf", tmp_path / "p")
    assert not (tmp_path / "p").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_export_that_computes_something_else_is_found(tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    source = ExportSource(name="m", decoder=decoder, tokenizer=tokenizer, folder=None)
    file = export(source, "gguf", tmp_path / "o", "F32")
    other = replace(source, decoder=make_decoder(decoder.config, 5).requires_grad_(False))
    with pytest.raises(UserError, match="computes other logits"):
        verify(other, file)


def test_a_plan_says_what_loading_takes(tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    save_model(tmp_path / "m", decoder, special_ids(tokenizer), torch.float32)
    save(tokenizer, tmp_path / "m")
    entry = read_entry(tmp_path / "m", "m")
    assert entry is not None
    planned = plan(entry, "cpu")
    assert planned.bytes == sum(p.numel() * 4 for p in decoder.parameters())
    assert planned.n_on_device is None
    assert planned.cache == 2 * 2 * 64 * 4 // 2
    assert planned.tokens_per_second > 0
    assert "tokens/s for one stream" in planned.as_text()
    with pytest.raises(UserError, match="--max-memory allows"):
        plan(entry, "cpu", parse_limits("0.1MB"))
    large = DecoderConfig(d_model=5120, n_layer=40, n_head=40, d_ff=13824, vocab_size=32000, tie_embeddings=False)
    parts = {part.name: part for part in parts_of(large, True, "cuda")}
    assert sum(part.weights for part in parts.values()) == large.n_parameters
    assert parts["blocks"].stored == 2.0
    once = parts_of(large, True, "cpu", placed=True)
    assert sum(part.weights for part in once) == large.n_parameters


def test_the_commands(tmp_path: Path) -> None:
    tokenizer, decoder = made("gpt-2")
    save_model(tmp_path / "m", decoder, special_ids(tokenizer), torch.float32)
    save(tokenizer, tmp_path / "m")
    environment = os.environ | {"KAIWA_HOME": str(tmp_path / "home")}

    def kaiwa(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "kaiwa", *words], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    code, text = kaiwa("export", "m", "--for", "gguf", "--out", "g", "--type", "Q8_0")
    assert code == 0, text
    assert "loaded by kaiwa" in text
    assert kaiwa("export", "m", "--for", "ollamma", "--out", "x")[1].endswith("did you mean 'ollama'?\n")
    assert "tokens/s for one stream" in kaiwa("chat", "g/m-Q8_0.gguf", "--plan")[1]
    code, text = kaiwa("models")
    assert "worth pulling" in text


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"layers": "w", "window": 9}, "no field for the window of mistral"),
        ({"qkv_bias": True, "layers": "gw", "window": 9}, "no field for the window of qwen2"),
        ({"rope": RopeScaling(kind="longrope", divisors=(1.0,) * 8)}, "divisors of longrope are not written"),
        ({"layers": "gn"}, "no field for the kinds of layers 'gn'"),
        (
            {**GEMMA, "layers": "wg", "window": 9, "scales": Scales(attention_scale=0.3)},
            "no field for this model's scale",
        ),
        ({"dialect": "gpt3", "activation": "gelu_erf"}, "gpt2 has GELU by tanh only"),
    ],
)
def test_what_gguf_has_no_field_for_is_refused(shape: dict[str, Any], message: str) -> None:
    config = DecoderConfig(**{"vocab_size": 290, "d_model": 64, "n_layer": 2, "n_head": 4, "d_ff": 96} | shape)
    with pytest.raises(UserError, match=message):
        gguf_family(config)
