"""What a model's headers say: whether kaiwa can load it, why not, its size. No torch, no weights.

A reason names the model's file without the folders above it, since servers show it to clients.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.model.families.by_name import ARCHITECTURES, GENERATES, GGUF
from kaiwa.model.formats.encoder_folder import is_encoder, read_encoder_config, read_pooling
from kaiwa.model.formats.gguf_container import read_header, split_files
from kaiwa.model.formats.hf_config import check_awq, read_config, read_json

METHODS = ("gptq", "awq")
# Bits a weight of GGUF block types, as far as a list needs them.
GGUF_BITS = {
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "Q8_0": 8,
    "Q6_K": 6,
    "Q5_0": 5,
    "Q5_1": 5,
    "Q5_K": 5,
    "Q3_K": 3,
    "Q2_K": 2,
}


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Facts of a .gguf file. refusal: why kaiwa cannot load the file, or ""."""

    refusal: str = ""
    chat: bool = False
    parameters: int = 0
    bits: int = 4


def gguf_header(file: Path) -> GgufHeader:
    """Return the facts of a .gguf file, from its header alone; damaged files have a refusal."""
    try:
        stat = file.stat()
    except OSError as error:
        return GgufHeader(refusal=f"{file.name} cannot be read ({error.strerror})")
    return _gguf_header(file, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _gguf_header(file: Path, mtime_ns: int, size: int) -> GgufHeader:
    try:
        fields, places = read_header(file)
        for part in split_files(file, fields)[1:]:
            places += read_header(part)[1]
    except UserError as error:
        return GgufHeader(refusal=without_folder(str(error), file))
    matrices: Counter[str] = Counter()
    for _, shape, kind in places:
        if len(shape) == 2:
            matrices[kind] += math.prod(shape)
    kind = matrices.most_common(1)[0][0] if matrices else "Q4_0"
    architecture, tokenizer = fields.get("general.architecture"), fields.get("tokenizer.ggml.model")
    refusal = ""
    if architecture not in GGUF:
        refusal = f"architecture {str(architecture)[:40]!r} is not read; there is {', '.join(sorted(GGUF))}"
    elif tokenizer not in ("gpt2", "llama"):
        refusal = f"tokenizer.ggml.model is {str(tokenizer)[:40]!r}; gpt2 and llama are read"
    return GgufHeader(
        refusal=refusal,
        chat=bool(fields.get("tokenizer.chat_template")),
        parameters=sum(math.prod(shape) for _, shape, _ in places),
        bits=GGUF_BITS.get(kind, 4),
    )


def folder_refusal(folder: Path) -> str:
    """Return why a Hugging Face folder with config.json cannot be loaded; "" where its configuration can."""
    try:
        raw = read_json(folder / "config.json")
        names = raw.get("architectures")
        name = str(names[0]) if isinstance(names, list) and names else ""
        if not name:
            return "config.json names no architecture (architectures)"
        if name in ARCHITECTURES and name not in GENERATES:
            return f"{name} rates texts and writes none"
        if is_encoder(raw):
            read_pooling(folder, read_encoder_config(folder))
        else:
            read_config(folder)
        quantized = raw.get("quantization_config")
        if quantized and (not isinstance(quantized, dict) or quantized.get("quant_method", "gptq") not in METHODS):
            method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
            return f"config.json: quantization_config is {str(method)[:40]!r}; 4-bit GPTQ and AWQ are read"
        if quantized and quantized.get("quant_method") == "awq":
            check_awq(quantized, folder)
    except UserError as error:
        return without_folder(str(error), folder)
    if not any(folder.glob("*.safetensors")):
        other = next(
            iter(sorted(p.name for suffix in ("bin", "pt", "pth", "gguf") for p in folder.glob(f"*.{suffix}"))), ""
        )
        code = f"; {other} is not read (it may hold code), convert it to safetensors" if other else ""
        return f"no .safetensors file{code}"
    return ""


def without_folder(message: str, path: Path) -> str:
    """Return a message with the path's last name in place of the whole path."""
    return message.replace(f"{path}/", "").replace(f"{path}: ", "").replace(str(path), path.name)
