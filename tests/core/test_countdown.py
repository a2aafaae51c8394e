"""Lines about long work: bytes done, bytes in all, and the time left by the speed so far."""

import pytest

from kaiwa.core import countdown
from tests.module_clock import replace_clock


def test_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    replace_clock(monkeypatch, countdown, lambda: clock[0])
    lines: list[str] = []
    work = countdown.Countdown("reading model.gguf", 8_000_000_000, lines.append)
    for seconds in range(1, 9):  # a gigabyte a second
        clock[0] = 100.0 + seconds
        work.add(1_000_000_000)
    assert lines == ["reading model.gguf: 5.0 GB of 8.0 GB, 3 s left"]


def test_minutes_and_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    replace_clock(monkeypatch, countdown, lambda: clock[0])
    lines: list[str] = []
    work = countdown.Countdown("packing", 100_000_000, lines.append)
    clock[0] = 20.0
    work.add(10_000_000)
    assert lines == ["packing: 10 MB of 100 MB, 3 min left"]


def test_short_work_is_silent() -> None:
    lines: list[str] = []
    work = countdown.Countdown("reading", 100, lines.append)
    for _ in range(10):
        work.add(10)
    assert not lines
