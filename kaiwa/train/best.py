"""The best weights of a run by its held-out figure, and when to stop because it no longer falls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kaiwa.train.schedule import Keep


@dataclass(slots=True)
class BestWeights:
    """The lowest held-out figure so far, its step, and with `keep` "best" the trained weights of that step.

    patience: evaluations without a lower figure after which a run stops; 0: never.
    """

    keep: Keep = "last"
    patience: int = 0
    figure: float = math.inf
    step: int = 0
    n_since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def watches(self) -> bool:
        """Whether the run depends on evaluations during training."""
        return self.keep == "best" or self.patience > 0

    @property
    def is_over(self) -> bool:
        """Whether the figure has not fallen for `patience` evaluations."""
        return 0 < self.patience <= self.n_since

    def add(self, step: int, figure: float, model: nn.Module) -> None:
        """Take the figure after a step into account; NaN counts as no improvement."""
        if figure < self.figure:
            self.figure, self.step, self.n_since = figure, step, 0
            if self.keep == "best":
                self.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        else:
            self.n_since += 1

    @torch.no_grad()
    def put_back(self, model: nn.Module) -> None:
        """Give the model the best weights, where they are kept."""
        parameters = dict(model.named_parameters())
        for name, weight in self.weights.items():
            parameters[name].copy_(weight)

    def state(self) -> dict[str, Any]:
        return {"figure": self.figure, "step": self.step, "n_since": self.n_since, "weights": self.weights}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore a state returned by `state`."""
        self.figure, self.step, self.n_since = saved["figure"], saved["step"], saved["n_since"]
        self.weights = dict(saved["weights"])


def evaluate_every(every: int, n_steps: int, watched: bool) -> int:
    """Return the number of steps between evaluations: as configured, and at least eight in a run that is watched."""
    return min(every, max(1, n_steps // 8)) if watched else every
