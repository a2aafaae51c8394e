"""Disguised text brought back to one form, character by character so that streams can be folded.

A folded character has no case, no width, no accent, no voicing mark, and katakana is hiragana; a character that is no
letter or digit (space, punctuation, zero-width character, emoji) folds to nothing. Letters that look like Latin letters
fold to the Latin letters: Cyrillic, Greek, small capitals, letters turned round, in boxes, as flags, in Braille, and
the invisible tag characters. Folding one character never looks at another, so fold(a + b) = fold(a) + fold(b).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

ABC = "abcdefghijklmnopqrstuvwxyz"
_ALIKE = {
    "аеорсхуікмтнвѕјԁһгαβεικνορτυχωłøđı": "aeopcxyikmthbsjdhrabeiknoptuxwlodi",  # Cyrillic, Greek, Latin with strokes
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡʏᴢ": "abcdefghijklmnopqrstuvwyz",  # small capitals
    "ɐɔǝɟɓɥɾʞʅɯɹʇʌʍʎ": "acefghjklmrtvwy",  # turned
    "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵": ABC,  # Braille
}
LOOKS_LIKE = {c: plain for alike, letters in _ALIKE.items() for c, plain in zip(alike, letters, strict=True)}
_BOXES = (0x1F1E6, 0x1F130, 0x1F150, 0x1F170)  # flags; letters in squares, in black circles, in black squares
LOOKS_LIKE |= {chr(first + i): letter for first in _BOXES for i, letter in enumerate(ABC)}
LOOKS_LIKE |= {chr(0xE0000 + code): chr(code) for code in range(0x20, 0x7F)}  # tag characters


@lru_cache(maxsize=1 << 14)
def fold_character(character: str) -> str:
    """Return the folded form of a character: none, one or several characters."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(letter for c in plain if (letter := _latin(c)).isalnum())


def _latin(character: str) -> str:
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - 0x60)
    return LOOKS_LIKE.get(character, character).casefold()


def fold(text: str) -> str:
    return "".join(map(fold_character, text))
