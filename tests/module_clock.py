"""A clock of the test's own for one module.

Patching `monotonic` in the module `time` itself sets every clock of every thread: the event loop of a server that runs
beside the test then computes a pause of hours and never wakes up. So only the module's name `time` is replaced.
"""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


def replace_clock(patch: pytest.MonkeyPatch, module: ModuleType, seconds: Callable[[], float]) -> None:
    """Let the module read its seconds from the function, as both monotonic and calendar time. It never sleeps."""
    stand_in = SimpleNamespace(monotonic=seconds, time=seconds, sleep=lambda _: None)
    patch.setattr(module, "time", stand_in)
