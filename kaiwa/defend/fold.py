"""Disguised text brought back to one form, character by character so that streams can be folded.

A folded character has no case, no width, no accent, no voicing mark, and katakana is hiragana; a character that is no
letter or digit (space, punctuation, zero-width character, emoji) folds to nothing. Cyrillic and Greek letters that look
like Latin letters fold to the Latin letters. Folding one character never looks at another, so fold(a + b) = fold(a) +
fold(b).
"""

from __future__ import annotations

import base64
import codecs
import unicodedata
from functools import lru_cache

LOOKS_LIKE = dict(
    zip(
        "аеорсхуікмтнвѕјԁһгαβεικνορτυχωłøđı",
        "aeopcxyikmthbsjdhrabeiknoptuxwlodi",
        strict=True,
    )
)


@lru_cache(maxsize=1 << 14)
def fold_character(character: str) -> str:
    """Return the folded form of a character: none, one or several characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(_latin(c) for c in plain if c.isalnum())


def _latin(character: str) -> str:
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - 0x60)
    return LOOKS_LIKE.get(character, character)


def fold(text: str) -> str:
    return "".join(map(fold_character, text))


def leak_forms(secret: str, encodings: bool = True) -> frozenset[str]:
    """Return folded strings any of which gives the secret away: the secret and its reverse.

    With `encodings` also rot13, and each of these in hex, base64, decimal and \\u codes, as written, in capitals and in
    small letters. Base64 inside a longer encoded text depends on the bytes before: all three alignments are included,
    without the characters that mix with neighbours. Folding loses base64's case, so a few more texts than the secret's
    are hits.
    """
    spellings = dict.fromkeys(c for s in (secret, secret[::-1]) for c in (s, s.lower(), s.upper()))
    folded = {fold(text) for text in spellings}
    if encodings:
        spellings |= dict.fromkeys(codecs.encode(text, "rot13") for text in list(spellings))
        for text in spellings:
            data = text.encode()
            folded |= {fold(text), fold(data.hex()), "".join(f"0x{byte:02x}" for byte in data)}
            folded |= {"".join(f"{ord(c)}" for c in text), "".join(f"u{ord(c):04x}" for c in text)}
            folded |= {fold(inside) for inside in _base64_forms(data)}
    shortest = min(len(fold(secret)), 6)
    return frozenset(form for form in folded if len(form) >= max(1, shortest))


def _base64_forms(data: bytes) -> list[str]:
    """Return, for each alignment modulo 3, the characters that every base64 text with `data` inside must contain."""
    parts = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        first = -(-8 * before // 6)  # the first character made of data alone
        last = (8 * (before + len(data))) // 6
        parts.append(whole[first:last])
    return parts
