"""Text as a thief might dress it, brought back to one form, character by character so that streams can be folded.

A folded character has no case, no width, no accent, no voicing mark, and katakana is hiragana; what is no letter or
digit (spaces, punctuation, zero-width characters, emoji) folds to nothing. Cyrillic and Greek letters that look like
Latin ones fold to these. Folding one character never looks at another, so fold(a + b) = fold(a) + fold(b).
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
    """None, one or several characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(_latin(c) for c in plain if c.isalnum())


def _latin(character: str) -> str:
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - 0x60)
    return LOOKS_LIKE.get(character, character)


def fold(text: str) -> str:
    return "".join(map(fold_character, text))


def forms(secret: str, encodings: bool = True) -> frozenset[str]:
    """Folded strings any of which gives the secret away: itself and reversed; with `encodings` also rot13, and each of
    these in hex, base64, decimal and \\u codes, as written, in capitals and in small letters.

    Base64 inside a longer encoded text depends on what stands before: all three alignments are there, without the
    characters that mix with neighbours. Folding loses base64's case, so that a hit is a shade more than the secret.
    """
    written = dict.fromkeys(c for s in (secret, secret[::-1]) for c in (s, s.lower(), s.upper()))
    found = {fold(text) for text in written}
    if encodings:
        written |= dict.fromkeys(codecs.encode(text, "rot13") for text in list(written))
        for text in written:
            data = text.encode()
            found |= {fold(text), fold(data.hex()), "".join(f"0x{byte:02x}" for byte in data)}
            found |= {"".join(f"{ord(c)}" for c in text), "".join(f"u{ord(c):04x}" for c in text)}
            found |= {fold(inside) for inside in _base64_forms(data)}
    shortest = min(len(fold(secret)), 6)
    return frozenset(form for form in found if len(form) >= max(1, shortest))


def _base64_forms(data: bytes) -> list[str]:
    """What of `data` every base64 text with it inside must hold, for each place modulo 3."""
    found = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        first = -(-8 * before // 6)  # the first character made of data alone
        last = (8 * (before + len(data))) // 6
        found.append(whole[first:last])
    return found
