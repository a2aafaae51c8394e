"""Curves of a run in the formats of TensorBoard, Weights & Biases and trackio, beside the metrics log of every stage.

TensorBoard's event file is written here, without its package: a file of records (length, checksum of the length, data,
checksum of the data; CRC-32C, masked) of protocol buffers:

    Event    1 wall_time double · 2 step int64 · 3 file_version string · 5 summary Summary
    Summary  1 value (repeated): 1 tag string · 2 simple_value float

The other two are their libraries, if installed; wandb stays offline unless WANDB_MODE says otherwise.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kaiwa.core.errors import UserError

CurveFormat = Literal["tensorboard", "wandb", "trackio"]
Listener = Callable[[Mapping[str, Any]], None]
PROJECT = "kaiwa"


def curve_listener(formats: Sequence[CurveFormat], folder: Path, stage: str) -> Listener:
    """Return a function that writes each row of a metrics log in the formats. UserError for a library that is missing.

    folder: where the curves go, under the name of their format.
    """
    openers = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio}
    listeners = [openers[name](folder / name, stage) for name in dict.fromkeys(formats)]

    def listen(row: Mapping[str, Any]) -> None:
        scalars = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and k not in ("step", "time")}
        for write in listeners:
            write({"step": row["step"], "time": row["time"], **scalars})

    return listen


def _wandb(folder: Path, stage: str) -> Listener:
    try:
        import wandb
    except ImportError:
        raise UserError("--log wandb needs wandb, which is not installed; pip install wandb") from None
    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project=PROJECT, name=stage, dir=str(folder), mode=mode)
    return lambda row: run.log(_scalars(row), step=int(row["step"]))


def _trackio(folder: Path, stage: str) -> Listener:
    try:
        import trackio
    except ImportError:
        raise UserError("--log trackio needs trackio, which is not installed; pip install trackio") from None
    trackio.init(project=PROJECT, name=stage)
    return lambda row: trackio.log(_scalars(row), step=int(row["step"]))


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("step", "time")}


def _tensorboard(folder: Path, stage: str) -> Listener:
    """Open a new event file under folder/stage."""
    target = folder / stage
    target.mkdir(parents=True, exist_ok=True)
    number = len(list(target.iterdir()))
    file = target / f"events.out.tfevents.{os.getpid():010d}.{socket.gethostname()}.{number}"

    def write(row: Mapping[str, Any]) -> None:
        start = b"" if file.exists() else record(event(float(row["time"]), version="brain.Event:2"))
        with open(file, "ab") as f:
            f.write(start + record(event(float(row["time"]), int(row["step"]), _scalars(row))))

    return write


def event(wall_time: float, step: int = 0, scalars: Mapping[str, float] | None = None, version: str = "") -> bytes:
    """Return an Event as protocol buffer."""
    data = b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step)
    if version:
        data += _field(3, version.encode())
    values = b"".join(
        _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
        for tag, value in (scalars or {}).items()
    )
    return data + (_field(5, values) if values else b"")


def record(data: bytes) -> bytes:
    """Return data as a record with its checksums."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of data, rotated and shifted as the record format wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _crc_table()


def _field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
