"""The smallest build with all that rounds go on with, and labels written by hand."""

from pathlib import Path

import torch

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.feedback.batch_records import Batch, ItemAnswer
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from tests.contract.smallest import RECIPE, STAGES

NAMES = ("village", "corpus", "tokenizer", "base", "sft", "comparisons", "reward", "rlhf")


def build_smallest(run: Path) -> Path:
    """Build the stages; the policy is published as ppo_ptx, as in a recipe."""
    torch.set_num_threads(1)
    ctx, artifacts = Context(seed=1, logs=run / "logs"), dict[str, Artifact]()
    for name in NAMES:
        artifacts[name] = STAGES[name](ctx, run / ("ppo_ptx" if name == "rlhf" else name), artifacts, RECIPE)
    return run


def label_by_length(store: BatchStore, batch: Batch, most: int = 1000, labeller: str = "Aoi") -> int:
    """Rank the items of a queue, the shorter text the better; return how many. All are told apart."""
    queue = LabelQueue(store, batch, labeller)
    for n in range(most):
        assignment = queue.next()
        if assignment is None:
            return n
        order = sorted(range(batch.k), key=lambda i: (len(assignment.outputs[i]), assignment.order[i]))
        ranks = tuple(order.index(i) for i in range(batch.k))
        queue.finish(assignment.id, f"{labeller}-{batch.id}-{assignment.id:08}", ItemAnswer(ranks=ranks, seconds=9.0))
    return most
