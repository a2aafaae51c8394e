"""`kaiwa export MODEL --for transformers|vllm|gguf|ollama`: a model in the format of other programs.

transformers, vllm   a Hugging Face folder: safetensors, tokenizer.json with the chat template, generation_config.json.
                     Symmetric 4-bit GPTQ folders are copied unchanged (AutoGPTQ's version 1, which both read);
                     asymmetric folders are expanded to bf16 with a message
gguf                 one file for llama.cpp and programs built on llama.cpp
ollama               the same file with a Modelfile: `ollama create NAME -f Modelfile`
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.hub.gguf_write import NEAREST, Kind, pre_name, split_as, write_gguf
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gptq import read_settings
from kaiwa.model.formats.hf_config import read_json
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.text.template import layout, turn_end, user
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save as save_tokenizer

Target = Literal["transformers", "vllm", "gguf", "ollama"]
TARGETS: tuple[Target, ...] = ("transformers", "vllm", "gguf", "ollama")
PRIVATE = ("kaiwa.json", "chat.json", "pulled.json")  # files for kaiwa only, not exported
CHATML = ("<|im_start|>", "<|im_end|>")
OLLAMA_CHATML = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """A loaded model to export. decoder: dense, on the CPU. folder: Hugging Face folder, None for a single file."""

    name: str
    decoder: Decoder
    tokenizer: Tokenizer
    folder: Path | None


def export(
    source: ExportSource, target: Target, out: Path, kind: Kind = "F16", say: Callable[[str], None] = lambda line: None
) -> Path:
    """Write the folder `out` completely or not at all. Return the path to load: `out`, or the .gguf file in `out`.

    UserError if `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another --out, or remove it")
    work = out.with_name(f".{out.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        if target in ("transformers", "vllm"):
            _folder(source, work, say)
        else:
            _gguf(source, work, kind, say)
        if target == "ollama":
            write_atomic(work / "Modelfile", modelfile(source, kind))
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out if target in ("transformers", "vllm") else out / file_name(source, kind)


def file_name(source: ExportSource, kind: Kind) -> str:
    return f"{source.name.replace('/', '-').replace(':', '-')}-{kind}.gguf"


def _folder(source: ExportSource, work: Path, say: Callable[[str], None]) -> None:
    ids = special_ids(source.tokenizer)
    if source.folder is not None and _as_it_is(source.folder, say):
        for file in source.folder.iterdir():
            if file.suffix in (".safetensors", ".json") and file.name not in PRIVATE:
                shutil.copyfile(file, work / file.name)
        card = read_json(work / "config.json") | {"quantization_config": read_settings(source.folder)}
        write_atomic(work / "config.json", json.dumps(card, indent=1, sort_keys=True) + "\n")
    else:
        save_model(work, source.decoder, ids, torch.bfloat16)
    if source.folder is not None:
        copy_tokenizer(source.folder, work)
    else:
        save_tokenizer(source.tokenizer, work)
    ends = {"eos_token_id": sorted({*source.tokenizer.stop_ids, source.tokenizer.document_end_id})}
    write_atomic(work / "generation_config.json", json.dumps(ids | ends, indent=1, sort_keys=True) + "\n")


def _as_it_is(folder: Path, say: Callable[[str], None]) -> bool:
    """Return whether the 4-bit weights can be copied: symmetric, in version 1, which transformers and vLLM load."""
    if not (read_json(folder / "config.json").get("quantization_config") or _is_file(folder, "quantize_config.json")):
        return False
    settings = read_settings(folder)
    if settings.get("quant_method") == "awq":
        say("AWQ's 4-bit weights: expanded to bf16")
        return False
    if settings.get("sym") and settings.get("checkpoint_format", settings.get("format", "gptq")) == "gptq":
        return True
    say("asymmetric 4-bit weights: expanded to bf16 (quantize with --symmetric to export 4 bits)")
    return False


def _is_file(folder: Path, name: str) -> bool:
    return (folder / name).is_file()


def _gguf(source: ExportSource, work: Path, kind: Kind, say: Callable[[str], None]) -> None:
    if pre_name(source.tokenizer) is None:
        differ, total = split_as(source.tokenizer, NEAREST, sample_text())
        say(
            f"GGUF has no name for the way this tokenizer splits text: written as {NEAREST!r}, which changes"
            f" {differ:,} of {total:,} tokens of an English and Japanese sample"
        )
    write_gguf(work / file_name(source, kind), source.decoder, source.tokenizer, source.name, kind)


def sample_text() -> str:
    """Return part of Python's documentation and a Japanese paragraph, the sample for comparing splits."""
    from pydoc_data import topics

    text = "".join(topics.topics[name] for name in sorted(topics.topics)[:4])[:6_000]
    return text + (
        "\nむかし、川のそばの村にパン屋がありました。店の主人は毎朝4時に起きて、小麦粉120グラムと水を混ぜます。"
        "「おはようございます」と子どもたちが言うと、ミルクパンを1つずつくれました。"
    )


def standing_system(tokenizer: Tokenizer) -> str:
    """Return the system message that a ChatML template adds to a conversation without one, or ""."""
    text = "".join(piece.text for piece in layout(tokenizer, user("Hello")).pieces)
    head, opened, _ = text.partition("<|im_start|>user\n")
    start, _, rest = head.rpartition("<|im_start|>system\n")
    return rest.partition("<|im_end|>")[0] if opened and head and not start else ""


def modelfile(source: ExportSource, kind: Kind) -> str:
    """Return Ollama's Modelfile: file name, stop token, context, and the chat template if the template is ChatML.

    Ollama reads other templates from the file.
    """
    lines = [
        f"FROM ./{file_name(source, kind)}",
        f'PARAMETER stop "{turn_end(source.tokenizer) or source.tokenizer.eos_token}"',
    ]
    template = source.tokenizer.chat_template or ""
    if all(mark in template for mark in CHATML):
        lines.insert(1, f'TEMPLATE """{OLLAMA_CHATML}"""')
        if system := standing_system(source.tokenizer):
            lines.insert(2, f'SYSTEM """{system}"""')
    lines.append(f"PARAMETER num_ctx {min(source.decoder.config.max_length, 8192)}")
    return "\n".join(lines) + "\n"
