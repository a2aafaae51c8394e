"""A build of dialogues: its tables, and its findings as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.forest import ForestRow, forest
from kaiwa.report.html import Child, join, tag
from kaiwa.report.read import SavedBuild
from kaiwa.report.table import share_cell, table
from kaiwa.report.words import Words

BEST = "dialogue"
CHANCE = 1 / 12  # of the values of an attribute
TIMES = 2.0  # the aim: right answers at turn 3 over the rival's


def dialogue_tables(details: Mapping[str, Any], words: Words) -> Markup:
    """Draw accuracy at turn 3 with and without turn 1, by link and language, and win rates on dialogues."""
    models = list(details.get("models", ()))
    heads = ["", *(m["name"] for m in models)]
    rows: list[list[Child]] = []
    for key in ("turn3", "turn3_without_turn1"):
        rows.append([words(f"dialogue.{key}"), *(share_cell(m.get(key)) for m in models)])
    turn3 = models[0].get("turn3", {}) if models else {}
    for group, prefix in (("by_link", "link"), ("by_language", "language")):
        for value in turn3.get(group, {}):
            label = tag("span", words(f"{prefix}.{value}"), tag("small", words("dialogue.turn3")), class_="model-name")
            rows.append([label, *(share_cell(m.get("turn3", {}).get(group, {}).get(value)) for m in models)])
    rival = details["dialogues"]["rival"]
    wins = [
        ForestRow(f"{m['name']} · {words('mode.' + mode)}", m["against_rival"][mode]["decided"], i)
        for m in models
        if m["name"] != rival and m.get("against_rival")
        for i, mode in enumerate(("sampled", "greedy"))
    ]
    return join([
        table(heads, rows, caption=words("dialogue.caption")),
        forest(words("dialogue.wins", rival=rival), wins, words),
    ])  # fmt: skip


def dialogue_findings(build: SavedBuild, words: Words) -> list[tuple[str, str]]:
    """Return (state, sentence) of what a build of dialogues aims at; states as in `findings.BuildFinding`."""
    row = build.detail(BEST)
    rival = build.details["dialogues"]["rival"]
    theirs = build.detail(rival)
    turn3, without = row.get("turn3") or {}, row.get("turn3_without_turn1") or {}
    if not (figures.is_measured(turn3) and figures.is_measured(without)):
        return [("open", words("find.nothing"))]
    difference, times = row["turn3_difference"], row.get("turn3_times_rival")
    met = difference["low"] > 0 and (times is None or times >= TIMES)
    state = "met" if met else ("open" if difference["high"] > 0 else "short")
    values = {"ours": _text(turn3), "theirs": _text(theirs.get("turn3")), "rival": rival}
    results = [(state, words("find.turn3", **values))]
    near = without["low"] <= CHANCE
    results.append(("met" if near else "short", words("find.turn3_without", share=_text(without))))
    win = row["against_rival"]["sampled"]["decided"]
    if figures.is_measured(win):
        verdict = figures.against(win, 0.5)
        state = {"above": "met", "around": "open", "below": "short"}[verdict]
        results.append((state, words(f"find.rival_{verdict}", share=_text(win), rival=rival)))
    single = row["single_questions"]
    values = {"difference": _signed(single["helpful_difference"]), "margin": figures.percent(single["margin"])}
    results.append(("met" if single["held"] else "open", words("find.single", **values)))
    bits = row["bits_change"]
    values = {"change": figures.sign(bits["share"] * 100), "margin": figures.percent(bits["margin"])}
    results.append(("met" if bits["held"] else "short", words("find.bits", **values)))
    return results


def _text(interval: Mapping[str, Any] | None) -> str:
    if not figures.is_measured(interval):
        return figures.NONE
    assert interval is not None
    return f"{figures.percent(interval['mean'])} [{figures.limits(interval)}]"


def _signed(interval: Mapping[str, Any]) -> str:
    return f"{figures.sign(interval['mean'])} [{figures.sign(interval['low'])}, {figures.sign(interval['high'])}]"
