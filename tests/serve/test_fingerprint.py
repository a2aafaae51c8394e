"""`system_fingerprint` changes with whatever changes answers, and with nothing else."""

from pathlib import Path

from kaiwa.serve.worker.fingerprint import SAMPLE, fingerprint, weights_digest


def test_weights_have_a_digest(tmp_path: Path) -> None:
    """One byte of a small file; of a large one a change that is not smaller than the samples' distance."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(range(256)) * 16)
    first = weights_digest(tmp_path)
    assert weights_digest(file) == first
    (tmp_path / "notes.txt").write_text("no weights")
    assert weights_digest(tmp_path) == first
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    assert weights_digest(tmp_path) != first
    large = bytearray(SAMPLE * 1000)
    file.write_bytes(large)
    second = weights_digest(tmp_path)
    large[SAMPLE * 500 : SAMPLE * 600] = b"x" * (SAMPLE * 100)
    file.write_bytes(large)
    assert weights_digest(tmp_path) != second
    assert weights_digest(tmp_path / "nowhere") == weights_digest(tmp_path / "nothing")


def test_every_part_counts() -> None:
    parts = ("weights", "", "template", "C++ step")
    assert fingerprint(*parts) == fingerprint(*parts)
    assert (
        len(
            {
                fingerprint(*parts),
                fingerprint("weights", "", "template", "PyTorch"),
                fingerprint("weights", "a", "", ""),
            }
        )
        == 3
    )
    assert fingerprint("a", "b") != fingerprint("ab", "")
