"""The best weights by the held-out figure, and the end of a run that no longer improves."""

import math

import torch
from torch import nn

from kaiwa.train.best import BestWeights, evaluate_every


def run(best: BestWeights, figures: list[float]) -> nn.Linear:
    """Add figures after steps 1, 2, …; the weight is the step's number."""
    model = nn.Linear(1, 1, bias=False)
    for step, figure in enumerate(figures, 1):
        nn.init.constant_(model.weight, step)
        best.add(step, figure, model)
        if best.is_over:
            break
    return model


def test_the_best_weights_come_back() -> None:
    best = BestWeights("best", patience=2)
    model = run(best, [3.0, 1.0, math.nan, 2.0, 0.5])
    assert (best.figure, best.step, best.is_over) == (1.0, 2, True)
    assert float(model.weight) == 4, "two evaluations without a lower figure end the run"
    best.put_back(model)
    assert float(model.weight) == 2


def test_by_default_nothing_is_kept_and_nothing_stops() -> None:
    best = BestWeights()
    model = run(best, [1.0, 2.0, 3.0])
    best.put_back(model)
    assert (float(model.weight), best.is_over, best.watches) == (3.0, False, False)


def test_a_resumed_run_knows_its_best() -> None:
    first = BestWeights("best", patience=3)
    model = run(first, [1.0, 2.0])
    second = BestWeights("best", patience=3)
    second.restore(first.state())
    assert (second.figure, second.step, second.n_since) == (1.0, 1, 1)
    second.put_back(model)
    assert torch.equal(model.weight, torch.ones(1, 1))


def test_a_watched_run_is_evaluated_eight_times() -> None:
    assert evaluate_every(50, 40, True) == 5
    assert evaluate_every(50, 4, True) == 1
    assert evaluate_every(2, 40, True) == 2
    assert evaluate_every(50, 40, False) == 50
