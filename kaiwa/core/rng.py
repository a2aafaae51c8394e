"""Random numbers by name: equal (seed, name, step) give equal streams, independent of place and order of the calls."""

import hashlib
import random

import numpy as np


def seed_for(seed: int, *names: object) -> int:
    """Return a 63-bit seed from a base seed and any names, lone surrogates included."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big") >> 1


def python_rng(seed: int, *names: object) -> random.Random:
    """Return Python's generator for a base seed and names."""
    return random.Random(seed_for(seed, *names))


def numpy_rng(seed: int, *names: object) -> np.random.Generator:
    """Return NumPy's generator for a base seed and names."""
    return np.random.default_rng(seed_for(seed, *names))
