"""One village for the tests that only read it."""

import pytest

from kaiwa.world.village import Village, VillageConfig, build_village


@pytest.fixture(scope="session")
def village() -> Village:
    return build_village(VillageConfig(languages=("en", "ja")))
