"""Prometheus metrics by hand: the text format is a few lines, and a client library would bring threads and globals.

https://prometheus.io/docs/instrumenting/exposition_formats/: for every metric HELP, TYPE and its samples; a histogram's
buckets are cumulative and end in +Inf, beside _sum and _count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds
BETWEEN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, [len(bounds) + 1] with what is above all of them last."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        place = next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[place] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        found, below = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            below += count
            found.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*found, f"{name}_sum {self.total!r}", f"{name}_count {below}"]


@dataclass(slots=True)
class Metrics:
    """What the server counts by itself; the engine's own numbers come with its state."""

    responses: dict[tuple[str, int], int] = field(default_factory=dict)  # (route, status) -> how many
    first: Histogram = field(default_factory=lambda: Histogram(FIRST))
    between: Histogram = field(default_factory=lambda: Histogram(BETWEEN))
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    cancelled: int = 0

    def responded(self, route: str, status: int) -> None:
        self.responses[route, status] = self.responses.get((route, status), 0) + 1


class Timer:
    """Follows one answer's messages into the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics, self.asked = metrics, time.monotonic()
        self.last: float | None = None

    def saw(self, message: Mapping[str, Any]) -> None:
        if message["kind"] == "start":
            self.metrics.prompt_tokens += message["prompt_tokens"]
            self.metrics.cached_tokens += message["cached"]
        elif message["kind"] == "tokens" and message["n"]:
            now = time.monotonic()
            self.metrics.answer_tokens += message["n"]
            if self.last is None:
                self.metrics.first.add(now - self.asked)
            else:
                self.metrics.between.add((now - self.last) / message["n"])
            self.last = now


def exposition(metrics: Metrics, state: Any, queued: int, shield: Any = None) -> str:
    """All metrics as text. `state`: the engine client's EngineState; `queued`: requests under way in the server;
    `shield`: its defence, where there is one."""
    lines: list[str] = []

    def add(name: str, kind: str, help: str, samples: Sequence[str]) -> None:
        if samples:
            lines.extend((f"# HELP {name} {help}", f"# TYPE {name} {kind}", *samples))

    def one(name: str, kind: str, help: str, value: float | int) -> None:
        add(name, kind, help, [f"{name} {value}"])

    responses = [
        f'kaiwa_responses_total{{route="{_label(route)}",status="{status}"}} {count}'
        for (route, status), count in sorted(metrics.responses.items())
    ]
    add("kaiwa_responses_total", "counter", "HTTP responses by route and status.", responses)
    add(
        "kaiwa_time_to_first_token_seconds",
        "histogram",
        "From the request to its first token.",
        metrics.first.lines("kaiwa_time_to_first_token_seconds"),
    )
    add(
        "kaiwa_inter_token_seconds",
        "histogram",
        "Between an answer's tokens.",
        metrics.between.lines("kaiwa_inter_token_seconds"),
    )
    one("kaiwa_prompt_tokens_total", "counter", "Tokens of prompts.", metrics.prompt_tokens)
    one("kaiwa_prompt_tokens_cached_total", "counter", "Of these, not computed again.", metrics.cached_tokens)
    one("kaiwa_answer_tokens_total", "counter", "Tokens answered.", metrics.answer_tokens)
    one("kaiwa_cancelled_total", "counter", "Answers whose client went away.", metrics.cancelled)
    one("kaiwa_requests_under_way", "gauge", "Answers asked of the engine and not ended.", queued)
    one("kaiwa_tokens_per_second", "gauge", "Of all answers together, now.", state.tokens_per_second)
    one("kaiwa_engine_ready", "gauge", "1 while the engine process runs.", int(state.state == "ready"))
    one("kaiwa_engine_restarts_total", "counter", "Times the engine process had to be started again.", state.restarts)
    if shield is not None:
        one("kaiwa_defence_answers_total", "counter", "Answers that went through the defence.", shield.requests)
        stopped = [("request", shield.blocked_requests), ("reply", shield.blocked_replies), ("fault", shield.failures)]
        samples = [f'kaiwa_defence_stopped_total{{stage="{stage}"}} {count}' for stage, count in stopped]
        add("kaiwa_defence_stopped_total", "counter", "Answers that the defence stopped, by where.", samples)
        one("kaiwa_defence_seconds_total", "counter", "The defence's own time.", round(shield.seconds, 6))
    memory = [f'kaiwa_model_bytes{{model="{_label(name)}"}} {size}' for name, size in sorted(state.models.items())]
    add("kaiwa_model_bytes", "gauge", "Weights in memory, by model.", memory)
    one("kaiwa_weight_bytes_read_total", "counter", "Weights read by steps that gave tokens.", state.bytes_read)
    one("kaiwa_step_seconds_total", "counter", "Seconds of these steps.", state.step_seconds)
    if state.bandwidth:
        limit = "Bytes a second this machine reads from memory, measured."
        one("kaiwa_memory_bandwidth_bytes_per_second", "gauge", limit, state.bandwidth)
        if state.step_seconds:
            share = state.bytes_read / state.step_seconds / state.bandwidth
            one("kaiwa_bandwidth_ratio", "gauge", "Weights read a second over the measured limit.", round(share, 6))
    return "\n".join(lines) + "\n"


def _label(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
