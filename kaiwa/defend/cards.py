"""How many harmless texts each defence refuses or changes, as measured: for `kaiwa defend list` and docs/defend.md.

`kaiwa defend rates` measures them on your own texts; tests/defend/test_cards.py measures those again that cost no
model. A defence that only rewrites requests refuses nothing by itself. Judges: SmolLM2-135M-Instruct, 4-bit, with the
threshold that the built-in everyday texts set.
"""

from __future__ import annotations

from collections.abc import Mapping

KINDS = ("instructions", "sound dangerous", "Japanese", "twins en", "twins ja")
REWRITES_ONLY = "refuses nothing"

# name -> kind -> (refused, texts); similarity and the canary filter at their defaults
FALSE_BLOCKS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "similarity": {
        "instructions": (0, 999),
        "sound dangerous": (0, 250),
        "Japanese": (0, 600),
        "twins en": (0, 10),
        "twins ja": (0, 10),
    },
    "detector": {"instructions": (2, 60), "sound dangerous": (2, 60), "Japanese": (0, 60)},
    "perplexity": {"instructions": (9, 60), "sound dangerous": (5, 60), "Japanese": (4, 60), "twins en": (4, 10)},
    "canary_filter": {"instructions": (0, 999), "Japanese": (0, 600)},
    "refusal_rewriter": {"instructions": (15, 999)},
}


def card(name: str) -> str:
    """Return one line on a defence's false blocks: "instructions 0 of 999, …"."""
    rates = FALSE_BLOCKS.get(name)
    if rates is None:
        return REWRITES_ONLY
    return ", ".join(f"{kind} {refused} of {n}" for kind, (refused, n) in rates.items())
