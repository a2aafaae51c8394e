"""The reward model's card drawn."""

from typing import Any

import pytest

from kaiwa.report.curves import BOTTOM, HEIGHT, TOP
from kaiwa.report.reward_card import calibration, epochs, histogram, labellers, reward_figures
from kaiwa.report.words import Words

from .read_html import cells_of, lines_of, text_of

WORDS = Words("en")
EPOCHS = [
    {
        f"epoch_{kind}_{measure}": 0.5 + 0.1 * i
        for kind in ("training", "validation")
        for measure in ("accuracy", "loss")
    }
    for i in range(3)
]
CARD: dict[str, Any] = {
    "labellers": [
        {"name": "careful", "accuracy": 0.7, "ceiling": 0.8, "pairs": 1200, "held_out": False},
        {"name": "", "accuracy": 0.66, "ceiling": None, "pairs": 90, "held_out": True},
    ],
    "calibration": [{"predicted": 0.5, "observed": 0.5}, {"predicted": 1.0, "observed": 0.9}],
    "histogram": {"edges": [0.0, 1.0, 2.0], "best": [1, 3], "others": [6, 2]},
    "epochs": EPOCHS,
    "length": {"all": 0.31, "within_prompt": -0.126, "labellers": 0.0},
}


def test_labellers_seen_and_unseen() -> None:
    head, known, unseen = cells_of(labellers(CARD["labellers"], WORDS))
    assert head == ["labeller", "accuracy", "ceiling", "pairs", "learned from"]
    assert known == ["careful", "70 %", "80 %", "1,200", "yes, other prompts"]
    assert unseen == ["–", "66 %", "–", "90", "never"]


def test_calibration_is_drawn_beside_the_line_of_equality() -> None:
    drawn = lines_of(calibration(CARD["calibration"], WORDS))
    assert list(drawn) == ["observed", "as predicted"]
    height = HEIGHT - TOP - BOTTOM  # the axis has round ends: .4 and 1
    assert drawn["observed"][0] == drawn["as predicted"][0]
    assert drawn["observed"][0][1] == pytest.approx(HEIGHT - BOTTOM - height / 6, abs=0.06)
    assert drawn["as predicted"][1] == (350.0, TOP)
    assert drawn["observed"][1][1] == pytest.approx(HEIGHT - BOTTOM - height * 5 / 6, abs=0.06)


def test_scores_are_shares_of_their_kind_at_the_middles_of_bins() -> None:
    html = histogram(CARD["histogram"], WORDS)
    drawn = lines_of(html)
    assert list(drawn) == ["ranked best", "others"]
    assert 'data-x="44 350 0.5 1.5"' in html
    assert [y for _, y in drawn["ranked best"]] == [y for _, y in reversed(drawn["others"])], ".25, .75 and .75, .25"


def test_no_completions_are_no_division_by_zero() -> None:
    drawn = lines_of(histogram({"edges": [0.0, 1.0, 2.0], "best": [0, 0], "others": [1, 1]}, WORDS))
    assert {y for _, y in drawn["ranked best"]} == {HEIGHT - BOTTOM}


def test_epochs_are_counted_from_one() -> None:
    accuracy, loss = epochs(EPOCHS, WORDS)
    assert 'data-x="44 350 1 3"' in accuracy
    assert list(lines_of(loss)) == ["training", "held out"]
    assert text_of(accuracy).startswith("Accuracy by epoch")
    assert text_of(loss).startswith("Loss by epoch")


def test_one_epoch_is_no_curve() -> None:
    assert epochs(EPOCHS[:1], WORDS) == []


def test_the_whole_card() -> None:
    html = reward_figures(CARD, WORDS)
    assert html.count("<svg") == 4
    assert "+0.31 over all completions, −0.13 within prompts" in text_of(html)
    assert reward_figures({}, WORDS) == ""
