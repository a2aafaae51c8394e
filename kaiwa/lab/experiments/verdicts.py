"""A comparison in words, English and Japanese."""

from __future__ import annotations

import math
from typing import Any

from kaiwa.stats.comparison import PairedComparison

WORDS = {
    "en": {
        "better": "better by {d} points",
        "worse": "worse by {d} points",
        "same": "no difference within {m} points",
        "unknown": "cannot tell, need n = {n}",
        "nothing": "cannot tell: nothing to compare",
        "unjudged": "cannot tell: the judge is not shown to be better than a coin",
        "failed": "cannot tell: {f} items failed",
        "few": "cannot tell: {k} clusters, at least {c} are needed",
    },
    "ja": {
        "better": "{d} ポイント良い",
        "worse": "{d} ポイント悪い",
        "same": "差は {m} ポイント以内(同等)",
        "unknown": "判定できない(必要な件数 n = {n})",
        "nothing": "判定できない(比べる対象がない)",
        "unjudged": "判定できない(審判が偶然より正しいと示されていない)",
        "failed": "判定できない({f} 件が失敗)",
        "few": "判定できない(クラスタが {k} 個。{c} 個以上必要)",
    },
}


def verdict_text(comparison: PairedComparison, language: str = "en") -> str:
    """Return a verdict in words: "better by 12.0 points", "cannot tell, need n = 320", …"""
    words = WORDS[language]
    if comparison.n == 0 or (comparison.verdict == "unknown" and comparison.n_needed is None):
        return words["nothing"]
    return words[comparison.verdict].format(
        d=f"{abs(comparison.difference.mean) * 100:.1f}",
        m=f"{comparison.margin * 100:g}",
        f=comparison.n_failed,
        k=comparison.n_clusters,
        c=comparison.clusters_needed,
        n="?" if comparison.n_needed is None else f"{comparison.n_needed:,}",
    )


def comparison_json(comparison: PairedComparison, unmatched: list[str]) -> dict[str, Any]:
    """Return the output of `kaiwa lab compare --json`; numbers that do not exist are null."""
    d = comparison.difference
    return {
        "n": comparison.n,
        "mean_a": _finite(comparison.mean_a),
        "mean_b": _finite(comparison.mean_b),
        "difference": _finite(d.mean),
        "low": _finite(d.low),
        "high": _finite(d.high),
        "lost": comparison.lost,
        "won": comparison.won,
        "mcnemar_p": comparison.mcnemar_p,
        "n_needed": comparison.n_needed,
        "verdict": verdict_text(comparison),
        "unmatched": unmatched,
        "failed": comparison.n_failed,
    }


def points_text(value: float) -> str:
    """Format a share as points with a sign: 0.123 -> '+12.3'; '–' for values that are not finite."""
    return "–" if not math.isfinite(value) else f"{value * 100:+.1f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
