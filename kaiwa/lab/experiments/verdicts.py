"""A comparison in words, English and Japanese."""

from __future__ import annotations

import math
from typing import Any

from kaiwa.stats.comparison import Comparison

WORDS = {
    "en": {
        "better": "better by {d} points",
        "worse": "worse by {d} points",
        "same": "no difference within {m} points",
        "unknown": "cannot tell, need n = {n}",
        "nothing": "cannot tell: nothing to compare",
        "unjudged": "cannot tell: the judge is not shown to be better than a coin",
    },
    "ja": {
        "better": "{d} ポイント良い",
        "worse": "{d} ポイント悪い",
        "same": "差は {m} ポイント以内(同等)",
        "unknown": "判定できない(必要な件数 n = {n})",
        "nothing": "判定できない(比べる対象がない)",
        "unjudged": "判定できない(審判が偶然より正しいと示されていない)",
    },
}


def verdict(found: Comparison, language: str = "en") -> str:
    """ "better by 12.0 points", "cannot tell, need n = 320", …"""
    words = WORDS[language]
    if found.n == 0 or (found.verdict == "unknown" and found.n_needed is None):
        return words["nothing"]
    return words[found.verdict].format(
        d=f"{abs(found.difference.mean) * 100:.1f}",
        m=f"{found.margin * 100:g}",
        n="?" if found.n_needed is None else f"{found.n_needed:,}",
    )


def comparison_json(found: Comparison, unmatched: list[str]) -> dict[str, Any]:
    """What `kaiwa lab compare --json` prints; numbers that do not exist are null."""
    d = found.difference
    return {
        "n": found.n,
        "mean_a": _finite(found.mean_a),
        "mean_b": _finite(found.mean_b),
        "difference": _finite(d.mean),
        "low": _finite(d.low),
        "high": _finite(d.high),
        "lost": found.lost,
        "won": found.won,
        "mcnemar_p": found.mcnemar_p,
        "n_needed": found.n_needed,
        "verdict": verdict(found),
        "unmatched": unmatched,
    }


def points(value: float) -> str:
    """0.123 -> '+12.3'"""
    return "–" if not math.isfinite(value) else f"{value * 100:+.1f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
