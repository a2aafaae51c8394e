"""The server's own counters for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).

Counters and histograms are kept by hand: the text format is a few lines, and a client library would bring threads and
globals. routes/metrics.py writes them out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST_TOKEN_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds
INTER_TOKEN_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, [len(bounds) + 1]; the last count is of values above all bounds."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        index = next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[index] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        """Return Prometheus samples: cumulative buckets up to +Inf, then _sum and _count."""
        samples, cumulative = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            cumulative += count
            samples.append(f'{name}_bucket{{le="{bound}"}} {cumulative}')
        return [*samples, f"{name}_sum {self.total!r}", f"{name}_count {cumulative}"]


@dataclass(slots=True)
class Metrics:
    """Counts of the server itself; the engine's own numbers come with its state."""

    responses: dict[tuple[str, int], int] = field(default_factory=dict)  # (route, status) -> how many
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_BOUNDS))
    inter_token: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_BOUNDS))
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    cancelled: int = 0

    def add_response(self, route: str, status: int) -> None:
        self.responses[route, status] = self.responses.get((route, status), 0) + 1


class AnswerTimer:
    """A timer that adds the tokens and times of an answer to the metrics. Times count from the request."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics, self.requested_at = metrics, time.monotonic()
        self.last_token_at: float | None = None

    def add_prompt(self, n_tokens: int, n_cached: int) -> None:
        self.metrics.prompt_tokens += n_tokens
        self.metrics.cached_tokens += n_cached

    def add_tokens(self, n: int) -> None:
        """Count n tokens arriving now."""
        if not n:
            return
        now = time.monotonic()
        self.metrics.answer_tokens += n
        if self.last_token_at is None:
            self.metrics.first_token.add(now - self.requested_at)
        else:
            self.metrics.inter_token.add((now - self.last_token_at) / n)
        self.last_token_at = now
