"""Verdicts in words, and the claims of the built-in experiments in Japanese."""

import dataclasses
import json
import math

import pytest

from kaiwa.lab.experiments.assignment import LIMITS, assignment
from kaiwa.lab.experiments.verdicts import WORDS, comparison_json, points_text, verdict_text
from kaiwa.lab.reports.claims import JAPANESE, TITLES, claim_text, title_text
from kaiwa.stats.comparison import PairedComparison, compare
from kaiwa.studies.cot import CLAIMS

BETTER = compare([0] * 30, [1] * 30)


def changed(**values: object) -> PairedComparison:
    return dataclasses.replace(BETTER, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comparison", "english", "japanese"),
    [
        (BETTER, "better by 100.0 points", "100.0 ポイント良い"),
        (compare([1] * 30, [0] * 30), "worse by 100.0 points", "100.0 ポイント悪い"),
        (compare([1] * 400, [1] * 400, margin=0.05), "no difference within 5 points", "差は 5 ポイント以内(同等)"),
        (
            changed(verdict="unknown", n_needed=1234),
            "cannot tell, need n = 1,234",
            "判定できない(必要な件数 n = 1,234)",
        ),
        (
            changed(verdict="unknown", n_needed=None),
            "cannot tell: nothing to compare",
            "判定できない(比べる対象がない)",
        ),
        (compare([], []), "cannot tell: nothing to compare", "判定できない(比べる対象がない)"),
    ],
)
def test_words(comparison: PairedComparison, english: str, japanese: str) -> None:
    assert verdict_text(comparison) == english
    assert verdict_text(comparison, "ja") == japanese


def test_a_judge_no_better_than_a_coin_has_words_of_its_own() -> None:
    assert "coin" in verdict_text(changed(verdict="unjudged", n_needed=None))
    assert WORDS["en"].keys() == WORDS["ja"].keys()


def test_points() -> None:
    assert [points_text(x) for x in (0.123, -0.05, 0.0, math.nan, math.inf)] == ["+12.3", "-5.0", "+0.0", "–", "–"]


def test_json_has_null_for_what_does_not_exist() -> None:
    value = comparison_json(compare([], []), ["x"])
    assert (value["mean_a"], value["difference"], value["low"]) == (None, None, None)
    assert value["unmatched"] == ["x"]
    assert json.loads(json.dumps(comparison_json(BETTER, []), allow_nan=False))["won"] == 30


def test_every_claim_of_the_built_in_experiments_is_translated() -> None:
    claims = {c.claim for c in assignment(0.05).contrasts} | {claim for _, _, claim in CLAIMS}
    assert claims <= JAPANESE.keys()
    for claim in claims:
        assert claim_text(claim, "en") == claim
        assert claim_text(claim, "ja") != claim
    assert claim_text("my own claim", "ja") == "my own claim"


def test_titles() -> None:
    for name in TITLES:
        assert title_text(name, "en") != title_text(name, "ja")
    assert title_text("own", "ja") == "own"
    assert LIMITS.keys() == {"en", "ja"}
