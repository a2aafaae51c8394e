"""The RLHF study as one HTML page in both languages: claims with their verdicts, arms, and four charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kaiwa.core.artifact import write_atomic
from kaiwa.report import figures
from kaiwa.report.curves import Series, plot
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.html import Child, join, tag
from kaiwa.report.page import page
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import LANGUAGES, Words

STATES = {"replicated": "met", "not replicated": "short", "cannot tell": "open"}
TAXED = ("sft", "ppo_beta_0", "ppo_beta_small", "ppo_beta_large", "ppo_ptx_small", "ppo_ptx_tuned", "rloo", "dpo")


def write_page(study: Mapping[str, Any], out: Path) -> Path:
    """Write study.html beside study.json; return the page's path."""
    bodies = {language: body(study, Words(language)) for language in LANGUAGES}
    write_atomic(out / "study.html", page(Words("en")("study.title"), bodies, "en"))
    return out / "study.html"


def body(study: Mapping[str, Any], words: Words) -> Markup:
    parts: list[Child] = [
        tag("h1", words("study.title")),
        tag("p", words("study.about", **study["about"]), class_="lead"),
    ]
    parts.append(tag("section", tag("h2", words("study.claims")), claims_table(study["claims"], words)))
    parts.append(
        tag(
            "section",
            tag("h2", words("study.arms")),
            tag("p", words("study.arms.about"), class_="small"),
            win_forest(study["arms"], words),
            arms_table(study["arms"], words),
            tag("h2", words("study.rates")),
            rates_table(study["arms"], words),
        )
    )
    parts.append(
        tag(
            "section",
            tag("h2", words("study.charts")),
            tag("div", *charts(study, words), class_="curves"),
            tax(study["arms"], words),
        )
    )
    return tag("div", *parts, class_="pieces")


def claims_table(claims: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    rows: list[list[Child]] = []
    for claim in claims:
        evidence = [f"{f['what']}: {interval(f)}" for f in claim["figures"]]
        state = tag("td", tag("b", words(f"study.{claim['verdict']}")), class_=STATES[claim["verdict"]])
        name = words(f"claim.{claim['name']}")
        rows.append([name, state, tag("td", join(evidence, "; ")), tag("td", claim["source"])])
    return table(
        [words("study.claim"), words("study.verdict"), words("study.figure"), words("study.source")],
        rows,
        class_="findings",
    )


def interval(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return figures.NONE
    ends = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['mean']:.3f}{ends}, n = {value['n']}"


def win_forest(arms: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    rows = [ForestRow(arm["name"], arm["gold_win_rate"]) for arm in arms if arm["name"] != "sft"]
    return forest(words("study.wins"), rows, words)


def arms_table(arms: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    heads = [words(f"study.{k}") for k in ("arm", "win", "proxy", "kl", "bits", "cloze", "length")]
    rows: list[list[Child]] = []
    for arm in arms:
        plain = [arm["proxy_reward"], arm["kl"], arm["bits_per_byte_delta"], arm["cloze_delta"]]
        row: list[Child] = [arm["name"], share_cell(arm["gold_win_rate"]), *(value_cell(_sign(x)) for x in plain)]
        rows.append([*row, value_cell(figures.number(arm["length"]))])
    return table(heads, rows)


def rates_table(arms: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    rates = ("helpful", "truthful", "harmless", "ended")
    rows: list[list[Child]] = [[arm["name"], *(share_cell(arm[k]) for k in rates)] for arm in arms]
    return table([words("study.arm"), *(words(f"study.{k}") for k in rates)], rows)


def tax(arms: Sequence[Mapping[str, Any]], words: Words) -> Markup:
    """Draw bits per byte against the base, PPO-ptx in another colour."""
    known = {arm["name"]: arm["bits_per_byte_delta"] for arm in arms}
    rows = [ForestRow(name, {"mean": known[name]}, int("ptx" in name)) for name in TAXED if name in known]
    most = max((abs(known[row.label] or 0.0) for row in rows), default=0.0) * 1.1 or 1.0
    drawn = forest(words("study.tax"), rows, words, neutral=0.0, low=-most, high=most, show=_sign)
    return join([drawn, tag("p", words("study.tax.about"), class_="small")])


def _sign(value: float | None) -> str:
    return figures.sign(value, 3)


def charts(study: Mapping[str, Any], words: Words) -> list[Markup]:
    curves = study["curves"]
    points_by_kl = sorted(curves["over_optimisation"], key=lambda p: float(p["root_kl"]))
    lines = [Series(words(f"study.{k}.line"), [(p["root_kl"], p[k]) for p in points_by_kl]) for k in ("proxy", "gold")]
    plots = [plot(words("study.over"), lines, words("study.over.about"), "√KL")]
    points = [(p["comparisons"], p["accuracy"]["mean"]) for p in curves["reward_by_comparisons"]]
    plots.append(plot(words("study.size"), [Series(words("study.validation"), points)], words("study.size.about")))
    for name in ("accuracy", "loss"):
        both = [
            Series(
                words(f"study.{kind}"),
                [(float(p["epoch"]), p[f"epoch_{kind}_{name}"]) for p in curves["reward_by_epoch"]],
            )
            for kind in ("training", "validation")
        ]
        plots.append(
            plot(words("study.epoch" if name == "accuracy" else "study.loss"), both, words("study.epoch.about"))
        )
    return plots
