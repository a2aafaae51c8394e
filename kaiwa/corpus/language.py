"""Language identification: py3langid (naive Bayes over byte n-grams), restricted to the languages we expect.

Without the restriction, a short English text is often taken for Latin or Luxembourgish, two of 140 languages. Japanese
is recognised first, by its kana, which no other language has.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

COMMON = ("en", "ja", "zh", "ko", "de", "fr", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "ar", "vi", "an", "ca")
KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
SAMPLE = 4000  # characters used; more do not change the result


@functools.lru_cache(maxsize=1)  # py3langid keeps the restriction as module state: only one can be active
def _classifier(languages: tuple[str, ...]) -> Callable[[str], tuple[str, float]]:
    import py3langid

    py3langid.set_languages(list(languages))
    return py3langid.classify  # type: ignore[no-any-return]


def identify(text: str, expected: tuple[str, ...]) -> str:
    """Return the ISO 639-1 code of a text, from `expected` and COMMON; "und" for text without letters."""
    sample = text[:SAMPLE]
    if not any(c.isalpha() for c in sample):
        return "und"
    if len(KANA.findall(sample)) >= max(1, 0.05 * len(sample)):
        return "ja"
    known = tuple(dict.fromkeys((*(w for w in expected if len(w) == 2), *COMMON)))
    language, _ = _classifier(known)(sample)
    return language
