"""The reward model's card by hand, and what is said of comparisons that are none."""

import json
from pathlib import Path

import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.report.reward_card import reward_figures
from kaiwa.report.words import LANGUAGES, Words
from kaiwa.reward.card import calibration, card, histogram, length_correlation
from kaiwa.reward.comparisons import Ranked, read_comparisons
from kaiwa.reward.packing import PromptRow
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import train

ITEMS = [
    Ranked(PromptRow([1], [[5], [6, 7], [8, 9, 10]]), (0, 1, 2), "ann", 1),
    Ranked(PromptRow([1], [[5, 6], [7]]), (1, 0), "bob", 4),
]
SCORES = [[2.0, 1.0, 1.5], [0.5, -0.5]]
EPOCHS = [
    {f"epoch_{k}_{w}": 0.5 + i for k in ("training", "validation") for w in ("loss", "accuracy")} for i in range(2)
]


def test_accuracy_by_labeller_beside_the_ceiling() -> None:
    gold = {1: [1.0, 1.0, 0.0], 4: [0.0, 1.0]}
    ann, bob = card(ITEMS, SCORES, ["bob"], EPOCHS, gold)["labellers"]
    assert (ann["accuracy"], ann["pairs"], ann["held_out"]) == (pytest.approx(2 / 3), 3, False)
    assert ann["ceiling"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert (bob["accuracy"], bob["ceiling"], bob["held_out"]) == (0.0, 1.0, True)
    assert card(ITEMS, SCORES, [], EPOCHS)["labellers"][0]["ceiling"] is None
    assert card([], [], [], []) == {}


def test_calibration_by_hand() -> None:
    bins = calibration(ITEMS, SCORES)
    assert sum(b["n"] for b in bins) == 4
    assert [b["observed"] for b in bins] == [0.0, 1.0, 0.0, 1.0] or sum(b["observed"] for b in bins) == 2.0
    assert all(0.5 <= b["predicted"] < 1 for b in bins)
    assert bins[0]["predicted"] == pytest.approx(0.6225, abs=1e-4)  # sigmoid of 0.5


def test_length_goes_with_what_it_goes_with() -> None:
    found = length_correlation(ITEMS, [[1.0, 2.0, 3.0], [2.0, 1.0]])
    assert found["all"] == pytest.approx(1.0)
    assert found["within_prompt"] == pytest.approx(1.0)
    assert found["labellers"] == pytest.approx(-1.0)
    assert length_correlation(ITEMS, [[1.0] * 3, [1.0] * 2])["all"] is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_drawn(language: str) -> None:
    drawn = reward_figures(card(ITEMS, SCORES, ["bob"], EPOCHS), Words(language))
    assert drawn.count("<figure") == 4
    assert "bob" in drawn
    assert reward_figures({}, Words(language)) == ""


GOOD = {"prompt": "Say hello.", "completions": ["Hello.", "Hi there.", "No."], "ranks": [0, 1, 2], "labeller": "ann"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["the cat and the dog 0123\n"] * 30, TokenizerConfig(vocab_size=270))


def write(file: Path, *changes: dict[str, object]) -> Path:
    file.write_text("".join(json.dumps(GOOD | change) + "\n" for change in changes))
    return file


def test_each_kind_left_out_is_counted_with_its_first(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tied, long, far = {"ranks": [1, 1, 1]}, {"completions": ["x" * 90, "y" * 90, "z"]}, {"prompt": "far " * 60}
    empty = {"completions": ["", "Hi.", "No."]}
    file, said = write(tmp_path / "c.jsonl", {}, tied, long, {}, far, tied, empty), list[str]()
    kept = read_comparisons(file, tokenizer, 200, said.append, context=240)
    assert [item.number for item in kept] == [1, 4, 7]
    told = "\n".join(said)
    for line in (
        "2 comparisons (the first is record 2) left out: fewer than two distinct ranks",
        "1 comparison (the first is record 3) left out: longer than 200 tokens",
        "1 comparison (the first is record 5) left out: the model's context of 240 tokens",
        "1 comparison (the first is record 7) kept with an empty completion",
    ):
        assert line in told
    assert len(said) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ranks": [0, 1, 2, 3]}, "3 completions but 4 ranks"),
        ({"completions": ["alone"], "ranks": [0]}, "needs at least 2 completions"),
        ({"completions": [], "ranks": []}, "needs at least 2 completions"),
        ({"completions": ["a", None, "b"]}, "a completion is no text"),
        ({"ranks": [0, None, 1]}, "each must be a whole number"),
        ({"ranks": [0, 1.5, 1]}, "each must be a whole number"),
        ({"meta": {"ended": [True]}}, "meta.ended is .*; give one flag a completion, 3 in all"),
    ],
)
def test_what_is_no_comparison_is_named_and_counted(
    tokenizer: Tokenizer, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    file = write(tmp_path / "c.jsonl", {}, change, {}, change)
    with pytest.raises(UserError, match=r"c.jsonl:2: .*" + said + ".*; 2 of 4 rows are no records, more than"):
        read_comparisons(file, tokenizer, 200, print)


def test_completions_that_are_all_one_text_are_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    said: list[str] = []
    file = write(tmp_path / "c.jsonl", {}, {"completions": ["a", "a", "a"]}, {})
    assert [item.number for item in read_comparisons(file, tokenizer, 200, said.append)] == [1, 3]
    assert "1 comparison (the first is record 2) left out: all completions are the same text" in said[0]


def test_nothing_but_ties_is_not_enough(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 usable comparisons"):
        read_comparisons(write(tmp_path / "c.jsonl", {"ranks": [0, 0, 0]}), tokenizer, 200, lambda line: None)


def test_the_histogram_counts_every_score_once_on_its_side() -> None:
    drawn = histogram(ITEMS, SCORES)
    assert sum(drawn["best"]) == 2  # the best-ranked of each prompt: 2.0 and -0.5
    assert sum(drawn["others"]) == 3
    assert len(drawn["edges"]) == len(drawn["best"]) + 1 == len(drawn["others"]) + 1
    assert (drawn["edges"][0], drawn["edges"][-1]) == (-0.5, 2.0)
    assert (drawn["best"][0], drawn["best"][-1]) == (1, 1)


def test_the_scores_summary_is_numpys() -> None:
    scores = card(ITEMS, SCORES, [], EPOCHS)["scores"]
    flat = np.array([2.0, 1.0, 1.5, 0.5, -0.5])
    assert scores["mean"] == pytest.approx(flat.mean())
    assert scores["std"] == pytest.approx(flat.std())
    assert (scores["low"], scores["high"]) == (
        pytest.approx(-0.5 + 0.04 * 1.0), pytest.approx(1.5 + 0.96 * 0.5),
    )  # fmt: skip
    assert scores["n"] == 5


def test_a_model_that_is_as_sure_as_it_is_right_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 6000)
    right = rng.random(6000) < 1 / (1 + np.exp(-margins))
    items = [Ranked(PromptRow([1], [[2], [3]]), (0, 1) if won else (1, 0), "x") for won in right]
    bins = calibration(items, [[m, 0.0] for m in margins.tolist()])
    assert [b["n"] for b in bins] == [750] * 8
    for b in bins:
        assert b["observed"] == pytest.approx(b["predicted"], abs=0.06)
    assert [b["predicted"] for b in bins] == sorted(b["predicted"] for b in bins)


def test_length_within_a_prompt_leaves_the_prompts_apart() -> None:
    # long prompts score higher, but within each the shorter reply does
    items = [
        Ranked(PromptRow([1], [[1] * a, [1] * b]), (0, 1), "x") for a, b in ((2, 3), (12, 13), (22, 23))
    ]  # fmt: skip
    correlations = length_correlation(items, [[1.0, 0.5], [11.0, 10.5], [21.0, 20.5]])
    assert correlations["all"] == pytest.approx(
        float(np.corrcoef([2, 3, 12, 13, 22, 23], [1, 0.5, 11, 10.5, 21, 20.5])[0, 1])
    )
    assert correlations["all"] > 0.9
    assert correlations["within_prompt"] == pytest.approx(-1.0)
    assert correlations["labellers"] == pytest.approx(-1.0)
