"""Duplicates: MinHash estimates Jaccard, candidates are verified, the first is kept."""

import itertools
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.corpus.config import Dedup
from kaiwa.corpus.dedup import exact_key, jaccard, near_duplicates, shingles, signature

CONFIG = Dedup()
WORDS = [f"word{i}" for i in range(500)]


def slow_shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_exact_key_ignores_case_spaces_and_punctuation_but_not_digits() -> None:
    assert exact_key("Bread, 3 coins!") == exact_key("bread  3\ncoins")
    assert exact_key("bread 3 coins") != exact_key("bread 4 coins")
    assert exact_key("!!!") != exact_key("???")
    assert exact_key("7 - 2", loosely=False) != exact_key("7 + 2", loosely=False)
    assert exact_key("7 -  2\n", loosely=False) == exact_key("7 - 2", loosely=False)


@given(st.lists(st.sampled_from(WORDS[:20]), max_size=40), st.lists(st.sampled_from(WORDS[:20]), max_size=40))
def test_jaccard_is_that_of_the_word_ngrams(a: list[str], b: list[str]) -> None:
    x, y = " ".join(a), " ".join(b)
    if min(len(a), len(b)) < 5:
        return
    sx, sy = slow_shingles(x, 5), slow_shingles(y, 5)
    expected = len(sx & sy) / len(sx | sy)
    assert abs(jaccard(shingles(x, "en", CONFIG), shingles(y, "en", CONFIG)) - expected) < 1e-12


def test_signature_estimates_jaccard() -> None:
    rng = random.Random(0)
    base = [rng.choice(WORDS) for _ in range(400)]
    big = Dedup(bands=64, rows=16)
    for changed in (0, 5, 20, 60):
        other = list(base)
        for i in rng.sample(range(400), changed):
            other[i] = "changed"
        x, y = (shingles(" ".join(w), "en", CONFIG) for w in (base, other))
        estimate = float((signature(x, big) == signature(y, big)).mean())
        assert abs(estimate - jaccard(x, y)) < 0.06


def test_japanese_is_compared_by_characters() -> None:
    a = "村のパン屋は朝四時に起きて、六時には棚にパンが並びます。"
    x, y = shingles(a, "ja", CONFIG), shingles(a.replace("六", "七"), "ja", CONFIG)
    assert 0.4 < jaccard(x, y) < 1
    assert len(shingles("猫", "ja", CONFIG)) == 1
    assert len(shingles("", "ja", CONFIG)) == 0


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_clusters_equal_the_quadratic_way(rng: random.Random) -> None:
    """With one row a band (every similar pair meets) the clusters are those of all pairs above the threshold."""
    config = Dedup(bands=64, rows=1, threshold=0.5)
    base = [[rng.choice(WORDS) for _ in range(30)] for _ in range(3)]
    texts = []
    for _ in range(12):
        words = list(rng.choice(base))
        for _ in range(rng.randrange(4)):
            words[rng.randrange(30)] = rng.choice(WORDS)
        texts.append(" ".join(words))
    sets = [shingles(t, "en", config) for t in texts]
    first = list(range(12))
    for i, j in itertools.combinations(range(12), 2):
        if jaccard(sets[i], sets[j]) >= 0.5:
            low, high = sorted((first[i], first[j]))
            first = [low if f == high else f for f in first]
    signatures = np.stack([signature(s, config) for s in sets])
    found = near_duplicates(signatures, config, lambda i, j: jaccard(sets[i], sets[j]) >= 0.5)
    assert found.tolist() == first
