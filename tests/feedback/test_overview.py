"""The owner's figures: agreement, screening that finds who guesses, biases, flags by model."""

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from kaiwa.feedback.batch_records import ItemAnswer
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.feedback.overview import SOFT_LIMIT, is_flagged, overview, own_agreement
from kaiwa.stats.agreement import agreement
from tests.feedback.judging import batch_store, honest, label_all, queue


def label_at_random(own: LabelQueue, rng: random.Random) -> None:
    while (assignment := own.next()) is not None:
        ranks = list(range(len(assignment.outputs)))
        rng.shuffle(ranks)
        answer = replace(honest(assignment), ranks=tuple(ranks))
        own.finish(assignment.id, f"{own.labeller}-{assignment.id:08}", answer)


def mixed(folder: Path) -> BatchStore:
    """Three honest labellers and one who guesses, on 12 items and 12 items for screening."""
    store = batch_store(folder, 12, screening=12, k=6, n_labels=4)
    for name in ("Aoi", "Ben", "Chie"):
        label_all(queue(store, name))
    label_at_random(queue(store, "Dan"), random.Random(4))
    store.invite("first", "Emi")
    return store


def test_agreement_screening_and_who_is_behind(tmp_path: Path) -> None:
    store = mixed(tmp_path)
    view = overview(store, store.batch("first"))
    assert (view.n_items, view.n_screening, view.n_labels, view.n_wanted) == (24, 12, 48, 48)
    assert view.matrix["Aoi", "Ben"].mean == 1.0
    assert view.matrix["Aoi", "Ben"].n == 12  # rankings
    assert view.matrix["Aoi", "Dan"].high < 0.75
    people = {state.name: state for state in view.labellers}
    assert view.labellers[0].name == "Emi"  # who is furthest behind
    assert people["Aoi"].screening.mean == 1.0
    assert not people["Aoi"].flagged
    assert people["Dan"].flagged
    assert people["Dan"].n_screened == 12
    assert people["Aoi"].median_seconds == 20.0
    assert own_agreement(store, store.batch("first"), "Aoi").n == 12
    assert view.flags["secret-model-5", "m"].mean == 1.0
    assert view.flags["secret-model-0", "m"].mean == 0.0
    assert view.mean_ratings["secret-model-0"] == (7.0, 48)
    assert view.first_shown.low < 1 / 6 < view.first_shown.high


def test_an_empty_batch_has_figures_too(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 0)
    view = overview(store, store.batch("first"))
    assert (view.n_items, view.n_labels, view.labellers, view.matrix) == (0, 0, (), {})
    assert view.first_shown.n == 0
    rated = store.create("rated", task="rate", k=1)
    assert overview(store, rated).n_wanted == 0


def test_an_answer_changed_later_counts_once(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1, n_labels=2)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    own.finish(assignment.id, "key-one-1", honest(assignment))
    own.finish(assignment.id, "key-two-2", replace(honest(assignment), ranks=(0, 0, 0, 0)))
    view = overview(store, store.batch("first"))
    assert view.n_labels == 1
    assert view.ties.mean == 1.0


def noisy_ranks(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Plackett-Luce rankings of six outputs of known, evenly spaced quality."""
    gumbel = -np.log(-np.log(rng.random((n, 6))))
    return np.argsort(np.argsort(np.arange(6) - noise * gumbel, axis=1), axis=1)


def test_who_guesses_is_flagged_within_30_items_and_the_papers_labeller_is_not() -> None:
    """15 of the first 30 places are screening items (ten, and five of the next twenty)."""
    rng = np.random.default_rng(5)
    known = np.tile(np.arange(6), (15, 1))
    noise = 2.16  # agrees with the known order in 73 % of the pairs
    assert abs(agreement(noisy_ranks(rng, 20_000, noise), np.tile(np.arange(6), (20_000, 1))).mean - 0.73) < 0.01
    flagged = {"guess": 0, "paper": 0}
    for _ in range(100):
        for who, spread in (("guess", math.inf), ("paper", noise)):
            ranks = rng.permuted(known, axis=1) if math.isinf(spread) else noisy_ranks(rng, 15, spread)
            shares = [(agreement(ranks[:n], known[:n]), n) for n in range(10, 16)]
            flagged[who] += any(is_flagged(share, n) for share, n in shares)
    assert flagged["guess"] >= 95
    assert flagged["paper"] <= 1
    assert SOFT_LIMIT < 0.73


def test_an_answer_without_ratings_counts_too(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1)
    own = queue(store, "simulated")
    assignment = own.next()
    assert assignment is not None
    own.finish(assignment.id, "a-simulated-key", ItemAnswer(ranks=(0, 1, 2, 3)))
    assert overview(store, store.batch("first")).mean_ratings == {}
