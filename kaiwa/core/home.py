"""The folders of stored state: KAIWA_HOME (models, chats, caches), and runs/ in the working directory (builds)."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """Return KAIWA_HOME, or the platform's folder for application data, without creating the folder."""
    if chosen := os.environ.get("KAIWA_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "kaiwa"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kaiwa"


def runs() -> Path:
    """Return the folder that `kaiwa build` publishes to, relative to the working directory."""
    return Path("runs")
