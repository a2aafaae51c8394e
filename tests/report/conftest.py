"""A synthetic run folder."""

from pathlib import Path

import pytest

from .run_folder import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "laptop")
