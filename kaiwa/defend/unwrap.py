"""Text without what a page, a program or a keyboard puts between its characters: markup, escapes, invisible signs.

    <b>o</b><b>p</b>en      &#x6f;&#112;en     \\x6f\\u0070en     %6Fpen     o<!-- -->pen     [o](http://a)[p](http://b)en

Nothing is guessed here: each form stands for one text only. What is hidden inside a comment or an address is found in
the text as it is, which is read beside the unwrapped one.
"""

from __future__ import annotations

import html
import re
import unicodedata

from kaiwa.defend.fold import LOOKS_LIKE

COMMENTS = re.compile(r"<!--.*?-->|/\*.*?\*/|\{#.*?#\}", re.DOTALL)
TAGS = re.compile(r"</?[A-Za-z][^<>]{0,300}>|\[/?(?:b|i|u|s|color|size|url|code)(?:=[^\]]{0,100})?\]", re.IGNORECASE)
LINKS = re.compile(
    r"!?\[([^\[\]]{1,200})\]\([^()\s]{0,300}(?:\s\"[^\"]{0,200}\")?\)|!?\[([^\[\]]{1,200})\]\[\w{0,40}\]"
)
LATEX = re.compile(r"\\[A-Za-z]{3,20}\*?\s?(?=\{)")
ESCAPES = re.compile(
    r"\\x([0-9A-Fa-f]{2})|(?:\\u|%u|U\+|\bu)\{?([0-9A-Fa-f]{4,6})\}?(?:[\s,]{1,2}(?=U\+))?|\\u\{([0-9A-Fa-f]{1,6})\}|\\U([0-9A-Fa-f]{8})"
    r"|\\([0-3][0-7]{2})|[%=]([0-9A-Fa-f]{2})"
)
BASES = (16, 16, 16, 16, 8, 16)


class _Characters(dict[int, str]):
    """The plain character for each character of a text, worked out once: a letter's look-alike from outside the usual
    alphabets, and nothing for what cannot be seen."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in LOOKS_LIKE and code > 0x24F and not "\u0370" <= character <= "\u9fff":
            plain = LOOKS_LIKE[character]
        else:
            hidden = unicodedata.category(character) in ("Cf", "Mn", "Me") and not "\u3040" <= character <= "\u30ff"
            plain = "" if hidden else character
        self[code] = plain
        return plain


CHARACTERS = _Characters()


def plain_characters(text: str) -> str:
    """Return the text in usual width and without invisible characters."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(CHARACTERS))


def unwrap(text: str) -> str:
    """Return the text without markup, comments and links, and with entities and escapes as their characters."""
    text = plain_characters(text)
    if "&" in text:
        text = plain_characters(html.unescape(text))
    if "<" in text or "[" in text or "/*" in text or "{#" in text:
        text = LINKS.sub(lambda match: match[1] or match[2], TAGS.sub("", COMMENTS.sub("", text)))
    if "\\" in text or "%" in text or "=" in text or "U+" in text or "u0" in text:
        text = plain_characters(ESCAPES.sub(_character, LATEX.sub("", text)))
    return text


def _character(match: re.Match[str]) -> str:
    base, digits = next((base, group) for base, group in zip(BASES, match.groups(), strict=True) if group)
    code = int(digits, base)
    return chr(code) if 0x20 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else " "
