"""One whole chain on the smallest configuration, built once and shared by the contract's tests."""

from pathlib import Path

import pytest
import torch

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from tests.contract.smallest import RECIPE, STAGES


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Every stage's artifact by name; the logs lie beside them."""
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("chain")
    ctx = Context(seed=1, logs=folder / "logs")
    made: dict[str, Artifact] = {}
    for name, run in STAGES.items():
        made[name] = run(ctx, folder / name, made, RECIPE)
    return made
