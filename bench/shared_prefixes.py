"""What shared prefixes save in an experiment: 4 arms x 100 items on one local model, as the lab asks them, and as 400
independent calls to an engine that keeps nothing.

    python bench/shared_prefixes.py MODEL [--items 100]

Prints the prompt tokens computed with sharing as a share of those of independent calls (the aim: at most 40 %), and how
many greedy answers are the same, answer by answer.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.engine.engine import Engine
from kaiwa.engine.native import step as fused
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


@dataclass
class Alone:
    """A model that is asked one thing at a time; its engine computes every prompt from its first token."""

    local: LocalChatModel

    @property
    def name(self) -> str:
        return self.local.name

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return self.local.generate(prompt, sampling)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return self.local.score(context, continuation)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--items", type=int, default=100)
    given = parser.parse_args()
    arms = (
        Arm(name="zero-shot", technique=ZeroShot()),
        Arm(name="2-shot", technique=FewShot(k=2)),
        Arm(name="4-shot", technique=FewShot(k=4)),
        Arm(name="4-shot, flipped labels", technique=FewShot(k=4, labels="flipped")),
    )
    experiment = Experiment(name="bench", tasks=(generate_task("sentiment-en", given.items),), arms=arms)
    entry = entry_by_name_or_path(given.model)
    local = LocalChatModel(load(entry))
    without = fused.wait(local.loaded.decoder)
    step = "the C++ step" if without is not None else "torch"
    form = "chat" if entry.chat else "text"
    began = time.monotonic()
    ours = run(experiment, local, form=form)
    seconds = time.monotonic() - began
    local.engine = Engine(local.loaded.decoder, local.loaded.tokenizer, reuse=False)
    began = time.monotonic()
    alone = run(experiment, Alone(local), form=form)
    apart = time.monotonic() - began
    all_tokens = sum(o.n_prompt for o in ours)
    computed = all_tokens - sum(o.n_reused for o in ours)
    same = sum(a.text == b.text for a, b in zip(ours, alone, strict=True))
    failed = sum(bool(o.error) for o in (*ours, *alone))
    print(f"{entry.name} by {step}: {len(ours)} answers, {failed} failed")
    print(f"prompt tokens computed: {computed:,} of {all_tokens:,} = {computed / all_tokens:.1%}")
    print(f"greedy answers the same: {same} of {len(ours)}; {seconds:.1f} s against {apart:.1f} s")


if __name__ == "__main__":
    main()
