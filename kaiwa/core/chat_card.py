"""chat.json in a model's folder: a description of the model's knowledge, and prompts to start a chat with.

{"languages": ["en"], "about": {"en": "…", "ja": "…"}, "starters": {"en": ["…"], "ja": ["…"]}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "chat.json"


def write_chat_card(folder: Path, card: Mapping[str, Any] | None) -> None:
    if card is not None:
        text = json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
