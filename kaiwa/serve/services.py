"""What routes and pages are given: one place that knows the engine, the models, the builds and where things are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.serve.engine_client import EngineClient
from kaiwa.serve.jobs import Jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`runs`: where builds are; `home`: KAIWA_HOME; `model`: what the pages open with."""

    runs: Path
    home: Path
    port: int = 7860
    model: str = "smollm2-135m-instruct"
    api_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    settings: Settings
    engine: EngineClient
    jobs: Jobs
