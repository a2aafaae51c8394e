"""The receipt: the build's minutes, energy and money beside the cost of GPT-3 and InstructGPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kaiwa.report import figures
from kaiwa.report.html import Child, join, tag
from kaiwa.report.table import table, value_cell
from kaiwa.report.words import Words


def receipt(value: Mapping[str, Any], comparisons: int | None, words: Words) -> Markup:
    """Draw the receipt. `comparisons`: pairs that the village's labellers ranked, if known."""
    ours = value.get("pretraining_petaflop_days")
    rows: list[list[Child]] = [
        [words("receipt.time"), value_cell(words("receipt.minutes", n=figures.number(value.get("minutes")))), ""],
        [words("receipt.energy"), value_cell(f"{figures.number(value.get('kwh'))} kWh"), ""],
        [words("receipt.money"), value_cell(f"${figures.number(value.get('dollars'))}"), ""],
        [
            words("receipt.pretraining"),
            value_cell(words("receipt.pfs", n=figures.number(ours))),
            value_cell(words("receipt.gpt3", n=figures.number(value.get("gpt3_petaflop_days")))),
        ],
        [
            words("receipt.tuning"),
            "",
            value_cell(
                words(
                    "receipt.instruct",
                    sft=figures.number(value.get("instructgpt_sft_petaflop_days")),
                    ppo=figures.number(value.get("instructgpt_ppo_ptx_petaflop_days")),
                )
            ),
        ],
        [
            words("receipt.labels"),
            value_cell(words("receipt.pairs", n=figures.number(comparisons)) if comparisons else figures.NONE),
            value_cell(words("receipt.people")),
        ],
    ]
    note = words(
        "receipt.note",
        watts=figures.number(value.get("assumed_watts")),
        price=figures.number(value.get("assumed_dollars_per_kwh")),
    )
    parts = [table(["", words("receipt.ours"), words("receipt.theirs")], rows), tag("p", note, class_="small")]
    gpt3 = value.get("gpt3_petaflop_days")
    if ours and gpt3:
        parts.insert(0, tag("p", words("receipt.ratio", ratio=_round(float(gpt3) / float(ours)))))
    return join(parts)


def _round(value: float) -> str:
    """Round to two leading digits: 123456789 -> '120,000,000'."""
    digits = max(0, len(f"{value:.0f}") - 2)
    return f"{round(value / 10**digits) * 10**digits:,.0f}"
