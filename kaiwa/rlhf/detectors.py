"""Detectors of common RLHF failures in a run's metrics. Each warning is one line: symptom, cause, remedy.

A detector takes the rows logged so far and returns the figure of its warning, or None. A detector warns once per run.
The texts are among the words of the reports (`watch.NAME`), so that the terminal and the Build page print the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kaiwa.report.words import Words

Rows = Sequence[Mapping[str, float]]
FEW, MANY = 5, 20  # updates for a mean, and for a trend
WATCHED_METRICS = ("kl", "ratio_off", "ended", "length", "score", "explained_variance", "score_outside", "distinct")


def mean(rows: Rows, name: str) -> float | None:
    """Return the mean of a metric over the rows; None unless every row has the metric."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return sum(values) / len(values) if rows and len(values) == len(rows) else None


def negative_kl(rows: Rows) -> float | None:
    """Return the mean KL if clearly below 0, impossible for replies sampled from the trained distribution."""
    kl = mean(rows[-FEW:], "kl")
    return kl if len(rows) >= FEW and kl is not None and kl < -0.05 else None


def ratio_off_one(rows: Rows) -> float | None:
    """Return the largest |log ratio| before an update's first step if above 0.02; every ratio should be 1 there."""
    off = rows[-1].get("ratio_off")
    return off if off is not None and off > 0.02 else None


def ended_falling(rows: Rows) -> float | None:
    """Return the share of replies that end if the share has fallen by more than 0.1 since the start."""
    first, last = mean(rows[:FEW], "ended"), mean(rows[-FEW:], "ended")
    if len(rows) < 2 * FEW or first is None or last is None:
        return None
    return last if last < first - 0.1 else None


def length_with_score(rows: Rows) -> float | None:
    """Return the growth of the length if above a fifth and correlated with the score (above 0.7)."""
    recent = rows[-MANY:]
    if len(recent) < MANY:
        return None
    lengths, scores = [row["length"] for row in recent], [row["score"] for row in recent]
    before, after = sum(lengths[:FEW]) / FEW, sum(lengths[-FEW:]) / FEW
    return after / before - 1 if after > 1.2 * before and correlation(lengths, scores) > 0.7 else None


def value_hinders(rows: Rows) -> float | None:
    """Return the value model's explained variance if below 0."""
    explained = mean(rows[-FEW:], "explained_variance")
    return explained if len(rows) >= MANY and explained is not None and explained < 0 else None


def out_of_range(rows: Rows) -> float | None:
    """Return the share of scores outside the middle 98 % of the reward model's held-out scores, if above a fifth."""
    outside = mean(rows[-FEW:], "score_outside")
    return outside if len(rows) >= FEW and outside is not None and outside > 0.2 else None


def collapsed(rows: Rows) -> float | None:
    """Return the share of distinct replies if the share has halved since the start and is below 0.3."""
    first, last = mean(rows[:FEW], "distinct"), mean(rows[-FEW:], "distinct")
    if len(rows) < 2 * FEW or first is None or last is None:
        return None
    return last if last < min(0.3, first / 2) else None


DETECTORS: Mapping[str, Callable[[Rows], float | None]] = {
    "negative_kl": negative_kl,
    "ratio_off_one": ratio_off_one,
    "ended_falling": ended_falling,
    "length_with_score": length_with_score,
    "value_hinders": value_hinders,
    "out_of_range": out_of_range,
    "collapsed": collapsed,
}


class Watch:
    """The rows that the detectors need, and the names of the detectors that have warned."""

    def __init__(self) -> None:
        self.first: list[dict[str, float]] = []
        self.recent: list[dict[str, float]] = []
        self.warned: list[str] = []

    def look(self, row: Mapping[str, float]) -> list[tuple[str, float]]:
        """Add the metrics of an update; return the new warnings as (detector, figure)."""
        figures = {name: float(row[name]) for name in WATCHED_METRICS if name in row}
        if len(self.first) < FEW:
            self.first.append(figures)
        else:
            self.recent = [*self.recent, figures][-MANY:]
        rows = self.first + self.recent
        warnings = []
        for name, detector in DETECTORS.items():
            if name not in self.warned and (value := detector(rows)) is not None:
                self.warned.append(name)
                warnings.append((name, value))
        return warnings

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"first": self.first, "recent": self.recent, "warned": self.warned}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore a state returned by `state`."""
        self.first, self.recent, self.warned = (list(saved[name]) for name in ("first", "recent", "warned"))


def warning_text(name: str, value: float, language: str = "en") -> str:
    """Return the warning's line: symptom, cause, remedy."""
    return Words(language)(f"watch.{name}", value=f"{value:.2g}")


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Pearson's correlation; 0 if x or y does not vary."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    sxx, syy = sum((a - mx) ** 2 for a in x), sum((b - my) ** 2 for b in y)
    return sxy / (sxx * syy) ** 0.5 if sxx > 0 and syy > 0 else 0.0
