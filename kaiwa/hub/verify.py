"""A check that an export loads and computes the same logits, in kaiwa and in other programs' packages if installed.

The check is the cosine between the logits of the exported and of the original model at the last 32 positions of a text.
The lowest cosine decides; for a GGUF file of 4 bits the median, since a single position's logits may change completely.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.hub.export import ExportSource
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gguf import GgufFile
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_config import read_json
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.tokenizer.tokenizer import Tokenizer

SAMPLE = "The old mill stands by the river. Every morning the baker walks there and asks for two sacks of flour."
POSITIONS = 32


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """A comparison of logits. by: the program; cosine, median: lowest and median cosine; same_top: share of equal best
    tokens."""

    by: str
    cosine: float
    median: float
    same_top: float

    def line(self) -> str:
        cosines = f"logits' cosine at least {self.cosine:.5f}, in the middle {self.median:.5f}"
        return f"loaded by {self.by}: {cosines}, best token equal at {self.same_top:.0%}"


def verify(source: ExportSource, exported: Path) -> list[VerificationResult]:
    """Run every check that this machine can run. UserError if the export does not load or computes other logits."""
    ids = source.tokenizer.encode(SAMPLE)[: source.decoder.config.max_length]
    ours = logits(source.decoder, ids)
    checks = [compare_logits("kaiwa", ours, logits(_read(exported), ids))]
    if exported.suffix == ".gguf":
        if importlib.util.find_spec("llama_cpp") is not None:
            checks.append(compare_logits("llama-cpp-python", ours, _llama_cpp(exported, ids)))
    elif importlib.util.find_spec("transformers") is not None and not _four_bit(exported):
        checks.append(compare_logits("transformers", ours, _transformers(exported, ids)))
    rounded = exported.suffix == ".gguf" and "-Q4" in exported.name
    for one in checks:
        cosine, least = (one.median, 0.8) if rounded else (one.cosine, 0.99)
        if not cosine > least:
            raise UserError(f"{exported}: {one.by} computes other logits (cosine {cosine:.3f}); the export is wrong")
    return checks


def compare_logits(by: str, ours: Tensor, theirs: Tensor) -> VerificationResult:
    """Compare two models' logits, both [positions, V]."""
    n = min(ours.shape[1], theirs.shape[1])
    a, b = ours[:, :n].float(), theirs[:, :n].float()
    cosine = F.cosine_similarity(a, b, dim=-1)
    return VerificationResult(
        by, float(cosine.min()), float(cosine.median()), float((a.argmax(-1) == b.argmax(-1)).float().mean())
    )


@torch.no_grad()
def logits(decoder: Decoder, ids: list[int]) -> Tensor:
    """Return the logits [positions, V] fp32 of the last positions."""
    positions = torch.arange(len(ids))[None]
    hidden = decoder(torch.tensor([ids]), positions, attend_rows(None))
    return decoder.logits(hidden[0, -POSITIONS:]).float()


def _four_bit(folder: Path) -> bool:
    """Return whether a folder is in GPTQ format, for which transformers needs gptqmodel and a GPU or a compiler."""
    return bool(read_json(folder / "config.json").get("quantization_config"))  # every 4-bit export has it


def _read(exported: Path) -> Decoder:
    if exported.suffix == ".gguf":
        file = GgufFile(exported)
        file.vocabulary()
        return file.decoder(torch.float32, False)
    Tokenizer.load(exported)
    return load_int4(exported, torch.float32, False) if _four_bit(exported) else load_decoder(exported)


@torch.no_grad()
def _transformers(folder: Path, ids: list[int]) -> Tensor:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    theirs = AutoTokenizer.from_pretrained(folder)(SAMPLE, add_special_tokens=False)["input_ids"][: len(ids)]
    if theirs != ids:
        raise UserError(f"{folder}: transformers encodes the sample as other tokens; the exported tokenizer is wrong")
    return model(torch.tensor([ids])).logits[0, -POSITIONS:].float()  # type: ignore[no-any-return]


def _llama_cpp(file: Path, ids: list[int]) -> Tensor:
    import llama_cpp

    model = llama_cpp.Llama(str(file), n_ctx=len(ids) + 8, logits_all=True, verbose=False)
    model.eval(ids)
    return torch.from_numpy(model.scores[: len(ids)].copy())[-POSITIONS:]
