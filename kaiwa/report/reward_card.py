"""The reward model's card drawn: accuracy by labeller, calibration, scores, length, training against held-out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.curves import Series, plot
from kaiwa.report.html import Child, join, tag
from kaiwa.report.table import table, value_cell
from kaiwa.report.words import Words


def reward_figures(card: Mapping[str, Any], words: Words) -> Markup:
    """Draw all parts of a reward model's card; empty Markup for an empty card."""
    if not card:
        return Markup("")
    charts = [
        calibration(card["calibration"], words),
        histogram(card["histogram"], words),
        *epochs(card["epochs"], words),
    ]
    length = card["length"]
    correlations = {k: figures.sign(length[k]) for k in ("all", "within_prompt", "labellers")}
    note = tag("p", words("card.length", **correlations), class_="small")
    return join([labellers(card["labellers"], words), tag("div", *charts, class_="curves"), note])


def labellers(rows: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    heads = [words(f"card.{k}") for k in ("labeller", "accuracy", "ceiling", "pairs", "seen")]
    lines: list[list[Child]] = []
    for row in rows:
        cells = [figures.percent(row["accuracy"]), figures.percent(row["ceiling"]), figures.number(row["pairs"])]
        status = words("card.unseen" if row["held_out"] else "card.trained")
        lines.append([row["name"] or "–", *map(value_cell, cells), tag("td", status)])
    return table(heads, lines)


def calibration(bins: Sequence[Mapping[str, float]], words: Words) -> Markup:
    points = [(b["predicted"], b["observed"]) for b in bins]
    ideal = [(b["predicted"], b["predicted"]) for b in bins]
    series = [Series(words("card.observed"), points), Series(words("card.ideal"), ideal)]
    return plot(words("card.calibration"), series, words("card.calibration.about"), words("card.predicted"))


def histogram(value: Mapping[str, Sequence[float]], words: Words) -> Markup:
    """Draw the scores of the best and of the other completions, each as a share of its kind."""
    edges = value["edges"]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    series = []
    for name in ("best", "others"):
        total = sum(value[name]) or 1
        series.append(
            Series(words(f"card.{name}"), [(x, n / total) for x, n in zip(middles, value[name], strict=True)])
        )
    return plot(words("card.histogram"), series, words("card.histogram.about"), words("card.score"))


def epochs(rows: Sequence[Mapping[str, float]], words: Words) -> list[Markup]:
    if len(rows) < 2:
        return []
    plots = []
    for measure in ("accuracy", "loss"):
        series = [
            Series(words(f"card.{kind}"), [(float(i), row[f"epoch_{kind}_{measure}"]) for i, row in enumerate(rows, 1)])
            for kind in ("training", "validation")
        ]
        plots.append(plot(words(f"card.epochs.{measure}"), series, words("card.epochs.about"), words("card.epoch")))
    return plots
