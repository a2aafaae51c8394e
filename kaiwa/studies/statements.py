"""Statements of the lecture, each held, not held, or undecided on a model: the records and both studies' page.

A statement says that B is better than A (gain), that a difference does not matter (same), or that a share lies below or
above a limit. It held if the interval or the verdict says so, did not hold if it says the contrary, and else cannot be
told with this n.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.report.html import Child, tag
from kaiwa.report.page import page
from kaiwa.report.table import table
from kaiwa.stats.comparison import PairedComparison
from kaiwa.stats.intervals import Interval

HELD, DID_NOT, CANNOT_TELL = "held", "did not hold", "cannot tell"
WORDS = {
    "en": {
        HELD: "held", DID_NOT: "did not hold", CANNOT_TELL: "cannot tell (n = {n})",
        "heads": ("statement", "asked in", "result", "figure"),
        "about": "Each statement of the lecture, tested on the same items under both prompts or under every defence. "
        "“Cannot tell” is no result: with n items the interval holds both answers.",
        "count": "{held} held, {did_not} did not hold, {cannot} cannot be told.",
    },
    "ja": {
        HELD: "成り立った", DID_NOT: "成り立たなかった", CANNOT_TELL: "判定できない (n = {n})",
        "heads": ("主張", "言語", "結果", "値"),
        "about": "講義の主張を一つずつ、同じ問題に対する二つのプロンプト、または各防御のもとで確かめました。"
        "「判定できない」は結果ではありません。n 件では、区間がどちらの答えも含みます。",
        "count": "成り立った {held}、成り立たなかった {did_not}、判定できない {cannot}。",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementResult:
    """One statement on one model. language: of the prompts. figure: the difference or share with its interval."""

    model: str
    language: str
    text: str
    text_ja: str
    outcome: str
    figure: str
    n: int

    def result(self, language: str) -> str:
        return str(WORDS[language][self.outcome]).format(n=self.n)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("model", "language", "text", "outcome", "figure", "n")}


def by_comparison(comparison: PairedComparison, kind: str) -> str:
    """Return whether "B is better" (gain) or "no difference that matters" (same) held."""
    right, wrong = {"gain": (("better",), ("worse", "same")), "same": (("same",), ("better", "worse"))}[kind]
    if comparison.verdict in right:
        return HELD
    return DID_NOT if comparison.verdict in wrong else CANNOT_TELL


def by_share(share: Interval, kind: str, limit: float) -> str:
    """Return whether a share lies "below" or "above" a limit, with its whole interval."""
    if share.n == 0:
        return CANNOT_TELL
    below, above = share.high <= limit, share.low >= limit
    agrees, contrary = (below, share.low > limit) if kind == "below" else (above, share.high < limit)
    return HELD if agrees else DID_NOT if contrary else CANNOT_TELL


def points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.0f} [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"


def percent(share: Interval) -> str:
    return f"{100 * share.mean:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def count_line(results: Sequence[StatementResult], language: str = "en") -> str:
    counts = {outcome: sum(r.outcome == outcome for r in results) for outcome in (HELD, DID_NOT, CANNOT_TELL)}
    return str(WORDS[language]["count"]).format(held=counts[HELD], did_not=counts[DID_NOT], cannot=counts[CANNOT_TELL])


def rows_of(results: Sequence[StatementResult], language: str) -> list[list[str]]:
    return [[r.text_ja if language == "ja" else r.text, r.language, r.result(language), r.figure] for r in results]


def write_page(results: Sequence[StatementResult], titles: dict[str, str], out: Path) -> Path:
    """Write statements.html (English and Japanese), statements.md and statements.json; return the HTML's path."""
    out.mkdir(parents=True, exist_ok=True)
    models = list(dict.fromkeys(r.model for r in results))
    bodies: dict[str, Child] = {}
    for language, words in WORDS.items():
        parts: list[Child] = [tag("h1", titles[language]), tag("p", str(words["about"]), class_="lead")]
        for model in models:
            own = [r for r in results if r.model == model]
            drawn = table(words["heads"], rows_of(own, language))
            parts.append(tag("section", tag("h2", model), tag("p", count_line(own, language)), drawn))
        bodies[language] = tag("div", *parts, class_="pieces")
    write_atomic(out / "statements.html", page(titles["en"], bodies, "en"))
    write_atomic(out / "statements.json", json.dumps([r.to_json() for r in results], ensure_ascii=False, indent=1))
    for suffix, language in (("", "en"), (".ja", "ja")):
        lines = [f"# {titles[language]}", "", str(WORDS[language]["about"])]
        for model in models:
            own = [r for r in results if r.model == model]
            heads = WORDS[language]["heads"]
            lines += ["", f"## {model}", "", count_line(own, language), "", "| " + " | ".join(heads) + " |"]
            lines += ["|" + "---|" * len(heads), *("| " + " | ".join(row) + " |" for row in rows_of(own, language))]
        write_atomic(out / f"statements{suffix}.md", "\n".join(lines) + "\n")
    return out / "statements.html"
