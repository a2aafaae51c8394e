"""The GGUF container (llama.cpp's format, versions 2 and 3): header, fields and tensor places, every length checked.

The file may be hostile: no count, length or offset is used before a check against the file's size. Tensors are views of
a memory map; formats/gguf.py decodes the blocks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaiwa.core.errors import UserError

MAGIC = b"GGUF"
MOST = 1 << 20  # fields or tensors
MOST_ITEMS = 1 << 24  # in an array (the largest vocabularies have 2^18)
MOST_DIMENSIONS = 4
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class RawTensor:
    """kind: "Q4_0", "F32" …; shape as numpy's (rows first); data [rows, bytes per row] uint8."""

    kind: str
    shape: tuple[int, ...]
    data: np.ndarray[Any, np.dtype[np.uint8]]


class Reader:
    """A cursor over the bytes of a file. Reading past the end is a UserError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.bytes = np.memmap(path, mode="r", dtype=np.uint8) if path.stat().st_size else np.zeros(0, np.uint8)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error})") from None
        self.at = 0

    def bad(self, why: str) -> UserError:
        return UserError(f"{self.path}: damaged or no GGUF file ({why}, at byte {self.at:,} of {len(self.bytes):,})")

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size < 0 or size > len(self.bytes) - self.at:
            raise self.bad(f"{size:,} bytes are announced, {len(self.bytes) - self.at:,} are left")
        self.at += size
        return self.bytes[self.at - size : self.at].tobytes()

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def count(self, most: int, what: str) -> int:
        """Read a count that is at most `most`."""
        value = int(self.number("Q"))
        if value > most:
            raise self.bad(f"{value:,} {what}, at most {most:,} are read")
        return value

    def text(self) -> str:
        return self.take(int(self.number("Q"))).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """Read a field's value of a kind."""
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise self.bad(f"a value of unknown type {kind}")
        inner, n = int(self.number("I")), self.count(MOST_ITEMS, "items in an array")
        if inner == STRING:
            if n > (len(self.bytes) - self.at) // 8:
                raise self.bad(f"{n:,} strings cannot be left")
            return [self.text() for _ in range(n)]
        if inner not in SCALARS:
            raise self.bad(f"an array of unknown type {inner}")
        size = struct.calcsize("<" + SCALARS[inner])
        return list(struct.unpack(f"<{n}{SCALARS[inner]}", self.take(n * size)))


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, RawTensor]]:
    """Read a file's fields and raw tensors ([rows, bytes per row] each). UserError for anything that does not fit the
    format or the file's size."""
    reader = Reader(path)
    if len(reader.bytes) < 24 or reader.take(4) != MAGIC:
        raise reader.bad("it does not begin with GGUF")
    version = int(reader.number("I"))
    if version not in (2, 3):
        raise UserError(f"{path}: GGUF version {version}; 2 and 3 are read")
    n_tensors, n_fields = reader.count(MOST, "tensors"), reader.count(MOST, "fields")
    fields: dict[str, Any] = {}
    for _ in range(n_fields):
        key = reader.text()
        if key in fields:
            raise reader.bad(f"field {key[:60]!r} twice")
        fields[key] = reader.value(int(reader.number("I")))
    places = [_place(reader) for _ in range(n_tensors)]
    align = fields.get("general.alignment", 32)
    if not isinstance(align, int) or not 0 < align <= 1 << 16 or align & (align - 1):
        raise reader.bad(f"alignment {align}")
    start = -(-reader.at // align) * align
    tensors: dict[str, RawTensor] = {}
    for name, shape, kind, offset in places:
        if name in tensors:
            raise reader.bad(f"tensor {name[:60]!r} twice")
        tensors[name] = _view(reader, name, shape, kind, start + offset)
    return fields, tensors


def _place(reader: Reader) -> tuple[str, tuple[int, ...], int, int]:
    """Read a tensor's name, shape (rows first), type and offset."""
    name, n = reader.text(), int(reader.number("I"))
    if not 1 <= n <= MOST_DIMENSIONS:
        raise reader.bad(f"tensor {name[:60]!r} of {n} dimensions")
    sides = [int(reader.number("Q")) for _ in range(n)]
    if any(not 1 <= s <= 1 << 40 for s in sides):
        raise reader.bad(f"tensor {name[:60]!r} of shape {sides}")
    return name, tuple(reversed(sides)), int(reader.number("I")), int(reader.number("Q"))


def _view(reader: Reader, name: str, shape: tuple[int, ...], kind: int, start: int) -> RawTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        named = GGMLQuantizationType(kind)
        block, size = GGML_QUANT_SIZES[named]
    except (ValueError, KeyError):
        raise reader.bad(f"tensor {name[:60]!r} of unknown type {kind}") from None
    if shape[-1] % block:
        raise reader.bad(f"tensor {name[:60]!r}: rows of {shape[-1]} are no whole {named.name} blocks of {block}")
    width = shape[-1] // block * size
    rows = 1
    for side in shape[:-1]:
        rows *= side
    if start + rows * width > len(reader.bytes):
        raise reader.bad(f"tensor {name[:60]!r} ends at byte {start + rows * width:,}: the file is cut short")
    return RawTensor(named.name, shape, reader.bytes[start : start + rows * width].reshape(rows, width))
