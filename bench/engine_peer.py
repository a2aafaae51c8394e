"""One engine under test: reads tasks from standard input, a JSON line each, and answers with what it measured.

    python bench/engine_peer.py (kaiwa | llama | transformers | lm-eval) MODEL.gguf THREADS

Started by bench/engine.py, also with another interpreter (llama-cpp-python is built in an environment of its own).
Tokens go in and out as numbers, so that all engines do the same work: stop tokens are ignored, answers are greedy.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

Ids = list[int]
CONTEXT = 8192
ROWS = 129


class Kaiwa:
    def __init__(self, path: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        from pathlib import Path

        from kaiwa.catalog.entries import read_entry
        from kaiwa.catalog.load import load
        from kaiwa.engine.native import step

        entry = read_entry(Path(path), "bench")
        assert entry is not None
        self.loaded = load(entry, lambda line: print(line, file=sys.stderr))
        self.fast = step.wait(self.loaded.decoder) is not None

    def _engine(self, rows: int = 16, reuse: bool = False) -> Any:
        from kaiwa.engine.engine import Engine

        return Engine(self.loaded.decoder, None, max_rows=rows, reuse=reuse)

    def stream(self, ids: Ids, n: int) -> list[float]:
        """Seconds from the start to each token."""
        from kaiwa.engine.request import Request
        from kaiwa.text.sampling import Sampling

        engine = self._engine()
        engine.add(Request(id="a", prompt_ids=tuple(ids), sampling=Sampling(max_tokens=n, temperature=0.0)))
        start, times = time.perf_counter(), []
        while not engine.idle:
            times += [time.perf_counter() - start for event in engine.step() if event.tokens]
        return times

    def samples(self, ids: Ids, n: int, rows: int) -> float:
        """Seconds for `rows` samples of n tokens, the prompt included."""
        from kaiwa.engine.request import Request
        from kaiwa.text.sampling import Sampling

        engine = self._engine(rows, reuse=True)
        start = time.perf_counter()
        for i in range(rows):
            engine.add(Request(id=str(i), prompt_ids=tuple(ids), sampling=Sampling(max_tokens=n, seed=i)))
        while not engine.idle:
            engine.step()
        return time.perf_counter() - start

    def adapters(self, ids: Ids, n: int, rows: int, kinds: int) -> float:
        """Seconds for `rows` answers of n tokens, each with one of `kinds` random adapters of rank 8 (0: none)."""
        import torch

        from kaiwa.engine.request import Request
        from kaiwa.model.adapter import Adapter
        from kaiwa.text.sampling import Sampling

        c = self.loaded.decoder.config
        d, width = c.d_model, (c.n_head + 2 * c.kv_heads) * c.d_head
        sizes = {"qkv": (d, width), "out": (d, d), "up": (d, 2 * c.d_ff), "down": (c.d_ff, d)}
        engine = self._engine(rows)
        for kind in range(kinds):
            blocks = [
                {k: (torch.randn(8, i), torch.zeros(o, 8)) for k, (i, o) in sizes.items()} for _ in range(c.n_layer)
            ]
            engine.add_adapter(str(kind), Adapter(tuple(blocks)))
        for warm in (True, False):
            start = time.perf_counter()
            for i in range(rows):
                name = str(i % kinds) if kinds else ""
                engine.add(
                    Request(
                        id=str(i),
                        prompt_ids=tuple(ids),
                        sampling=Sampling(max_tokens=2 if warm else n, seed=i),
                        adapter=name,
                    )
                )
            while not engine.idle:
                engine.step()
        return time.perf_counter() - start

    def score(self, header: Ids, rests: list[Ids], choices: list[Ids]) -> float:
        """Seconds to score every choice after header and rest."""
        from kaiwa.engine.shared_prompts import SharedPrompts

        many = SharedPrompts(self.loaded.decoder, None)
        start = time.perf_counter()
        many.score([(tuple(header + rest), tuple(choice)) for rest in rests for choice in choices])
        return time.perf_counter() - start


class Llama:
    def __init__(self, path: str, threads: int) -> None:
        import llama_cpp as l

        self.l = l
        l.llama_backend_init()
        self.quiet = l.llama_log_callback(lambda level, text, data: None)
        l.llama_log_set(self.quiet, None)
        model = l.llama_model_load_from_file(path.encode(), l.llama_model_default_params())
        settings = l.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = CONTEXT, 512, 512, ROWS
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = True
        self.context = l.llama_init_from_model(model, settings)
        self.memory = l.llama_get_memory(self.context)
        self.V = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
        self.batch = l.llama_batch_init(512, 0, 1)

    def _decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """(token, position, sequence, whether its logits are wanted) each"""
        for at in range(0, len(tokens), 512):
            some = tokens[at : at + 512]
            self.batch.n_tokens = len(some)
            for i, (token, position, row, wanted) in enumerate(some):
                self.batch.token[i], self.batch.pos[i] = token, position
                self.batch.n_seq_id[i], self.batch.seq_id[i][0], self.batch.logits[i] = 1, row, wanted
            assert self.l.llama_decode(self.context, self.batch) == 0

    def _best(self, i: int) -> int:
        import numpy as np

        return int(np.ctypeslib.as_array(self.l.llama_get_logits_ith(self.context, i), (self.V,)).argmax())

    def _clear(self) -> None:
        self.l.llama_memory_clear(self.memory, True)

    def stream(self, ids: Ids, n: int) -> list[float]:
        self._clear()
        start, times = time.perf_counter(), []
        self._decode([(token, i, 0, i == len(ids) - 1) for i, token in enumerate(ids)])
        last = self._best(-1)
        times.append(time.perf_counter() - start)
        for i in range(n - 1):
            self._decode([(last, len(ids) + i, 0, True)])
            last = self._best(-1)
            times.append(time.perf_counter() - start)
        return times

    def samples(self, ids: Ids, n: int, rows: int) -> float:
        """Its rows go on with given tokens: what sampling would cost is not counted against it."""
        self._clear()
        start = time.perf_counter()
        self._decode([(token, i, 0, i == len(ids) - 1) for i, token in enumerate(ids)])
        for row in range(1, rows):
            self.l.llama_memory_seq_cp(self.memory, 0, row, -1, -1)
        for i in range(n - 1):
            self._decode([(ids[(7 * i + row) % len(ids)], len(ids) + i, row, True) for row in range(rows)])
        return time.perf_counter() - start

    def score(self, header: Ids, rests: list[Ids], choices: list[Ids]) -> float:
        """Header once, each question once, each choice after it; logits where a choice's tokens are predicted."""
        self._clear()
        start = time.perf_counter()
        self._decode([(token, i, 0, False) for i, token in enumerate(header)])
        for rest in rests:
            at = len(header)
            self.l.llama_memory_seq_rm(self.memory, 0, at, -1)
            self._decode([(token, at + i, 0, i == len(rest) - 1) for i, token in enumerate(rest)])
            at += len(rest)
            for choice in choices:
                self.l.llama_memory_seq_rm(self.memory, 0, at, -1)
                if len(choice) > 1:
                    self._decode([(token, at + i, 0, True) for i, token in enumerate(choice[:-1])])
        return time.perf_counter() - start


def dense(path: str, folder: str) -> None:
    """The file's weights as a folder in bf16, which is what transformers makes of it itself."""
    from pathlib import Path

    import torch

    from kaiwa.catalog.weights import tokenizer_of
    from kaiwa.model.formats.gguf import GgufFile
    from kaiwa.model.formats.hf_folder import save_model
    from kaiwa.model.int4 import expand
    from kaiwa.tokenizer.train import save

    file = GgufFile(Path(path))
    decoder = expand(file.decoder(torch.float32, False))
    save_model(Path(folder), decoder, {"eos_token_id": 1}, torch.bfloat16)
    save(tokenizer_of(file.vocabulary()), Path(folder))


class Transformers:
    def __init__(self, path: str, threads: int) -> None:
        import tempfile

        import torch
        import transformers

        torch.set_num_threads(threads)
        self.torch = torch
        transformers.logging.set_verbosity_error()
        with tempfile.TemporaryDirectory() as folder:
            dense(path, folder)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        self.model.eval()

    def stream(self, ids: Ids, n: int) -> list[float]:
        torch, times, cache = self.torch, [], None
        start, tokens = time.perf_counter(), torch.tensor([ids])
        with torch.inference_mode():
            for _ in range(n):
                out = self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache, tokens = out.past_key_values, out.logits[:, -1:].argmax(-1)
                times.append(time.perf_counter() - start)
        return times

    def samples(self, ids: Ids, n: int, rows: int) -> float:
        """The prompt once, its cache repeated."""
        torch = self.torch
        start = time.perf_counter()
        with torch.inference_mode():
            out = self.model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            cache.batch_repeat_interleave(rows)
            logits = out.logits[:, -1].repeat(rows, 1)
            for _ in range(n - 1):
                tokens = logits.float().softmax(-1).multinomial(1)
                logits = self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        return time.perf_counter() - start


class LmEval:
    """lm-evaluation-harness's own `hf` backend, eight texts at a time."""

    def __init__(self, path: str, threads: int) -> None:
        import tempfile

        import torch
        from lm_eval.models.huggingface import HFLM

        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:
            dense(path, folder)
            self.model = HFLM(pretrained=folder, device="cpu", dtype="bfloat16", batch_size=8)

    def score(self, header: Ids, rests: list[Ids], choices: list[Ids]) -> float:
        asked = [(("", ""), header + rest, choice) for rest in rests for choice in choices]
        start = time.perf_counter()
        self.model._loglikelihood_tokens(asked, disable_tqdm=True)
        return time.perf_counter() - start


def main() -> None:
    kind, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print
    peer = {"kaiwa": Kaiwa, "llama": Llama, "transformers": Transformers, "lm-eval": LmEval}[kind](path, threads)
    print(json.dumps({"ready": kind}), file=out, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        result = getattr(peer, task.pop("task"))(**task)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"result": result, "memory": memory}), file=out, flush=True)


if __name__ == "__main__":
    main()
