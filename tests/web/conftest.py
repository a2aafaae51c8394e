"""The pages over a scripted engine, for tests without and with a browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from .fake import Fakes, app, fakes


@dataclass
class Site:
    client: TestClient
    fakes: Fakes
    runs: Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = fakes(tmp_path / "home", tmp_path / "runs")
    with TestClient(app(made.services), headers={"accept-language": "en"}) as client:
        yield Site(client, made, tmp_path / "runs")
