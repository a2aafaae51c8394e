"""What shared prefixes save in an experiment: 4 arms x 100 items, with sharing and without, on one local model.

    python bench/shared_prefixes.py MODEL [--items 100]

Prints the prompt tokens computed with sharing as a share of those of independent calls (the aim: at most 40 %), and how
many greedy answers are the same, text by text. fp32 models give all; 4-bit ones round differently by batch.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from kaiwa.engine.catalog import find
from kaiwa.engine.load import load
from kaiwa.engine.local import LocalChatModel
from kaiwa.engine.shared import SharedPrefixes
from kaiwa.lab.experiment import Arm, Experiment
from kaiwa.lab.run import run
from kaiwa.lab.tasks import generated
from kaiwa.lab.techniques.shots import FewShot, ZeroShot


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
    experiment = Experiment(name="bench", tasks=(generated("sentiment-en", given.items),), arms=arms)
    entry = find(given.model)
    local = LocalChatModel(load(entry))
    found = {}
    for share in (True, False):
        local._many = SharedPrefixes(local.loaded.decoder, local.loaded.tokenizer, share=share)
        began = time.monotonic()
        outcomes = run(experiment, local, form="chat" if entry.chat else "text")
        found[share] = (outcomes, sum(o.n_prompt - o.n_reused for o in outcomes), time.monotonic() - began)
    ours, alone = found[True], found[False]
    same = sum(a.text == b.text for a, b in zip(ours[0], alone[0], strict=True))
    failed = sum(bool(o.error) for o in ours[0])
    print(f"{entry.name}: {len(ours[0])} answers, {failed} failed")
    print(f"prompt tokens computed: {ours[1]:,} of {alone[1]:,} = {ours[1] / alone[1]:.1%}")
    print(f"greedy answers the same: {same} of {len(ours[0])}; {ours[2]:.1f} s against {alone[2]:.1f} s")


if __name__ == "__main__":
    main()
