"""The words of reports: one dictionary file per language. The pages put their own words on top
(`kaiwa/web/words.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

from kaiwa.core.stages import STAGES

LANGUAGES = ("en", "ja")


@cache
def dictionary(package: str, language: str) -> Mapping[str, str]:
    text = resources.files(package).joinpath("words", f"{language}.json").read_text(encoding="utf-8")
    words: dict[str, str] = json.loads(text)
    return words


class Words:
    """`words("chat.send")` in one language; `{name}` in a text is filled in. A missing key shows as the key."""

    def __init__(self, language: str, *packages: str) -> None:
        self.language = language
        self.texts: dict[str, str] = {}
        for package in ("kaiwa.report", *packages):
            self.texts |= dictionary(package, language)
        self.texts |= {f"stage.{stage.name}": stage.text(language) for stage in STAGES}
        self.texts |= {f"model.{stage.name}": stage.model_text(language) for stage in STAGES if stage.is_model}

    def __call__(self, key: str, **values: object) -> str:
        text = self.texts.get(key, key)
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        return key in self.texts

    def first(self, *keys: str) -> str:
        """Return the text of the first key that exists, or ""."""
        return next((self.texts[key] for key in keys if key in self.texts), "")
