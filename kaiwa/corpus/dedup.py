"""Exact duplicates by the hash of the normalised text; near duplicates by MinHash, LSH bands and exact Jaccard.

MinHash (Broder 1997): with r rows in each of b bands, two documents of similarity J become a candidate pair with
probability 1 - (1 - J^r)^b; 14 × 8 (FineWeb) gives .565 at .7, .92 at .8. Departure from FineWeb and from GPT-3's Spark
job: a candidate is a duplicate only if the exact Jaccard similarity of the n-gram sets is at least the threshold, and
the first document in corpus order is kept, so that the result does not depend on the number of workers.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kaiwa.core.rng import numpy_rng
from kaiwa.corpus.config import Dedup
from kaiwa.corpus.filters import NO_SPACES

U64 = NDArray[np.uint64]
WORD = re.compile(r"\w+")
NOT_WORD = re.compile(r"[\W_]+")
CHUNK = 1 << 13  # n-grams hashed at once; keeps the working set in the cache


def exact_key(text: str, loosely: bool = True) -> bytes:
    """Return a 16-byte key, equal for texts that differ only in case, spaces and punctuation.

    loosely: False lets the texts differ in spaces only, for code and sums, where signs matter ("7 - 2" is not "7 + 2").
    """
    bare = NOT_WORD.sub(" ", text.lower()).strip() if loosely else " ".join(text.split())
    return hashlib.blake2b((bare or text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


@functools.lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def shingles(text: str, language: str, config: Dedup) -> U64:
    """Return the set of a text's n-grams as sorted 64-bit hashes [n].

    The n-grams are of words, or of characters in languages without spaces.
    """
    units: U64
    if language in NO_SPACES:
        dense = NOT_WORD.sub("", text.lower())
        units = np.frombuffer(dense.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        n = config.chars
    else:
        units = np.array([_word_hash(w) for w in WORD.findall(text.lower())], dtype=np.uint64)
        n = config.words
    if len(units) == 0:
        return units
    n = min(n, len(units))
    count = len(units) - n + 1
    total = np.zeros(count, dtype=np.uint64)
    for k in range(n):
        total = total * np.uint64(0x9E3779B97F4A7C15) + units[k : k + count] + np.uint64(1)
    return np.unique(_mix(total))


def _mix(x: U64) -> U64:
    """Return splitmix64's finaliser of x: every input bit affects every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.cache
def _permutations(n: int) -> tuple[U64, U64]:
    rng = numpy_rng(0, "corpus", "minhash", n)
    a = rng.integers(0, 1 << 63, size=n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    b = rng.integers(0, 1 << 63, size=n, dtype=np.uint64)
    return a[:, None], b[:, None]


def signature(grams: U64, config: Dedup) -> NDArray[np.uint32]:
    """Return the MinHash signature [bands * rows]: for each hash a·x + b (upper 32 bits) its minimum over the set."""
    a, b = _permutations(config.bands * config.rows)
    smallest = np.full(config.bands * config.rows, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(grams), CHUNK):
        hashes = (grams[None, start : start + CHUNK] * a + b) >> np.uint64(32)
        np.minimum(smallest, hashes.min(axis=1).astype(np.uint32), out=smallest)
    return smallest


def jaccard(x: U64, y: U64) -> float:
    """Return |x ∩ y| / |x ∪ y| of two sorted sets; 0 for two empty sets."""
    both = len(np.intersect1d(x, y, assume_unique=True))
    union = len(x) + len(y) - both
    return both / union if union else 0.0


def find(parent: list[int], i: int) -> int:
    """Return the first document of a document's cluster."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def near_duplicates(
    signatures: NDArray[np.uint32], config: Dedup, similar: Callable[[int, int], bool]
) -> NDArray[np.int64]:
    """Return, for each of n documents, the index of the first document of its cluster.

    A document without an earlier near duplicate has its own index. signatures: [n, bands * rows]; similar(i, j):
    verifies a candidate pair. Within a bucket a document is compared with the members of each cluster until a member
    is similar, so m equal documents cost m comparisons, not m².
    """
    n = len(signatures)
    parent = list(range(n))
    for band in range(config.bands):
        rows = np.ascontiguousarray(signatures[:, band * config.rows : (band + 1) * config.rows])
        keys = rows.view(np.dtype((np.void, rows.itemsize * config.rows))).ravel()
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        inverse = inverse.ravel()
        shared = np.flatnonzero(counts[inverse] > 1)
        for bucket in _groups(shared, inverse[shared]):
            _join(bucket, parent, similar)
    return np.array([find(parent, i) for i in range(n)], dtype=np.int64)


def _groups(members: NDArray[np.int64], keys: NDArray[np.int64]) -> list[list[int]]:
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    return [part.tolist() for part in np.split(members[order], cuts)] if len(members) else []


def _join(bucket: Sequence[int], parent: list[int], similar: Callable[[int, int], bool]) -> None:
    clusters: list[list[int]] = []
    for i in bucket:
        joined, others = [i], []
        for members in clusters:
            if find(parent, i) == find(parent, members[0]) or any(similar(j, i) for j in members):
                low, high = sorted((find(parent, i), find(parent, members[0])))
                parent[high] = low
                joined = members + joined
            else:
                others.append(members)
        clusters = [*others, joined]
