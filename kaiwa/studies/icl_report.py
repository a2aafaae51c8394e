"""The in-context learning study as text, Markdown and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kaiwa.report.curves import Series, plot
from kaiwa.report.html import Child, tag
from kaiwa.report.page import page
from kaiwa.report.table import table
from kaiwa.studies.icl import KS, ModelCurve, steeper

WORDS = {
    "en": {
        "title": "In-context learning by size",
        "about": "Share of right answers and loss against the number of demonstrations k. Slope: what each doubling of"
        " (k + 1) adds, with its 95 % interval over items; last column: the slope less that of the model above it, on"
        " the same items.",
        "heads": ("model", "weights", "n", *(f"k = {k}" for k in KS), "slope", "slope of the loss", "steeper by"),
        "right": "right answers",
        "loss": "loss, nats",
        "failed": "{n} items failed",
    },
    "ja": {
        "title": "文脈内学習とモデルの大きさ",
        "about": "例示の数 k に対する正答率と損失。傾きは (k + 1) が 2 倍になるごとの増加で、"
        "95 % 区間は問題についてのもの。"
        "最後の列は、一つ上のモデルとの傾きの差(同じ問題)。",
        "heads": ("モデル", "重みの数", "n", *(f"k = {k}" for k in KS), "傾き", "損失の傾き", "傾きの差"),
        "right": "正答率",
        "loss": "損失(nat)",
        "failed": "{n} 問が失敗",
    },
}


def cells(curves: Sequence[ModelCurve]) -> list[list[str]]:
    """Return one table row per model, from small to large; the last column compares with the model above."""
    rows = []
    for i, m in enumerate(curves):
        gain = ""
        if i:
            d = steeper(curves[i - 1], m)
            gain = f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        accuracy = [f"{m.accuracy[k].mean:.0%}" for k in KS]
        slopes = [f"{s.mean:+.3f} [{s.low:+.3f}, {s.high:+.3f}]" for s in (m.slope, m.loss_slope)]
        rows.append([m.model, f"{m.parameters:,}", str(m.n), *accuracy, *slopes, gain])
    return rows


def write_icl_report(curves: Sequence[ModelCurve], out: Path) -> Path:
    """Write icl.html and icl.md; return the HTML's path."""
    tasks = list(dict.fromkeys(m.task for m in curves))
    bodies: dict[str, Child] = {}
    for language, words in WORDS.items():
        parts: list[Child] = [tag("h1", str(words["title"])), tag("p", str(words["about"]), class_="lead")]
        for task in tasks:
            task_curves = [m for m in curves if m.task == task]
            right = [Series(m.model, [(float(k), m.accuracy[k].mean) for k in KS]) for m in task_curves]
            loss = [Series(m.model, [(float(k), m.loss[k].mean) for k in KS]) for m in task_curves]
            plots = (plot(str(words["right"]), right, x_label="k"), plot(str(words["loss"]), loss, x_label="k"))
            parts.append(tag("section", tag("h2", task), table(words["heads"], cells(task_curves)), *plots))
        bodies[language] = tag("div", *parts, class_="pieces")
    (out / "icl.html").write_text(page(str(WORDS["en"]["title"]), bodies, "en"), encoding="utf-8")
    (out / "icl.md").write_text(markdown(curves, tasks), encoding="utf-8")
    return out / "icl.html"


def markdown(curves: Sequence[ModelCurve], tasks: Sequence[str]) -> str:
    words = WORDS["en"]
    lines = [f"# {words['title']}", "", str(words["about"])]
    for task in tasks:
        task_curves = [m for m in curves if m.task == task]
        heads = list(words["heads"])
        lines += ["", f"## {task}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join(row) + " |" for row in cells(task_curves)]
        failed = [f"{m.model}: " + str(words["failed"]).format(n=m.failed) for m in task_curves if m.failed]
        lines += ["", "; ".join(failed)] if failed else []
    return "\n".join(lines) + "\n"
