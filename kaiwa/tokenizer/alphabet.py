"""GPT-2's byte alphabet: the 256 bytes as 256 printable characters, so that BPE can work on strings.

Radford et al. 2019 (`bytes_to_unicode`): a printable Latin-1 byte is its own character, the others are U+0100 onwards.
The module also reads SentencePiece's pieces, in which "▁" stands for a space and "<0x0A>" for a byte.
"""

from __future__ import annotations

import functools


@functools.cache
def byte_of_char() -> dict[str, int]:
    """Return the byte that each of the 256 characters stands for."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(b): b for b in printable}
    rest = [b for b in range(256) if b not in set(printable)]
    table.update({chr(256 + n): b for n, b in enumerate(rest)})
    return table


def token_bytes(token: str) -> bytes:
    """Return the bytes of a byte-level token; a token with characters outside the alphabet is taken as plain text."""
    table = byte_of_char()
    try:
        return bytes(table[c] for c in token)
    except KeyError:
        return token.encode("utf-8")


def piece_bytes(piece: str) -> bytes:
    """Return the bytes of a SentencePiece piece."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return bytes([int(piece[3:5], 16)])
        except ValueError:
            pass
    return piece.replace("▁", " ").encode("utf-8")


def word_piece_bytes(piece: str) -> bytes:
    """Return the bytes of a WordPiece token: "##s" continues a word, another begins one after a space."""
    return piece[2:].encode("utf-8") if piece.startswith("##") else f" {piece}".encode()
