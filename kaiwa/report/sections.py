"""The parts that a build's report and the Build page share: stages, models, rates, curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kaiwa.core.stages import stage_named
from kaiwa.report import figures
from kaiwa.report.curves import Series, plot, points_of
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.html import Child, join, tag
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import Words

FAMILIES: tuple[tuple[str, ...], ...] = (  # metrics drawn in one plot; a trailing * takes all that begin so
    ("loss", "held_out_loss"), ("bits_per_byte_*",), ("cloze_accuracy",), ("accuracy", "held_out_accuracy"),
    ("score", "reward"), ("kl", "kl_k3"), ("ended",), ("length",), ("entropy",), ("ptx_loss", "pretrain_loss"),
    ("explained_variance",), ("clipped",), ("tokens_per_second",),
)  # fmt: skip
HIDDEN = {"step", "time", "warning_value"}


def stage_table(stages: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    """Draw each stage with its results and duration."""
    rows: list[list[Child]] = []
    for stage in stages:
        name = stage["name"]
        what = tag("td", words.first(f"stage.{name}") or name)
        rows.append(
            [name, what, value_cell(figures.clock(stage.get("seconds"))), _stage_figures(name, stage["metrics"], words)]
        )
    return table([words("stages.stage"), words("stages.what"), words("stages.time"), words("stages.did")], rows)


def _stage_figures(name: str, metrics: Mapping[str, Any], words: Words) -> Markup:
    spans = []
    stage = stage_named(name)
    for key in stage.figures if stage else tuple(metrics)[:3]:
        value = metrics.get(key)
        if isinstance(value, Mapping):
            value = sum(v for v in value.values() if isinstance(v, int | float))
        if isinstance(value, int | float):
            text = figures.number(value)
            spans.append(tag("span", tag("small", words.first(f"metric.{key}.name") or key), " ", text, class_="told"))
    return tag("td", *spans, class_="figures")


def model_table(
    models: Sequence[Mapping[str, Any]], words: Words, link: Callable[[str], Child] | None = None
) -> Markup:
    """Draw the table of models against all measured figures; `link` adds a last column, such as "chat with it"."""
    heads: list[Child] = [words("models.model"), words("models.win")]
    heads += [words(f"axis.{axis}") for axis in ("helpful", "truthful", "harmless")]
    heads += [words("models.ended"), words("models.tokens"), words("models.kl"), words("models.bits")]
    if link is not None:
        heads.append("")
    rows: list[list[Child]] = []
    for m in models:
        name = tag("span", m["name"], tag("small", words.first(f"model.{m['name']}")), class_="model-name")
        row: list[Child] = [name, share_cell(m.get("win_rate_vs_sft"))]
        row += [share_cell(m.get(axis)) for axis in ("helpful", "truthful", "harmless")]
        row.append(value_cell(figures.percent(m.get("ended"))))
        row.append(value_cell(figures.number(m.get("mean_tokens"))))
        row.append(value_cell(figures.sign(m.get("kl_to_sft"))))
        bits = m.get("bits_per_byte")
        row.append(value_cell(figures.NONE if bits is None else f"{bits:.3f}"))
        if link is not None:
            row.append(link(m["name"]))
        rows.append(row)
    return table(heads, rows, caption=words("models.caption"))


def win_forests(details: Mapping[str, Any], words: Words) -> Markup:
    """Draw win rates sampled and greedy, over decided and over all pairs, and differences of utility."""
    models = [m for m in details.get("models", ()) if m.get("name") != "sft"]
    parts = []
    for pairs in ("decided", "all"):
        rows = [
            ForestRow(f"{m['name']} · {words('mode.' + mode)}", m.get("against_sft", {}).get(mode, {}).get(pairs), i)
            for m in models
            for i, mode in enumerate(("sampled", "greedy"))
        ]
        parts.append(forest(words(f"forest.win_{pairs}"), rows, words))
    rows = [
        ForestRow(
            f"{m['name']} · {words('mode.' + mode)}",
            m.get("against_sft", {}).get(mode, {}).get("utility_difference"),
            i,
        )
        for m in models
        for i, mode in enumerate(("sampled", "greedy"))
    ]
    ends = [abs(r.interval[k]) for r in rows if r.interval for k in ("mean", "low", "high") if r.interval.get(k)]
    most = max(ends, default=1.0) * 1.05
    parts.append(forest(words("forest.utility"), rows, words, neutral=0.0, low=-most, high=most, show=figures.sign))
    return join(parts)


def rate_tables(details: Mapping[str, Any], words: Words) -> Markup:
    """Draw the rates that the village was made to measure, sampled and greedy, for every model."""
    models = list(details.get("models", ()))
    names = (
        "known_held_out_right", "known_taught_right", "unknown_said_where_known", "invented_about_unknown",
        "harmful_refused", "harmless_refused", "in_form", "padded",
    )  # fmt: skip
    parts = []
    for mode in ("sampled", "greedy"):
        rows: list[list[Child]] = []
        for name in names:
            label = tag("span", words(f"rate.{name}"), tag("small", words(f"rate.{name}.better")), class_="model-name")
            rows.append([label, *(share_cell(m.get("rates", {}).get(mode, {}).get(name)) for m in models)])
        parts.append(table(["", *(m["name"] for m in models)], rows, caption=words(f"rates.{mode}")))
    return join(parts)


def reward_card(card: Mapping[str, Any], words: Words) -> Markup:
    """Draw the reward model's accuracy beside the ceiling that the labellers' noise allows."""
    rows: list[list[Child]] = []
    for group in ("held_out", "held_out_labellers"):
        row = card.get(group, {})
        cells = [figures.percent(row.get(k)) for k in ("accuracy", "ceiling", "share_of_ceiling")]
        rows.append([words(f"reward.{group}"), *map(value_cell, cells), value_cell(figures.number(row.get("pairs")))])
    heads = ["", *(words(f"reward.{k}") for k in ("accuracy", "ceiling", "share", "pairs"))]
    return join([table(heads, rows), tag("p", words("reward.note"), class_="small")])


def stage_curves(rows: Sequence[Mapping[str, Any]], words: Words, most: int = 0) -> Markup:
    """Draw every curve of a stage's log with one line of explanation; `most` keeps the first few families only.

    A metric that was measured once becomes a figure below the curves instead of a curve; a row's figure on one source
    too.
    """
    single_values = [
        (key, row["source"], row[key]) for row in rows if "source" in row for key in row if _is_curve(key, row[key])
    ]
    warning_rows = [row for row in rows if "warning" in row]
    rows = [row for row in rows if "source" not in row and "warning" not in row]
    metrics = list(dict.fromkeys(key for row in rows for key, value in row.items() if _is_curve(key, value)))
    plots = []
    drawn_metrics: set[str] = set()
    families: Iterable[tuple[str, ...]] = (*FAMILIES, *((metric,) for metric in metrics))
    for family in families:
        chosen = [m for m in metrics if m not in drawn_metrics and any(_matches(m, pattern) for pattern in family)]
        drawn_metrics.update(chosen)
        series = [Series(_series_label(m, family), points_of(rows, m)) for m in chosen]
        if any(len(s.points) > 1 for s in series):
            title, about = explain(chosen[0], words)
            plots.append(plot(title, [s for s in series if len(s.points) > 1], about, words("curve.step")))
        single_values += [(m, "", s.points[0][1]) for m, s in zip(chosen, series, strict=True) if len(s.points) == 1]
    curves = join([warnings(warning_rows, words), tag("div", *(plots[:most] if most else plots), class_="curves")])
    return join([curves, _single_values(single_values, words)]) if single_values else curves


def _single_values(measured: Sequence[tuple[str, str, Any]], words: Words) -> Markup:
    """Draw figures that were measured once: (metric, the metric's source or "", value)."""
    spans = []
    for metric, source, value in measured:
        name, about = explain(metric, words)
        label = f"{name} ({source})" if source else name
        text = figures.number(int(value) if float(value).is_integer() else value)
        spans.append(tag("span", tag("small", label), " ", text, class_="told", title=about or None))
    return tag("p", *spans, class_="figures once")


def explain(metric: str, words: Words) -> tuple[str, str]:
    """Return a metric's name and one line on the metric's meaning; `bits_per_byte_docs` falls back to
    `bits_per_byte`.
    """
    stem = metric
    while stem:
        if words.has(f"metric.{stem}"):
            return words.first(f"metric.{stem}.name") or stem, words(f"metric.{stem}")
        stem = stem.rpartition("_")[0]
    return metric, ""


def _is_curve(key: str, value: Any) -> bool:
    return key not in HIDDEN and isinstance(value, int | float) and not isinstance(value, bool)


def _matches(metric: str, pattern: str) -> bool:
    return metric.startswith(pattern[:-1]) if pattern.endswith("*") else metric == pattern


def _series_label(metric: str, family: tuple[str, ...]) -> str:
    """Return a metric's label within its family: `bits_per_byte_docs` in the family `bits_per_byte_*` is "docs"."""
    for pattern in family:
        if pattern.endswith("*") and metric.startswith(pattern[:-1]):
            return metric.removeprefix(pattern[:-1])
    return metric


def warnings(rows: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    """List the warnings of a run, {"step", "warning", "warning_value"}, one line each."""
    lines = [
        tag(
            "li",
            tag("small", f"{words('curve.step')} {row['step'] + 1}: "),
            words(f"watch.{row['warning']}", value=f"{row.get('warning_value') or 0:.2g}"),
        )
        for row in rows
    ]
    return tag("ul", *lines, class_="warn", aria_label=words("watch.title")) if lines else Markup("")
