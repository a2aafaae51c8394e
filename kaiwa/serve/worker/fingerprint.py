"""What an answer depends on besides the request, as a short text: OpenAI's `system_fingerprint`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kaiwa import __version__

WEIGHTS = (".safetensors", ".gguf", ".bin")
N_SAMPLES, SAMPLE = 64, 1 << 12  # per file: places, and bytes at each; a whole file of gigabytes would take seconds


def weights_digest(path: Path) -> str:
    """Return a digest of a model's weights: names and sizes of its files, and samples from everywhere in them."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.suffix in WEIGHTS)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as data:
            for i in range(N_SAMPLES):
                data.seek(i * max(0, size - SAMPLE) // (N_SAMPLES - 1))
                digest.update(data.read(SAMPLE))
    return digest.hexdigest()


def fingerprint(*parts: str) -> str:
    """Return the fingerprint of an answer. parts: digests of weights, the template, the way of computing."""
    return "fp_" + hashlib.sha256("\0".join((__version__, *parts)).encode()).hexdigest()[:12]
