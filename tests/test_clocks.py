"""No test sets the clock of every thread: `tests/module_clock.py` replaces one module's."""

import re
from pathlib import Path

WHOLE_PROCESS = re.compile(r"""setattr\(\s*(["']time\.|[\w.]+\.time,\s*["'])(monotonic|time|perf_counter|sleep)\b""")


def test_a_patched_clock_is_one_modules() -> None:
    for line in ('patch.setattr("time.monotonic", f)', 'monkeypatch.setattr(module.time, "sleep", f)'):
        assert WHOLE_PROCESS.search(line), line
    folder = Path(__file__).parent
    assert [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.py"))
        if path != Path(__file__) and WHOLE_PROCESS.search(path.read_text())
    ] == []
