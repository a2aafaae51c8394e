"""The reward model's accuracy on held-out pairs, with the ceiling set by the labellers' noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.text.records import Comparison, comparison, read_jsonl
from kaiwa.world.judge import judge
from kaiwa.world.labeller import GOLD
from kaiwa.world.prompts import prompt_from_json
from kaiwa.world.village import Village


def reward_card(reward: Artifact, comparisons: Path, village: Village, held_out: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, ceiling, and (accuracy - 0.5) / (ceiling - 0.5) for both groups of labellers.

    The ceiling is the accuracy of the gold judge (no noise, no bias) on the labellers' own decided pairs; a pair of
    equal utility counts one half.
    """
    counts = {True: [0.0, 0.0], False: [0.0, 0.0]}  # held-out labeller -> pairs: right for the gold judge, all
    for raw in read_jsonl(comparisons):
        record = comparison(raw)
        agreed, decided = gold_pairs(record, village)
        tally = counts[record.labeller in held_out]
        tally[0], tally[1] = tally[0] + agreed, tally[1] + decided
    card: dict[str, Any] = {}
    for name, group in (("held_out", False), ("held_out_labellers", True)):
        accuracy, (right, n) = reward.metrics.get(f"{name}_accuracy"), counts[group]
        ceiling = right / n if n else None
        share = (accuracy - 0.5) / (ceiling - 0.5) if accuracy is not None and ceiling and ceiling > 0.5 else None
        card[name] = {
            "accuracy": accuracy,
            "pairs": reward.metrics.get(f"{name}_pairs"),
            "ceiling": ceiling,
            "share_of_ceiling": share,
        }
    return card


def gold_pairs(record: Comparison, village: Village) -> tuple[float, int]:
    """Return the number of decided pairs that gold judge and labeller order alike, and of all decided pairs.

    A pair of equal utility counts one half.
    """
    prompt = prompt_from_json(record.meta["prompt"])
    ended = record.meta.get("ended") or [True] * len(record.completions)
    utilities = [
        GOLD.utility(judge(village, prompt, text, end)) for text, end in zip(record.completions, ended, strict=True)
    ]
    right, n = 0.0, 0
    for i, j in combinations(range(len(utilities)), 2):
        label = record.ranks[j] - record.ranks[i]
        if label:
            n += 1
            gold = utilities[i] - utilities[j]
            right += 0.5 if gold == 0 else float((gold > 0) == (label > 0))
    return right, n
