"""The words of the pages: one dictionary file a language, and which language a request gets.

`{"chat.send": "Send"}`; `{name}` in a text is filled in. A missing key is an error in tests and shows as the key itself.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from fastapi import Request

LANGUAGES = ("en", "ja")
COOKIE = "kaiwa_language"


@cache
def dictionary(language: str) -> dict[str, str]:
    text = resources.files("kaiwa.web").joinpath("words", f"{language}.json").read_text(encoding="utf-8")
    words: dict[str, str] = json.loads(text)
    return words


class Words:
    """`words("chat.send")` in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._words = dictionary(language)

    def __call__(self, key: str, **values: object) -> str:
        text = self._words.get(key, key)
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        return key in self._words

    def client(self) -> dict[str, str]:
        """What the browser's modules say themselves."""
        return {key.removeprefix("js."): text for key, text in self._words.items() if key.startswith("js.")}


def language_of(request: Request) -> str:
    """The cookie's language, else the first that Accept-Language likes and we have, else English."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return accepted(request.headers.get("accept-language", ""))


def accepted(header: str) -> str:
    """'ja,en;q=0.8' -> 'ja'."""
    liked = []
    for i, part in enumerate(header.split(",")):
        tag, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=") or "1"
        try:
            liked.append((-float(weight), i, tag.split("-")[0].lower()))
        except ValueError:
            continue
    return next((tag for weight, _, tag in sorted(liked) if tag in LANGUAGES and weight < 0), "en")
