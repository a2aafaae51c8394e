"""Regular expressions with a time limit: a user's pattern may take longer than the universe on some text."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from types import FrameType

from kaiwa.core.errors import UserError

REGEX_SECONDS = 2.0
SCRIPT = "import json,re,sys; p,t=json.load(sys.stdin); print(bool(re.search(p,t)))"


def search_safely(pattern: str, text: str) -> bool:
    """Return whether re.search finds `pattern` in `text`.

    UserError for a bad pattern and after REGEX_SECONDS.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"regex {pattern!r}: {error}") from None
    slow = UserError(f"regex {pattern[:60]!r} took more than {REGEX_SECONDS:g} s; make it simpler")
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        try:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT],
                input=json.dumps([pattern, text]),
                capture_output=True,
                text=True,
                timeout=REGEX_SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise slow from None
        return done.stdout.strip() == "True"

    def stop(number: int, frame: FrameType | None) -> None:
        raise slow

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, REGEX_SECONDS)
    try:
        return compiled.search(text) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
