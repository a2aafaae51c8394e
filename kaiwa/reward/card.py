"""The card of a reward model: figures of its scores on held-out comparisons, to judge whether training succeeded.

accuracy      share of decided pairs ordered correctly, by labeller, with the ceiling set by the labeller's noise
calibration   predicted P(better) = sigmoid(score difference) and observed frequency, in bins of equally many pairs
histogram     scores of the best-ranked completions and of the others
length        correlation of score and length, overall and within a prompt, and of the labellers' ranks and length
epochs        accuracy on training and held-out prompts after each epoch; a growing gap means over-fitting
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kaiwa.reward.comparisons import Ranked
from kaiwa.reward.loss import pairs

BINS, CALIBRATION_BINS = 24, 8


def card(
    items: Sequence[Ranked],
    scores: Sequence[Sequence[float]],
    held_out: Sequence[str],
    epochs: Sequence[Mapping[str, float]],
    gold: Mapping[int, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Return the card of held-out comparisons as plain numbers.

    items: comparisons not used in training. scores: one list per item, a score per completion. held_out: labellers not
    used in training. gold: noise-free utilities of the completions by record number, if known.
    """
    if not items:
        return {}
    flat = np.array([s for row in scores for s in row])
    low, high = np.quantile(flat, [0.01, 0.99])
    return {
        "labellers": by_labeller(items, scores, held_out, gold),
        "calibration": calibration(items, scores),
        "histogram": histogram(items, scores),
        "length": length_correlation(items, scores),
        "scores": {
            "mean": float(flat.mean()),
            "std": float(flat.std()),
            "low": float(low),
            "high": float(high),
            "n": len(flat),
        },
        "epochs": [dict(row) for row in epochs],
    }


def by_labeller(
    items: Sequence[Ranked],
    scores: Sequence[Sequence[float]],
    held_out: Sequence[str],
    gold: Mapping[int, Sequence[float]] | None,
) -> list[dict[str, Any]]:
    """Return one row per labeller: accuracy, number of pairs, whether held out, and the ceiling.

    The ceiling is the share of the labeller's pairs that a judge without noise orders as the labeller did (one half
    for pairs of equal utility).
    """
    rows = []
    for name in sorted({item.labeller for item in items}):
        right = best = n = 0.0
        for item, item_scores in zip(items, scores, strict=True):
            if item.labeller != name:
                continue
            for i, j in pairs(item.ranks):
                n += 1
                right += item_scores[i] > item_scores[j]
                if gold is not None:
                    d = gold[item.number][i] - gold[item.number][j]
                    best += 0.5 if d == 0 else d > 0
        ceiling = best / n if gold is not None and n else None
        rows.append(
            {"name": name, "held_out": name in held_out, "accuracy": right / n, "pairs": int(n), "ceiling": ceiling}
        )
    return rows


def calibration(items: Sequence[Ranked], scores: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """Return predicted and observed share of pairs whose better completion has the higher score, in bins of margin."""
    observations = []
    for item, row in zip(items, scores, strict=True):
        for i, j in pairs(item.ranks):
            margin = row[i] - row[j]
            observations.append((1 / (1 + math.exp(-abs(margin))), 1.0 if margin > 0 else 0.5 if margin == 0 else 0.0))
    observations.sort()
    bins = []
    for part in np.array_split(np.array(observations), min(CALIBRATION_BINS, len(observations))):
        predicted, observed = part.mean(axis=0)
        bins.append({"predicted": float(predicted), "observed": float(observed), "n": len(part)})
    return bins


def histogram(items: Sequence[Ranked], scores: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return edges [BINS + 1] and counts [BINS] of the best-ranked completions and of the others."""
    split: tuple[list[float], list[float]] = ([], [])
    for item, row in zip(items, scores, strict=True):
        for rank, score in zip(item.ranks, row, strict=True):
            split[rank != min(item.ranks)].append(score)
    edges = np.histogram_bin_edges(np.array(split[0] + split[1]), bins=BINS)
    counts = [np.histogram(np.array(part), bins=edges)[0].tolist() for part in split]
    return {"edges": edges.tolist(), "best": counts[0], "others": counts[1]}


def length_correlation(items: Sequence[Ranked], scores: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """Return Pearson's correlations of the number of tokens with the score and with the labellers' ranks.

    "all": with the score over all completions; "within_prompt": with the score, both centred on the prompt's mean;
    "labellers": with the ranks within a prompt (the best rank counts as the highest value).
    """
    lengths = [[float(len(c)) for c in item.row.completions] for item in items]
    places = [[-float(rank) for rank in item.ranks] for item in items]
    return {
        "all": _correlation(_flat(lengths), _flat(scores)),
        "within_prompt": _correlation(_centred(lengths), _centred(scores)),
        "labellers": _correlation(_centred(lengths), _centred(places)),
    }


def _flat(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([value for row in rows for value in row])


def _centred(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([value - sum(row) / len(row) for row in rows for value in row])


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return Pearson's correlation, None if x or y does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else None
