"""A 13B LLaMA in GPTQ 4-bit, group 128, on this machine: load, load again, tokens a second, memory.

    python bench/large.py FOLDER [--layers 40] [--tokens 24] [--forget] [--out bench/results/large.json]

FOLDER is made with random weights if it is not there (7.3 GB, the shape of LLaMA-13B). Every load is a fresh process;
its peak memory is the most it ever held. The memory's limit is measured in the same run. The C++ step is compiled
before. "first": there is no packed copy yet; "second": it was just written; "cold": the system has forgotten the
copy's pages, so that they come from the disk. --forget does so to the folder's own files before the first load.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kaiwa.core.machine import cores, describe

LOADER = """
import json, sys, time, resource
began = time.perf_counter()
import torch
from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import load
from kaiwa.engine import fused
from pathlib import Path
entry = read_entry(Path(sys.argv[1]), "large")
imported = time.perf_counter()
loaded = load(entry, lambda line: print(line, file=sys.stderr))
step = fused.wait(loaded.decoder)
ready = time.perf_counter()
from kaiwa.engine.engine import Engine
from kaiwa.engine.request import Request
from kaiwa.text.sampling import Sampling
engine = Engine(loaded.decoder, loaded.tokenizer, max_rows=2, max_length=512)
engine.add(Request(id="a", prompt_ids=tuple(range(5, 37)), sampling=Sampling(max_tokens=int(sys.argv[2]), seed=1)))
times = []
while not engine.idle:
    if engine.step():
        times.append(time.perf_counter())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"import_s": imported - began, "load_s": ready - imported, "first_token_s": times[0] - ready,
    "tokens_per_s": (len(times) - 1) / (times[-1] - times[0]),
    "median_s": sorted(b - a for a, b in zip(times, times[1:]))[len(times) // 2 - 1], "peak_bytes": peak,
    "step": step is not None}))
"""


def make(folder: Path, layers: int) -> None:
    """LLaMA-13B's shape with random 4-bit weights, two layers a file, as AutoGPTQ writes it."""
    import torch
    from safetensors.torch import save_file

    d, ff, vocab, group = 5120, 13824, 32000, 128
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    names: dict[str, str] = {}

    def linear(name: str, inputs: int, out: int) -> dict[str, torch.Tensor]:
        words = torch.randint(-(1 << 31), 1 << 31, (inputs // 8, out), dtype=torch.int32, generator=generator)
        return {
            f"{name}.qweight": words,
            f"{name}.qzeros": torch.full((inputs // group, out // 8), 0x77777777, dtype=torch.int32),
            f"{name}.scales": torch.full((inputs // group, out), 0.2 / inputs**0.5, dtype=torch.float16),
            f"{name}.g_idx": (torch.arange(inputs) // group).int(),
        }

    def save(file: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / file)
        names.update(dict.fromkeys(tensors, file))

    for i in range(layers):
        at, made = f"model.layers.{i}.", {}
        for part in ("q", "k", "v", "o"):
            made |= linear(f"{at}self_attn.{part}_proj", d, d)
        for part, inputs, out in (("gate", d, ff), ("up", d, ff), ("down", ff, d)):
            made |= linear(f"{at}mlp.{part}_proj", inputs, out)
        made |= {f"{at}{norm}.weight": torch.ones(d).half() for norm in ("input_layernorm", "post_attention_layernorm")}
        save(f"model-{i:05d}.safetensors", made)
    table = torch.randn(vocab, d, generator=generator).half() * 0.02
    save("model-rest.safetensors", {
        "model.embed_tokens.weight": table, "lm_head.weight": table.clone(), "model.norm.weight": torch.ones(d).half()
    })  # fmt: skip
    quantization = {"quant_method": "gptq", "bits": 4, "group_size": group, "sym": True, "desc_act": False}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab, "hidden_size": d,
        "num_hidden_layers": layers, "num_attention_heads": 40, "intermediate_size": ff, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048, "hidden_act": "silu", "tie_word_embeddings": False,
        "quantization_config": quantization,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    from kaiwa.tokenizer.config import TokenizerConfig
    from kaiwa.tokenizer.train import save as save_tokenizer
    from kaiwa.tokenizer.train import train

    save_tokenizer(train(["some words for a tokenizer"] * 3, TokenizerConfig(vocab_size=265)), folder)


def forget(folder: Path) -> None:
    """Has the system drop a folder's files from memory."""
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as f:
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--forget", action="store_true")
    parser.add_argument("--make", action="store_true", help="only make the folder")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if not asked.folder.exists():
        began = time.perf_counter()
        make(asked.folder, asked.layers)
        print(f"{asked.folder} made in {time.perf_counter() - began:.0f} s")
    if asked.make:
        return
    from kaiwa.catalog.memory_plan import bandwidth

    weights = sum(f.stat().st_size for f in asked.folder.glob("*.safetensors"))
    report: dict[str, Any] = {"hardware": describe(), "threads": cores(), "weights_bytes": weights}
    report |= {"bandwidth": bandwidth("cpu"), "load": os.getloadavg()[0]}
    cache = asked.folder / ".home"
    shutil.rmtree(cache / "cache" / "packed", ignore_errors=True)
    environment = os.environ | {"KAIWA_HOME": str(cache), "OMP_NUM_THREADS": str(cores())}
    build = [sys.executable, "-c", "from kaiwa.engine import native; native.library()"]
    subprocess.run(build, env=environment, check=True)
    if asked.forget:
        forget(asked.folder)
    for name in ("first", "second", "cold"):
        if name == "cold":
            forget(cache / "cache" / "packed")
        command = [sys.executable, "-c", LOADER, str(asked.folder), str(asked.tokens)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        told = report[name] = json.loads(done.stdout.splitlines()[-1])
        limit = report["bandwidth"] / weights
        speed, peak = told["tokens_per_s"], told["peak_bytes"]
        print(
            f"{name}: load {told['load_s']:.1f} s (imports {told['import_s']:.1f}), peak {peak / 1e9:.2f} GB ="
            f" {peak / weights:.2f} x weights, {speed:.2f} tokens/s = {speed / limit:.0%} of {limit:.2f}"
            f" (measured bandwidth {report['bandwidth'] / 1e9:.1f} GB/s), first token after"
            f" {told['first_token_s']:.2f} s, tokens' median {1 / told['median_s']:.2f} tokens/s"
        )
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
