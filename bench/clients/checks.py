"""What the Python scripts of this folder share: the server's address, and a check as a decorated function.

Imports nothing beyond the standard library, since it runs in each client's own environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore")
URL, MODEL, EMBEDDER = (os.environ.get(name, "") for name in ("KAIWA_URL", "KAIWA_MODEL", "KAIWA_EMBEDDER"))
KEY = "none"
HELLO = [{"role": "user", "content": "Name a colour."}]
LONG = [{"role": "user", "content": "word " * 100_000}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
}


def check(what: str) -> Callable[[Callable[[], Any]], None]:
    """Run the decorated function at once and print a row: it passes unless it raises, or returns something false."""

    def run(body: Callable[[], Any]) -> None:
        try:
            value = body()
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
            result = "passes" if value is None or value else f"unexpected: {value!r}"
        except Exception as error:
            result = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(json.dumps({"what": what, "result": result}), flush=True)

    return run


def refused(call: Callable[[], Any], kind: type[Exception], words: str) -> bool:
    """Whether a call raises this kind of exception with these words in it."""
    try:
        call()
    except kind as error:
        text = f"{error} {getattr(error, 'code', '')}"
        assert words in text, f"{text} does not say {words!r}"
        return True
    return False
