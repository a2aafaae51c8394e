"""Learning-rate schedules: pure functions from the step to a factor in [0, 1] of the peak learning rate."""

import math
from typing import Literal

Keep = Literal["last", "best"]  # of a run's weights, those that are published


def warmup(step: int, n_warmup: int) -> float:
    """Return the learning rate's factor: 1/n, 2/n, … 1 over the first n steps, then 1."""
    return 1.0 if n_warmup <= 0 else min(1.0, (step + 1) / n_warmup)


def warmup_steps(warmup: float, n_steps: int) -> int:
    """Return the number of steps of a warm-up given as a share of all steps (below 1) or as steps."""
    return round(warmup * n_steps) if warmup < 1 else round(warmup)


def cosine(step: int, n_steps: int, n_warmup: int = 0, floor: float = 0.1) -> float:
    """Return the factor of a warm-up followed by half a cosine down to `floor` at the last step (GPT-3: floor 0.1)."""
    if step < n_warmup:
        return warmup(step, n_warmup)
    progress = min(1.0, (step - n_warmup) / max(1, n_steps - 1 - n_warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def flat_then_linear(step: int, n_steps: int, n_warmup: int, decay_share: float, floor: float = 0.05) -> float:
    """Return the factor of a warm-up, a flat part, and a linear decay to `floor` over the share `decay_share`."""
    start = n_steps - round(n_steps * decay_share)
    if step < start:
        return warmup(step, n_warmup)
    progress = (step - start) / max(1, n_steps - 1 - start)
    return warmup(step, n_warmup) * (1 - (1 - floor) * min(1.0, progress))
