"""What 4 bits cost: GPTQ against rounding to nearest and llama.cpp's Q4_0 and Q4_1, on one model and the same text.

    python bench/four_bits.py [MODEL] [--text FILE] [--rows 24] [--calibration 64] [--gptqmodel PYTHON]
                               [--work FOLDER] [--out FILE.json]

MODEL: a name from `kaiwa models`, a folder or a .gguf file (default: smollm2-135m-instruct). Blocks' products are
quantized, everything else stays as it is. KL(original || quantized) a token on held-out rows, with 95 % intervals over
rows, differences to Q4_1 paired by row. Calibration rows are from another part of the text, the same for every method.
Each row of the table is kept under --work as soon as it is there; the same command goes on where it was.

A model that comes in 4-bit blocks lies on its own grid, and rounding it again to that grid costs nothing. Such a model
is first written anew without changing what it computes: each input of a product is scaled by a random factor between
0.8 and 1.25 and what feeds it by the inverse (a norm's gain, a hidden unit, a value). The weights then lie on no grid
and are about as spread as before.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.catalog.trainable import open_base
from kaiwa.core.context import Context
from kaiwa.core.machine import describe
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gguf import read_dense
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.int4 import dequantize, expand, quantize_rtn, quantized_names
from kaiwa.quantize.card import bits_per_weight, logits_of
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.layers import quantize_layers
from kaiwa.stats.intervals import bootstrap
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save as save_tokenizer
from kaiwa.train.rows import Rows

WIDTH = 256
ARMS = ((32, True), (128, True), (32, False))  # group, symmetric


@torch.no_grad()
def off_the_grid(decoder: Decoder, seed: int = 0) -> None:
    """The same function with other weights (LLaMA dialect without biases)."""
    c, draw = decoder.config, torch.Generator().manual_seed(seed)
    assert c.dialect == "llama"

    def factors(*shape: int) -> Tensor:
        return 1.25 ** (2 * torch.rand(*shape, generator=draw) - 1)

    for block in decoder.blocks:
        for norm, linear in ((block.norm_attn, block.qkv), (block.norm_mlp, block.up)):
            scale = factors(c.d_model)
            linear.weight.mul_(scale[None])
            norm.weight.div_(scale)
        scale = factors(c.d_ff)
        block.up.weight[c.d_ff :].mul_(scale[:, None])
        block.down.weight.div_(scale[None])
        values = factors(c.kv_heads, c.d_head)
        block.qkv.weight[-c.kv_heads * c.d_head :].mul_(values.reshape(-1, 1))
        block.out.weight.div_(values.repeat_interleave(c.n_head // c.kv_heads, dim=0).reshape(1, -1))


def rows_of(ids: list[int], n: int) -> Rows:
    """n rows of WIDTH + 1 tokens, each a document of its own."""
    shape = (n, WIDTH + 1)
    taken = np.array(ids[: n * (WIDTH + 1)]).reshape(shape)
    positions = np.broadcast_to(np.arange(WIDTH + 1), shape).copy()
    return Rows(taken, np.zeros(shape, np.int64), positions, np.ones(shape, np.float32))


def all_logits(decoder: Decoder, rows: Rows) -> list[Tensor]:
    """Log-probabilities, four rows at a time."""
    return [logits_of(decoder, rows, start)[0] for start in range(0, len(rows.ids), 4)]


def by_row(original: list[Tensor], other: list[Tensor], rows: Rows) -> tuple[list[float], list[float], float]:
    """KL and agreement of every row, and the other's perplexity."""
    kl, same, nats = [], [], []
    for start, p, q in zip(range(0, len(rows.ids), 4), original, other, strict=True):
        kl += (p.exp() * (p - q)).sum(-1).mean(1).tolist()
        same += (p.argmax(-1) == q.argmax(-1)).float().mean(1).tolist()
        targets = torch.from_numpy(rows.ids[start : start + 4, 1:].astype(np.int64))
        nats += (-q.gather(-1, targets[..., None])[..., 0]).mean(1).tolist()
    return kl, same, float(np.exp(np.mean(nats)))


@torch.no_grad()
def rounded(decoder: Decoder, how: Callable[[Tensor], Tensor]) -> Decoder:
    made = copy.deepcopy(decoder)
    for name in quantized_names(made):
        weight = made.get_parameter(name)
        weight.copy_(how(weight))
    return made


def nearest(group: int) -> Callable[[Tensor], Tensor]:
    return lambda weight: dequantize(*quantize_rtn(weight, group))


def nearest_asymmetric(group: int) -> Callable[[Tensor], Tensor]:
    """Sixteen levels from a group's least to its largest weight, scale and zero in bf16."""

    def how(weight: Tensor) -> Tensor:
        blocks = weight.view(len(weight), -1, group)
        low, high = blocks.amin(-1, keepdim=True).clamp(max=0), blocks.amax(-1, keepdim=True).clamp(min=0)
        scale = ((high - low) / 15).clamp(min=1e-8).bfloat16().float()
        point = (-low / scale).round().clamp(0, 15)
        return (((blocks / scale).round() + point).clamp(0, 15) - point).mul(scale).view_as(weight)

    return how


def llama_cpp(kind: str) -> Callable[[Tensor], Tensor]:
    import gguf

    quantization = gguf.GGMLQuantizationType[kind]
    return lambda weight: read_dense(gguf.quants.quantize(weight.numpy(), quantization), kind).view_as(weight)


def by_gptqmodel(
    python: str, decoder: Decoder, tokenizer: Tokenizer, rows: Rows, folder: Path, group: int, symmetric: bool
) -> Decoder:
    """The same model and the same calibration rows, quantized by GPTQModel and read back by our reader."""
    shutil.rmtree(folder, ignore_errors=True)
    save_model(folder / "model", decoder, special_ids(tokenizer), torch.float32)
    save_tokenizer(tokenizer, folder / "model")
    (folder / "ids.json").write_text(json.dumps(rows.ids[:, :-1].tolist()))
    peer, interpreter = Path(__file__).resolve().with_name("four_bits_peer.py"), str(Path(python).absolute())
    command = [interpreter, str(peer), "model", "ids.json", "out", str(group), str(symmetric)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)  # it writes logs where it stands
    return expand(load_int4(folder / "out", torch.float32, False))


def by_ours(decoder: Decoder, calibration: Rows, group: int, symmetric: bool) -> Decoder:
    made = copy.deepcopy(decoder)
    config = QuantizeConfig(method="gptq", group=group, symmetric=symmetric, calibration_rows=len(calibration.ids))
    with tempfile.TemporaryDirectory() as folder:
        done = quantize_layers(made, calibration, config, Context(), stage="gptq", checkpoint=Path(folder))
    assert abs(bits_per_weight(done) - (4 + 20 / group)) < 1e-3
    return made


class Table:
    """Rows of the report, each kept in a file as soon as it is there."""

    def __init__(self, decoder: Decoder, held_out: Rows, work: Path) -> None:
        self.original, self.held_out, self.work = all_logits(decoder, held_out), held_out, work
        self.results: dict[str, dict[str, Any]] = {}
        work.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, bits: float, make: Callable[[], Decoder]) -> None:
        file = self.work / f"{name}.json"
        if not file.is_file():
            began = time.perf_counter()
            made = make()
            seconds = time.perf_counter() - began
            kl, same, perplexity = by_row(self.original, all_logits(made, self.held_out), self.held_out)
            row = {"bits": bits, "kl": kl, "same": same, "perplexity": perplexity, "seconds": seconds}
            file.write_text(json.dumps(row))
        row = json.loads(file.read_text())
        if not self.results:
            self._base: list[float] = row["kl"]
        mean, agree = bootstrap(row["kl"]), bootstrap(row["same"])
        difference = bootstrap([a - b for a, b in zip(row["kl"], self._base, strict=True)])
        self.results[name] = {
            "bits": bits, "kl": mean.to_json(), "kl_minus_q4_1": difference.to_json(), "agree": agree.to_json(),
            "perplexity": row["perplexity"], "seconds": row["seconds"],
        }  # fmt: skip
        print(
            f"| {name} | {bits:.3f} | {mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}] | {difference.mean:+.4f}"
            f" [{difference.low:+.4f}, {difference.high:+.4f}] | {agree.mean:.1%} | {row['perplexity']:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--text", type=Path, help="default: Python's documentation")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--gptqmodel", help="an interpreter that has GPTQModel")
    parser.add_argument("--work", type=Path, help="where finished rows are kept")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    entry = entry_by_name_or_path(asked.model)
    decoder, tokenizer = open_base(entry.path)
    decoder = decoder.requires_grad_(False).eval()
    if entry.bits == 4:
        off_the_grid(decoder)
    if asked.text:
        text = asked.text.read_text(encoding="utf-8")
    else:
        from pydoc_data import topics

        text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    ids = tokenizer.encode(text)
    need = (asked.rows + asked.calibration) * (WIDTH + 1)
    if len(ids) < need:
        raise SystemExit(f"the text has {len(ids):,} tokens, {need:,} are needed; lower --rows or --calibration")
    held_out = rows_of(ids, asked.rows)
    calibration = rows_of(ids[-asked.calibration * (WIDTH + 1) :], asked.calibration)

    with tempfile.TemporaryDirectory() as fresh:
        table = Table(decoder, held_out, asked.work or Path(fresh))
        original = by_row(table.original, table.original, held_out)[2]
        print(f"{entry.name}, {asked.rows} rows of {WIDTH}, {asked.calibration} of calibration; {describe()}")
        print("| method | bits | KL a token | minus Q4_1 | same best token | perplexity |\n|---|---|---|---|---|---|")
        print(f"| original | | | | | {original:.2f} |", flush=True)
        table.add("Q4_1 (llama.cpp)", 5.0, lambda: rounded(decoder, llama_cpp("Q4_1")))
        table.add("Q4_0 (llama.cpp)", 4.5, lambda: rounded(decoder, llama_cpp("Q4_0")))
        table.add("round to nearest, symmetric, 32", 4.625, lambda: rounded(decoder, nearest(32)))
        table.add("round to nearest, asymmetric, 32", 4.625, lambda: rounded(decoder, nearest_asymmetric(32)))
        for group, symmetric in ARMS:
            name, bits = f"{'' if symmetric else 'a'}symmetric, {group}", 4 + 20 / group
            table.add(f"GPTQ, {name}", bits, lambda g=group, s=symmetric: by_ours(decoder, calibration, g, s))
            if asked.gptqmodel:
                folder = table.work / f"gptqmodel-{name.replace(', ', '-')}"
                table.add(
                    f"GPTQModel, {name}",
                    bits,
                    lambda g=group, s=symmetric, f=folder: by_gptqmodel(
                        asked.gptqmodel, decoder, tokenizer, calibration, f, g, s
                    ),
                )
        results = table.results
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(
            json.dumps(
                {
                    "model": entry.name,
                    "hardware": describe(),
                    "rows": asked.rows,
                    "calibration": asked.calibration,
                    "text": asked.text.name if asked.text else "Python's documentation",
                    "original": original,
                    "arms": results,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
