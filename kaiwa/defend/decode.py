"""Codes of bytes and letters undone: base64, 32, 58, 62, 85, hexadecimal, binary, octal, decimal, Morse, rotated text.

A code may begin anywhere in a run, so each alignment is tried; what comes out is kept where it is text. Every function
returns the texts that a run of signs may stand for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import product

from kaiwa.defend.alphabets import MORSE

LEAST = 10  # signs of a run that is read as base58, 62 or 85
LONG = re.compile(r"\S{12,}")
SIGNS = re.compile(r"[!-~]+")
PLAIN_WORD = re.compile(r"[-(\"'.,:;!?]*[A-Za-z]?[a-z]{1,10}(?:'[a-z]{1,2}|[A-Z])?[-.,:;!?)\"']*|[A-Z]{1,5}[.,]?")
WORDS = re.compile(rf"[0-9A-Za-z]{{{LEAST},400}}")
PRINTED = re.compile(r"[^\x00-\x1f\x7f\ufffd]{6,}|[^\x00-\x1f\x7f\ufffd]{3,}\Z")
HEX = re.compile(r"(?:(?:0x)?[0-9A-Fa-f]{2,}[\s,:;.|/_-]{0,2}){4,}")
BITS = re.compile(r"[01](?:[\s,]{0,2}[01]){27,}")
NUMBERS = re.compile(r"\d{2,3}(?:[^\w]{1,3}\d{2,3}){5,}")
MORSE_RUN = re.compile(r"(?:[.-]{1,5}[ /|\n]+){3,}[.-]{1,5}")
DASHES = str.maketrans({"·": ".", "•": ".", "∙": ".", "−": "-", "–": "-", "—": "-", "_": "-"})
B32 = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "0123456789ABCDEFGHJKMNPQRSTVWXYZ",  # Crockford
    "0123456789ABCDEFGHIJKLMNOPQRSTUV",
)
B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
B62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INT32 = "0123456789abcdefghijklmnopqrstuv"
ROT47 = {33 + i: 33 + (i + 47) % 94 for i in range(94)}


def printable(data: bytes) -> str:
    """Return the runs of text in bytes, or "": bytes that are no text give next to nothing."""
    return "\n".join(PRINTED.findall(data.decode("utf-8", "replace")))


@lru_cache(maxsize=4)  # three decoders ask for the same text
def odd_runs(text: str) -> tuple[str, ...]:
    """Return the stretches of a text that are no plain words, their pieces joined: there a code may be.

    One plain word between two odd pieces may be a piece of the code too.
    """
    runs: list[str] = []
    run, between = "", ""
    for token in SIGNS.findall(text):
        if len(token) > 1 and PLAIN_WORD.fullmatch(token):
            if between:
                runs.append(run)
                run, between = "", ""
            elif run:
                between = token
            continue
        run, between = run + between + token, ""
    return tuple(piece for piece in (*runs, run) if len(piece) >= 8)


def from_base64(text: str) -> Iterator[str]:
    for run in odd_runs(text):
        for extra in ("+/", "-_"):
            signs = "".join(re.findall(rf"[A-Za-z0-9{re.escape(extra)}]+", run))
            if len(signs) < 8 or (extra == "-_" and "-" not in signs and "_" not in signs):
                continue
            usual = signs.replace("-", "+").replace("_", "/")
            for cut in range(4):
                part = usual[cut:]
                part = part[: len(part) - (len(part) % 4 == 1)]
                yield printable(base64.b64decode(part + "=" * (-len(part) % 4)))


def from_base32(text: str) -> Iterator[str]:
    for run in odd_runs(text):
        signs = "".join(re.findall(r"[A-Za-z0-9]+", run)).upper()
        if len(signs) < 12:
            continue
        for alphabet in B32:
            known = "".join(c for c in signs if c in alphabet)
            yield from from_bits(known.translate(_to_int32(alphabet)), 5)


@cache
def _to_int32(alphabet: str) -> dict[int, int]:
    return {ord(sign): ord(digit) for sign, digit in zip(alphabet, INT32, strict=True)}


def from_bits(digits: str, width: int) -> Iterator[str]:
    """Yield the bytes of digits of `width` bits, at each of the eight places where a byte may begin."""
    if len(digits) * width < 32:
        return
    value, size = int(digits, 1 << width), len(digits) * width
    for spare in range(8):
        yield printable((value >> spare).to_bytes((size + 7) // 8, "big"))


def from_hex(text: str) -> Iterator[str]:
    for run in HEX.findall(" ".join(odd_runs(text))):
        signs = re.sub(r"0x|[^0-9A-Fa-f]", "", run)
        for cut in (0, 1):
            part = signs[cut:]
            yield printable(bytes.fromhex(part[: len(part) // 2 * 2]))


def from_binary(text: str) -> Iterator[str]:
    for run in BITS.findall(text):
        groups = re.findall(r"[01]+", run)
        if len(groups) > 3:
            yield "".join(chr(int(group[:16], 2)) for group in groups)
        bits = "".join(groups)
        yield from from_bits(bits, 1)
        yield from ("".join(chr(int(bits[i : i + 7], 2)) for i in range(cut, len(bits) - 6, 7)) for cut in range(7))


def from_numbers(text: str) -> Iterator[str]:
    """Yield character codes written as decimal or octal numbers: 111 112 101."""
    for run in NUMBERS.findall(text):
        numbers = re.findall(r"\d+", run)
        yield "".join(chr(int(number)) for number in numbers if 32 <= int(number) < 128)
        if all(set(number) <= set("01234567") for number in numbers):
            yield "".join(chr(int(number, 8)) for number in numbers if 32 <= int(number, 8) < 128)


def from_morse(text: str) -> Iterator[str]:
    for run in MORSE_RUN.findall(text.translate(DASHES)):
        yield "".join(MORSE.get(sign, "") for sign in re.split(r"[ /|\n]+", run))


def from_large_bases(text: str) -> Iterator[str]:
    """Yield base58, base62, base36 and both kinds of base85, which stand in one run without spaces."""
    for run in WORDS.findall(text):
        if not run.isalpha() or not (run.islower() or run.istitle()):
            for alphabet in (B58, B62, B62[:10] + B62[36:] + B62[10:36]):
                yield _large(run, alphabet)
            yield _large(run.upper(), B62[:36])
    for run in LONG.findall(text):
        if len(run) <= 400 and not run.isalnum():
            bare = run.removeprefix("<~").removesuffix("~>")
            for decode, cut in product((base64.a85decode, base64.b85decode), range(5)):
                try:
                    yield printable(decode(bare[cut:]))
                except ValueError:
                    continue


def _large(run: str, alphabet: str) -> str:
    value = 0
    for sign in run:
        digit = alphabet.find(sign)
        if digit < 0:
            return ""
        value = value * len(alphabet) + digit
    return printable(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def from_uuencode(text: str) -> Iterator[str]:
    if "begin " not in text:
        return
    for line in text.splitlines():
        try:
            yield printable(binascii.a2b_uu(line))
        except (binascii.Error, ValueError):
            continue


def rotations(text: str) -> Iterator[str]:
    """Yield every Caesar shift of the stretches that are no plain words: a code whose letters were moved."""
    runs = " ".join(odd_runs(text))
    if runs and len(runs) <= 2000:
        yield from (runs.translate(_shift(k)) for k in range(1, 26))


@cache
def _shift(k: int) -> dict[int, int]:
    return {first + i: first + (i + k) % 26 for first in (ord("a"), ord("A")) for i in range(26)}


def backwards(text: str) -> Iterator[str]:
    yield text[::-1]


def rotated_signs(text: str) -> Iterator[str]:
    """Yield ROT47, where text has many signs that are neither letters nor digits."""
    runs = " ".join(run for run in LONG.findall(text) if not run.isalnum())
    if runs:
        yield runs.translate(ROT47)


DECODERS: tuple[Callable[[str], Iterator[str]], ...] = (
    from_base64,
    from_base32,
    from_hex,
    from_binary,
    from_numbers,
    from_morse,
    from_large_bases,
    from_uuencode,
    rotated_signs,
)
