"""In-context learning by size: accuracy and log-loss against the number of demonstrations, for models of several sizes.

Brown et al. (2020, figure 1.2) found that larger models gain more from each demonstration. Here: k in {0, 1, 2, 4, 8,
16}; the answer is the label of the highest likelihood, the loss -log of the right label's share among the labels'
likelihoods. An item's slope is that of the least-squares line over log2(k + 1), the model's slope the mean over items
with its interval, and two models' slopes are compared on the same items.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaiwa.core.artifact import Artifact, write_atomic
from kaiwa.core.context import Context
from kaiwa.lab.experiments.experiment import Arm, Experiment, register
from kaiwa.lab.experiments.run import ItemOutcome, run_models
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain import run as pretrain
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.stats.shares import share
from kaiwa.studies.icl_tasks import FirstDemonstrations, category, recall
from kaiwa.text.chat_model import OpenedModel

KS = (0, 1, 2, 4, 8, 16)
STEPS, QUICK_STEPS = 1200, 60
ITEMS, QUICK_ITEMS = 200, 24
SIZES = {  # beside the build's own base
    "own-small": DecoderConfig(d_model=64, n_layer=2, n_head=2, d_ff=160),
    "own-middle": DecoderConfig(d_model=128, n_layer=3, n_head=4, d_ff=320),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCurve:
    """One model on one task.

    accuracy, loss (nats): by k. slope, loss_slope: change per doubling of (k + 1), the mean over items. slopes: by
    item, of the accuracy. Items that failed at any k are counted in `failed` only.
    """

    model: str
    parameters: int
    task: str
    n: int
    failed: int
    accuracy: Mapping[int, Interval]
    loss: Mapping[int, Interval]
    slope: Interval
    loss_slope: Interval
    slopes: Mapping[str, float]  # by item, of the accuracy

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        for name in ("accuracy", "loss"):
            value[name] = {k: interval.to_json() for k, interval in getattr(self, name).items()}
        return value | {"slope": self.slope.to_json(), "loss_slope": self.loss_slope.to_json()}


def train_sizes(ctx: Context, tokens: Artifact, out: Path, steps: int) -> dict[str, Path]:
    """Train the smaller models on the tokens of a build; finished models are not trained again. Return name ->
    folder.
    """
    folders = {}
    for name, shape in SIZES.items():
        config = PretrainConfig(
            model=shape, steps=steps, rows=4, microbatch=4, lr=3e-3, warmup=min(30, steps // 4), compile=False
        )
        folders[name] = pretrain.run(config, ctx, tokens=tokens, out=out / name).path
    return folders


def icl_experiment(models: Sequence[str], n: int, seed: int = 0) -> Experiment:
    """Build the experiment: every k on every model, as registered arms."""
    arms = tuple(
        Arm(name=f"k = {k} @ {model}", technique=FirstDemonstrations(k=k), model=model) for model in models for k in KS
    )
    return Experiment(name="icl", tasks=(category(n, seed), recall(n, seed)), arms=arms, model=models[0], form="text")


def study(
    models: Mapping[str, int],
    open_model: Callable[[str], OpenedModel],
    out: Path,
    *,
    n: int = ITEMS,
    seed: int = 0,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> list[ModelCurve]:
    """Measure all models and write out/icl.json; cached calls are not repeated.

    models: name -> number of weights, from small to large.
    """
    experiment = icl_experiment(list(models), n, seed)
    register(experiment, out)
    outcomes = run_models(experiment, open_model, out / "calls.jsonl", show)
    scores = [
        measure(name, parameters, task.name, [o for o in outcomes if o.task == task.name])
        for task in experiment.tasks
        for name, parameters in models.items()
    ]
    write_atomic(out / "icl.json", json.dumps([m.to_json() for m in scores], indent=1))
    return scores


def measure(model: str, parameters: int, task: str, outcomes: Sequence[ItemOutcome]) -> ModelCurve:
    """Compute one model's curve from a task's outcomes. Items that failed at any k are left out, and counted."""
    right: dict[str, dict[int, float]] = {}
    loss: dict[str, dict[int, float]] = {}
    ids = []
    for k in KS:
        for o in (o for o in outcomes if o.arm == f"k = {k} @ {model}"):
            ids.append(o.id)
            if not o.error:
                right.setdefault(o.id, {})[k] = o.score
                loss.setdefault(o.id, {})[k] = _loss(o)
    whole = [id for id in dict.fromkeys(ids) if len(right.get(id, {})) == len(KS)]
    slopes = {id: slope(right[id]) for id in whole}
    return ModelCurve(
        model=model,
        parameters=parameters,
        task=task,
        n=len(whole),
        failed=len(set(ids)) - len(whole),
        accuracy={k: share([right[id][k] for id in whole]) for k in KS},
        loss={k: bootstrap([loss[id][k] for id in whole]) for k in KS},
        slope=bootstrap(list(slopes.values())),
        loss_slope=bootstrap([slope(loss[id]) for id in whole]),
        slopes=slopes,
    )


def _loss(outcome: ItemOutcome) -> float:
    """Return -log of the right label's share among the labels' likelihoods, in nats."""
    scores: Mapping[str, float] = outcome.notes["logprobs"]
    top = max(scores.values())
    total = top + math.log(sum(math.exp(v - top) for v in scores.values()))
    return total - scores[outcome.notes["right"]]


def slope(by_k: Mapping[int, float]) -> float:
    """Return the least-squares slope of values by k over log2(k + 1)."""
    x = np.log2(np.array(list(by_k), dtype=float) + 1)
    y = np.array(list(by_k.values()))
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def steeper(small: ModelCurve, large: ModelCurve) -> Interval:
    """Return the larger model's slope less the smaller one's, on the items that both answered."""
    both = [id for id in small.slopes if id in large.slopes]
    return bootstrap([large.slopes[id] - small.slopes[id] for id in both])
