"""How much of its idle speed the chat keeps while something trains beside it.

    python bench/chat_during_build.py [MODEL] [COMMAND ...]

COMMAND is what trains (default: a small fp32 training loop on all cores). It runs niced and with passive OpenMP, as a
build does. Idle and busy are measured in turn, three times each; medians are printed.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from kaiwa.core.machine import cores, describe

TRAIN = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.GELU(), torch.nn.Linear(2048, 512))
optimizer = torch.optim.AdamW(model.parameters())
x = torch.randn(512, 512)
while True:
    optimizer.zero_grad(); (model(x) - x).square().mean().backward(); optimizer.step()
"""


def main(model: str, command: Sequence[str]) -> None:
    passive = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
    os.environ.update(passive)
    import torch

    from kaiwa.catalog.entries import entry_by_name_or_path
    from kaiwa.catalog.load import load
    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.text.records import Message
    from kaiwa.text.sampling import Sampling

    torch.set_num_threads(cores())
    made = LocalChatModel(load(entry_by_name_or_path(model)))
    prompt = (Message("user", "Tell me a long story about a village by the sea."),)

    def speed() -> float:
        """Tokens per second of one stream, without the prompt."""
        times = [time.perf_counter() for _ in made.stream(prompt, Sampling(max_tokens=120, temperature=0.7, seed=1))]
        return (len(times) - 1) / (times[-1] - times[0])

    speed()
    idle, busy = [], []
    for _ in range(3):
        idle.append(speed())
        with subprocess.Popen(["nice", "-n", "10", *command]) as child:
            time.sleep(5)
            busy.append(speed())
            child.terminate()
    kept = statistics.median(busy) / statistics.median(idle)
    print(f"{describe()}: {model}")
    print(f"idle {statistics.median(idle):.0f}, during a build {statistics.median(busy):.0f} tokens/s: {kept:.0%} kept")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct", sys.argv[2:] or [sys.executable, "-c", TRAIN])
