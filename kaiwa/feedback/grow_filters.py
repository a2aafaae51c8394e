"""Filters of grown requests: each names a reason to leave a request out. All are measured and kept with the record.

empty       nothing to ask
copy        nearly the parent's words
answer      the writer answered or refused the rewriting prompt, or speaks of it
language    another language than the parent's
long        longer than the limit
repeated    asked already, by this or another record
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from difflib import SequenceMatcher

FILTERS = ("empty", "copy", "answer", "language", "long", "repeated")
MOST_ALIKE, LEAST_NEW = 0.9, 12  # a copy: more alike than this, with fewer letters of its own
LEAST_LETTERS = 4
COMPARED = 4000  # letters

_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
_CJK = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7af]")
_MARKUP = re.compile(r"<\|[a-z_]+\|>|</?s>|\[/?INST\]|</?think>", re.IGNORECASE)
_ANSWERS = re.compile(
    r"^\W*(?:sure|certainly|of course|okay|i(?:'m| am) sorry|sorry|i (?:cannot|can't|can not|am unable)|as an ai)\b"
    r"|^\W*here(?: is|'s| are) (?:the|a|an|your|my)? ?(?:new|rewritten|revised|harder|request|prompt|version)"
    r"|\b(?:rewritten|given|original) (?:request|prompt|instruction)\b"
    r"|^(?:承知|もちろん|かしこまり|申し訳|すみませんが|以下(?:は|が)新しい|こちらが)"
    r"|(?:書き直した|元の|与えられた)(?:依頼|指示|質問|プロンプト)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\W{0,3}(?:(?:new|rewritten|revised|follow-up)? ?(?:request|prompt|instruction|question|message)"
    r"|(?:新しい)?(?:依頼|指示|質問|発言))\W{0,3}[:：]\W{0,3}",
    re.IGNORECASE,
)


def cleaned(text: str) -> str:
    """Return what a writer wrote without its reasoning, a label before it, and quotation marks around it."""
    text = text.rpartition("</think>")[2] if "</think>" in text else text
    text = _LABEL.sub("", text.strip())
    pairs = (('"', '"'), ("“", "”"), ("「", "」"), ("'", "'"))
    for first, last in pairs:
        inner = text[1:-1]
        if len(text) > 2 and text[0] == first and text[-1] == last and first not in inner and last not in inner:
            text = inner
    return text.strip()


def measure(text: str, parent: str, known: Collection[str], most: int) -> dict[str, bool]:
    """Return for each filter whether the request passes. known: normalised requests that are there already."""
    return {
        "empty": sum(c.isalnum() for c in text) >= LEAST_LETTERS,
        "copy": not is_copy(text, parent),
        "answer": _ANSWERS.search(text) is None and _MARKUP.search(text) is None,
        "language": same_language(text, parent),
        "long": len(text) <= most,
        "repeated": normalised(text) not in known,
    }


def normalised(text: str) -> str:
    """Return a text's letters and digits in lower case, width and marks aside: equal for requests that ask the same."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def is_copy(text: str, parent: str) -> bool:
    """Return whether a text says nearly the parent's words; one that adds something to a long parent does not."""
    a, b = normalised(text)[:COMPARED], normalised(parent)[:COMPARED]
    if not a or not b:
        return a == b
    alike = SequenceMatcher(None, a, b, autojunk=False).ratio()
    n_new = len(a) - alike * (len(a) + len(b)) / 2
    return alike > MOST_ALIKE and n_new < LEAST_NEW


def language_of(text: str) -> str:
    """Return "ja" for a text with kana among its letters, else "en": the language in which a writer is asked."""
    return "ja" if _scripts(text)[0] else "en"


def same_language(text: str, parent: str) -> bool:
    """Return whether two texts are both Japanese, or both in another East Asian script, or neither."""
    return _scripts(text) == _scripts(parent)


def _scripts(text: str) -> tuple[bool, bool]:
    """Return whether a tenth of the letters are kana, and whether a tenth are East Asian: fewer may be quoted."""
    letters = max(1, sum(c.isalpha() for c in text))
    return len(_KANA.findall(text)) > 0.1 * letters, len(_CJK.findall(text)) > 0.1 * letters
