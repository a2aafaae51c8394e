"""Reward modelling and reinforcement learning beside TRL 1.12.0, the last release that has a PPOTrainer.

    python -m venv trl && trl/bin/pip install trl==1.12.0 requests      (in an environment of its own)
    python bench/rlhf.py --trl trl/bin/python [--rounds 3] [--threads 1] [--only reward,ppo,rloo] [--dialect gpt3]
                         [--out FILE]

1.9 million weights (4 layers, 192 wide, 512 tokens), by default a LLaMA, with --dialect gpt3 a GPT-2; the same weights,
ids, order, fp32, threads and learning rates for both; every task in a process of its own, ours and theirs by turns.
Reward model: K = 9 ranked completions of 25 tokens after 48 of prompt. PPO: 64 episodes, prompts of 8 to 32 tokens, 32
of response, 4 minibatches, 1 epoch. RLOO: 64 episodes, groups of 4. Printed and written: medians over rounds of the
median step, ratios, peak memory (the process's, and above what it held with its models loaded), accuracy after one
epoch on comparisons kept aside.
TRL shuffles pairs over prompts; ours takes a prompt's 36 pairs in one step, as InstructGPT did. The number of optimizer
steps is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TASKS = {
    "reward": (("kaiwa", "reward"), ("kaiwa", "reward-each"), ("kaiwa", "reward-pairs"), ("trl", "reward")),
    "ppo": (("kaiwa", "ppo"), ("trl", "ppo")),
    "rloo": (("kaiwa", "rloo"), ("trl", "rloo")),
}
V, K, PROMPT, COMPLETION = 512, 9, 48, 25
RATES = (3e-4, 1e-3, 3e-3)  # learning rates of the reward model: each side is judged at its best


def write_job(folder: Path, threads: int, prompts: int, updates: int, dialect: str) -> None:
    """Weights, tokenizer, comparisons and prompts."""
    import torch

    from kaiwa.model.config import DecoderConfig, gpt3
    from kaiwa.model.decoder import make_decoder
    from kaiwa.model.formats.hf_folder import save_model
    from kaiwa.model.heads import ScalarModel, initialise_score
    from kaiwa.tokenizer.config import TokenizerConfig
    from kaiwa.tokenizer.folder import special_ids
    from kaiwa.tokenizer.train import save, train

    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdefghijklmnop ", k=60)) for _ in range(400)]
    tokenizer = train(texts, TokenizerConfig(vocab_size=V))
    if dialect == "gpt3":
        config = gpt3(4, 192, 3, vocab_size=tokenizer.vocab_size, max_length=256)
    else:
        shape = {"d_model": 192, "n_layer": 4, "n_head": 3, "d_ff": 512}
        config = DecoderConfig(vocab_size=tokenizer.vocab_size, max_length=256, **shape)
    reward = ScalarModel(make_decoder(config, 1))
    initialise_score(reward, torch.Generator().manual_seed(2))
    for name, model in (("policy", make_decoder(config, 0)), ("reward", reward)):
        save_model(folder / name, model, special_ids(tokenizer), torch.float32)
        save(tokenizer, folder / name)
        settings = json.loads((folder / name / "config.json").read_text())
        off = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
        (folder / name / "config.json").write_text(json.dumps(settings | off))
    words = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.specials.values()]

    def ranked() -> dict[str, Any]:
        """Ranked by how many of a completion's tokens are even, with noise: learnable, not perfectly."""
        completions = [rng.choices(words, k=COMPLETION) for _ in range(K)]
        noisy = [-sum(t % 2 == 0 for t in c) + rng.gauss(0, 1) for c in completions]
        order = sorted(noisy)
        return {
            "prompt": rng.choices(words, k=PROMPT),
            "completions": completions,
            "ranks": [order.index(x) for x in noisy],
        }

    job = {
        "threads": threads, "updates": updates, "batch": 64, "minibatches": 4, "response": 32, "group": 4,
        "pad": tokenizer.pad_id, "prompts": [rng.choices(words, k=rng.randint(8, 32)) for _ in range(64)],
        "training": [ranked() for _ in range(prompts)], "test": [ranked() for _ in range(40)], "lr": RATES[0],
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))


def measure(interpreter: str, who: str, what: str, job: Path, threads: int) -> dict[str, float]:
    here = Path(__file__).parent
    names = {n: str(threads) for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = os.environ | names | {"PYTHONPATH": str(here.parent)}
    command = [interpreter, str(here / "rlhf_peer.py"), who, what, str(job)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    for line in ran.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
            return found
    sys.exit(f"{who} {what} failed:\n{ran.stderr[-3000:]}")


def best_accuracies(trl: str, job: Path, threads: int) -> dict[str, dict[str, float]]:
    """Accuracy after one epoch by learning rate, for both."""
    found: dict[str, dict[str, float]] = {}
    told = json.loads((job / "job.json").read_text())
    for rate in RATES:
        (job / "job.json").write_text(json.dumps(told | {"lr": rate}))
        for who, what in (("kaiwa", "reward"), ("trl", "reward")):
            row = measure(trl if who == "trl" else sys.executable, who, what, job, threads)
            found.setdefault(who, {})[f"{rate:g}"] = row["accuracy"]
    (job / "job.json").write_text(json.dumps(told))
    for who, by_rate in found.items():
        best = max(by_rate, key=by_rate.__getitem__)
        print(f"{who} reward after one epoch, best of rates {by_rate}: {by_rate[best]:.3f} at {best}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="kaiwa's RLHF beside TRL 1.12.0")
    parser.add_argument("--trl", required=True, help="a Python that has trl==1.12.0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=48, help="of the reward model's epoch")
    parser.add_argument("--updates", type=int, default=7)
    parser.add_argument("--only", default="reward,ppo,rloo")
    parser.add_argument("--dialect", choices=("llama", "gpt3"), default="llama")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from kaiwa.core.machine import describe

    value: dict[str, Any] = {
        "machine": describe(),
        "options": {k: v for k, v in vars(options).items() if k not in ("trl", "out")},
        "tasks": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        write_job(job, options.threads, options.prompts, options.updates, options.dialect)
        for name in options.only.split(","):
            rows: dict[str, list[dict[str, float]]] = {}
            if name == "reward":
                value["best_accuracy"] = best_accuracies(options.trl, job, options.threads)
            for _ in range(options.rounds):
                for who, what in TASKS[name]:
                    python = options.trl if who == "trl" else sys.executable
                    row = measure(python, who, what, job, options.threads)
                    print(f"{who} {what}: {row['seconds']:.3f} s, cpu {row['cpu']:.3f} s", file=sys.stderr, flush=True)
                    rows.setdefault(f"{who} {what}", []).append(row)
            table = {
                side: {k: statistics.median(r[k] for r in found) for k in found[0]} for side, found in rows.items()
            }
            theirs = table[f"trl {TASKS[name][-1][1]}"]
            value["tasks"][name] = {"median": table, "rounds": rows}
            for side, row in table.items():
                above = f"{row['mb'] - row['mb_before']:.0f}"
                ratio = ""
                if side.startswith("kaiwa"):
                    ratio = f"{theirs['seconds'] / row['seconds']:.1f} x (cpu {theirs['cpu'] / row['cpu']:.1f} x)"
                extra = ", ".join(
                    f"{k} {row[k]:.3g}" for k in ("accuracy", "optimizer_steps", "tokens", "kl") if k in row
                )
                print(
                    f"{side:<20} {row['seconds']:.4f} s, cpu {row['cpu']:.4f} s  {ratio:<17}  peak {row['mb']:.0f} MB "
                    f"(+{above})  {extra}",
                    flush=True,
                )
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(value, indent=1))
        print(f"results: {options.out}")


if __name__ == "__main__":
    main()
