"""The GGUF container (llama.cpp's format, versions 2 and 3): header, fields and tensor places, every length checked.

The file may be hostile: no count, length or offset is used before a check against the file's size. Tensors are views of
a memory map; formats/gguf.py decodes the blocks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
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
SPLIT_COUNT, SPLIT_NUMBER, SPLIT_TENSORS = "split.count", "split.no", "split.tensors.count"
SPLIT_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf$")


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
        self.view = self.bytes.data  # slices of it cost a tenth of an array's
        self.at = 0

    def bad(self, why: str) -> UserError:
        return UserError(f"{self.path}: damaged or no GGUF file ({why}, at byte {self.at:,} of {len(self.bytes):,})")

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size < 0 or size > len(self.view) - self.at:
            raise self.bad(f"{size:,} bytes are announced, {len(self.view) - self.at:,} are left")
        self.at += size
        return bytes(self.view[self.at - size : self.at])

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

    def skip_array(self) -> None:
        """Pass over an array's items; lists of a hundred thousand texts take a tenth of the time to read them."""
        inner, n = int(self.number("I")), self.count(MOST_ITEMS, "items in an array")
        if inner in SCALARS:
            self.take(n * struct.calcsize("<" + SCALARS[inner]))
            return
        if inner != STRING:
            raise self.bad(f"an array of unknown type {inner}")
        view, at, end = self.view, self.at, len(self.view)
        for _ in range(n):
            if at + 8 > end:
                raise self.bad(f"{n:,} strings cannot be left")
            at += 8 + int(struct.unpack_from("<Q", view, at)[0])
        if at > end:
            raise self.bad("a string ends after the file")
        self.at = at


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, RawTensor]]:
    """Read a file's fields and raw tensors ([rows, bytes per row] each), of a split model all files'. UserError for
    anything that does not fit the format or the file's size."""
    fields, tensors = _read_file(path)
    for part in split_files(path, fields)[1:]:
        own, more = _read_file(part)
        if doubled := tensors.keys() & more.keys():
            raise UserError(f"{part}: tensor {min(doubled)[:60]!r} is in another file of the model too")
        if own.get(SPLIT_NUMBER) != int(SPLIT_NAME.match(part.name)[2]) - 1:  # type: ignore[index]
            raise UserError(f"{part}: is not the part that its name says; download it again")
        tensors |= more
    announced = fields.get(SPLIT_TENSORS)
    if isinstance(announced, int) and announced != len(tensors):
        raise UserError(f"{path}: {announced} tensors are announced, the files have {len(tensors)}")
    return fields, tensors


def split_files(path: Path, fields: Mapping[str, Any]) -> list[Path]:
    """Return the files of a model by their order, one for most. UserError for a missing part, or not the first one."""
    n = fields.get(SPLIT_COUNT, 1)
    if not isinstance(n, int) or n <= 1:
        return [path]
    name = SPLIT_NAME.match(path.name)
    if name is None or int(name[3]) != n:
        raise UserError(
            f"{path}: is a part of a model in {n} files; give them their names back (-00001-of-{n:05}.gguf)"
        )
    files = [path.with_name(f"{name[1]}-{i:05}-of-{n:05}.gguf") for i in range(1, n + 1)]
    if path != files[0]:
        raise UserError(f"{path}: part {int(name[2])} of {n}; give the first, {files[0].name}")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{path}: {len(missing)} of its {n} files are missing ({missing[0]}); download them")
    return files


def read_header(path: Path) -> tuple[dict[str, Any], list[tuple[str, tuple[int, ...], str]]]:
    """Read a file's fields without lists, and name, shape and type of its tensors. UserError as for `read_gguf`."""
    from gguf import GGMLQuantizationType

    reader = Reader(path)
    n_tensors, n_fields = _begin(reader)
    fields: dict[str, Any] = {}
    for _ in range(n_fields):
        key, kind = reader.text(), int(reader.number("I"))
        if kind == ARRAY:
            reader.skip_array()
        else:
            fields[key] = reader.value(kind)
    places = [_place(reader) for _ in range(n_tensors)]
    names = {kind.value: kind.name for kind in GGMLQuantizationType}
    return fields, [(name, shape, names.get(kind, "?")) for name, shape, kind, _ in places]


def _begin(reader: Reader) -> tuple[int, int]:
    """Read the numbers of tensors and fields. UserError for another format or version."""
    if len(reader.bytes) < 24 or reader.take(4) != MAGIC:
        raise reader.bad("it does not begin with GGUF")
    version = int(reader.number("I"))
    if version not in (2, 3):
        raise UserError(f"{reader.path}: GGUF version {version}; 2 and 3 are read")
    return reader.count(MOST, "tensors"), reader.count(MOST, "fields")


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, RawTensor]]:
    reader = Reader(path)
    n_tensors, n_fields = _begin(reader)
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
