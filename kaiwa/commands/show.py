"""kaiwa show: manifest, parents and metrics of an artifact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.artifact import open_artifact


@dataclass(kw_only=True)
class Options:
    """Print an artifact's manifest, parents and metrics."""

    artifact: Positional[Annotated[Path, arg(metavar="FOLDER")]]  # a folder that a stage published


def main(words: list[str]) -> None:
    """Print the artifact."""
    artifact = open_artifact(read_options(Options, "kaiwa show", words).artifact)
    manifest = artifact.manifest
    print(f"{artifact.path}: {artifact.kind}, {manifest['seconds']} s, hash {artifact.hash[:16]}")
    for name, parent in manifest["parents"].items():
        print(f"  from {name}: {parent['path']} ({parent['hash'][:16]})")
    print("config\n" + json.dumps(manifest["config"], indent=1, ensure_ascii=False))
    print("metrics\n" + json.dumps(manifest["metrics"], indent=1, ensure_ascii=False))
