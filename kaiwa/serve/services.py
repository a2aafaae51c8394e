"""What routes and pages are given: one place that knows the engine, the models, the builds and where things are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.engine.catalog import SMOLLM2, Entry, entries
from kaiwa.serve.engine_client import EngineClient
from kaiwa.serve.jobs import Jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`runs`: where builds are; `home`: KAIWA_HOME; `model`: what the pages open with."""

    runs: Path
    home: Path
    port: int = 7860
    model: str = SMOLLM2
    extra: Entry | None = None  # a model from outside, named on the command line
    api_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    settings: Settings
    engine: EngineClient
    jobs: Jobs

    def models(self) -> list[Entry]:
        """What /v1/models lists (reads folders: call it in a thread)."""
        extra = [self.settings.extra] if self.settings.extra is not None else []
        return extra + entries(self.settings.runs, self.settings.home)
