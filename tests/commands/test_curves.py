"""Curves for other programs: TensorBoard's records by their published checksums, and what is missing is named."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kaiwa.commands.curves import curve_listener, event, masked_crc, record
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError


def test_the_checksum_is_crc_32c() -> None:
    # RFC 3720, appendix B.4: 32 bytes of zeros have the CRC 8a9136aa; the record format rotates and shifts it
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_scalars(data: bytes) -> list[bytes]:
    """The records' data, their lengths and checksums verified."""
    found = []
    while data:
        (n,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc(data[:8])
        assert struct.unpack("<I", data[12 + n : 16 + n])[0] == masked_crc(data[12 : 12 + n])
        found.append(data[12 : 12 + n])
        data = data[16 + n :]
    return found


def test_an_event_by_hand() -> None:
    one = event(1.0, 300, {"loss": 0.5})
    assert (
        one == b"\x09" + struct.pack("<d", 1.0) + b"\x10\xac\x02" + b"\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f"
    )
    assert read_scalars(record(b"abc")) == [b"abc"]


def test_every_row_of_a_stage_is_written(tmp_path: Path) -> None:
    context = Context(curves=lambda stage: curve_listener(["tensorboard"], tmp_path, stage))
    log = context.metrics("sft")
    log.log(0, loss=2.5, warning="a text")
    log.log(1, loss=float("nan"), lr=1e-3)
    (file,) = (tmp_path / "tensorboard" / "sft").iterdir()
    version, first, second = read_scalars(file.read_bytes())
    assert b"brain.Event:2" in version
    assert first.endswith(b"loss\x15" + struct.pack("<f", 2.5))
    assert second.endswith(b"lr\x15" + struct.pack("<f", 1e-3))
    assert b"loss" not in second


def test_wandb_and_trackio_get_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[str, dict[str, float], int]] = []
    modes: list[str] = []

    def init(**options: str) -> SimpleNamespace:
        modes.append(options.get("mode", ""))
        return SimpleNamespace(log=lambda row, step: rows.append(("wandb", row, step)))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setitem(
        sys.modules,
        "trackio",
        SimpleNamespace(init=lambda **options: None, log=lambda row, step: rows.append(("trackio", row, step))),
    )
    listen = curve_listener(["wandb", "trackio", "wandb"], tmp_path, "dpo")
    listen({"step": 3, "time": 1.0, "loss": 0.5})
    assert rows == [("wandb", {"loss": 0.5}, 3), ("trackio", {"loss": 0.5}, 3)]
    assert modes == ["offline"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--log wandb needs wandb, which is not installed; pip install wandb"):
        curve_listener(["wandb"], tmp_path, "dpo")
