"""The words of the pages in addition to the words of the reports, and the choice of a request's language.

There is a dictionary file per language; a test compares their keys. Keys beginning with "js." go to the browser.
"""

from __future__ import annotations

from fastapi import Request

from kaiwa.report.words import LANGUAGES, Words

COOKIE = "kaiwa_language"


def words_of(request: Request) -> Words:
    return Words(language_of(request), "kaiwa.web")


def for_client(words: Words) -> dict[str, str]:
    """Return the texts shown by the browser's own modules."""
    return {key.removeprefix("js."): text for key, text in words.texts.items() if key.startswith("js.")}


def language_of(request: Request) -> str:
    """Return the cookie's language, else the best available of Accept-Language, else English."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return preferred_language(request.headers.get("accept-language", ""))


def preferred_language(header: str) -> str:
    """Return the language preferred by an Accept-Language header: 'ja,en;q=0.8' -> 'ja'."""
    weights = []
    for i, part in enumerate(header.split(",")):
        tag, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=") or "1"
        try:
            weights.append((-float(weight), i, tag.split("-")[0].lower()))
        except ValueError:
            continue
    return next((tag for weight, _, tag in sorted(weights) if tag in LANGUAGES and weight < 0), "en")
