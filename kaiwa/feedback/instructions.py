"""The instruction sheets that labellers read, in English and Japanese, each version named by its text.

While training data are labelled helpfulness comes first; in an evaluation truthfulness and harmlessness do (Ouyang et
al. 2022, 3.4). A judgement names the version that its labeller saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources

from kaiwa.core.errors import UserError

LANGUAGES = ("en", "ja")


def default_sheet(task: str, purpose: str) -> dict[str, str]:
    """Return the sheet of a task and purpose by language, as kaiwa has it."""
    name = {"demonstrate": "demonstrate", "arena": "arena"}.get(task, purpose)
    folder = resources.files("kaiwa.feedback").joinpath("sheets")
    return {one: folder.joinpath(f"{name}.{one}.md").read_text(encoding="utf-8") for one in LANGUAGES}


def sheet_version(name: str, texts: Mapping[str, str]) -> str:
    """Return the name of a sheet's version: a word, and eight digits of the digest of its texts."""
    digest = hashlib.sha256(json.dumps(dict(texts), sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return f"{name}-{digest[:8]}"


def check_sheet(texts: Mapping[str, str]) -> dict[str, str]:
    """Return a sheet's texts by language. UserError for an unknown language and for an empty text."""
    for language, text in texts.items():
        if language not in LANGUAGES:
            raise UserError(f"sheet: language {language!r} is not one of {', '.join(LANGUAGES)}", field="language")
        if not text.strip():
            raise UserError(f"sheet: the text for {language!r} is empty", field=language)
    if not texts:
        raise UserError("sheet: no text given; give one in English or Japanese")
    return dict(texts)


def sheet_text(texts: Mapping[str, str], language: str) -> str:
    """Return a sheet in a language, else in the first that it has."""
    return texts.get(language) or next(iter(texts.values()))
