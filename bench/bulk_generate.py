"""Tokens per second of bulk generation for a laptop-sized model: python bench/bulk_generate.py [threads] [rows]"""

import sys
import time

import torch

from kaiwa.core.machine import describe
from kaiwa.engine.engine import Engine
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.text.sampling import Sampling


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    decoder = make_decoder(DecoderConfig(), 0)
    print(describe(), f"{torch.get_num_threads()} threads, {decoder.config.n_parameters / 1e6:.1f}M parameters")
    prompts = [[(7 * i + j) % 3072 for j in range(16 + i % 32)] for i in range(rows)]
    for dtype, cache_dtype in ((torch.float32, None), (torch.float32, torch.bfloat16), (torch.bfloat16, None)):
        engine = Engine(decoder, dtype=dtype, cache_dtype=cache_dtype)
        for temperature, top_p in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.9)):
            speeds = []
            for seed in range(3):
                start = time.perf_counter()
                got = engine.generate(
                    prompts, Sampling(max_tokens=64, temperature=temperature, top_p=top_p, seed=seed), rows=256
                )
                speeds.append(sum(len(c.ids) for c in got) / (time.perf_counter() - start))
            name = f"{dtype}, cache {cache_dtype or dtype}, T={temperature}, top_p={top_p}"
            print(f"{name}: {sorted(speeds)[1]:,.0f} tokens/s (best {max(speeds):,.0f})")


if __name__ == "__main__":
    main()
