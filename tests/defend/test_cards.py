"""The cards' figures, measured again where no model is needed."""

import csv
import json
from pathlib import Path

import pytest

from kaiwa.defend.cards import FALSE_BLOCKS, REWRITES_ONLY, card
from kaiwa.defend.parse import PARTS
from kaiwa.defend.similarity import Similarity
from kaiwa.redteam.targets.benign_twins import TWINS

DATA = Path(__file__).parents[3] / "shared" / "data"


def refused(texts: list[str]) -> tuple[int, int]:
    similarity = Similarity()
    return sum(similarity.suspicion(text) > similarity.threshold for text in texts), len(texts)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_twins(language: str) -> None:
    assert refused([twin.user for twin in TWINS[language]]) == FALSE_BLOCKS["similarity"][f"twins {language}"]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_instructions_dangerous_words_and_japanese() -> None:
    rows = json.loads((DATA / "instructions_en" / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    with (DATA / "xstest" / "xstest_prompts.csv").open(encoding="utf-8") as file:
        safe = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    lines = (DATA / "jcommonsenseqa" / "train-v1.3.json").read_text(encoding="utf-8").splitlines()[:600]
    card = FALSE_BLOCKS["similarity"]
    assert refused([f"{row['instruction']} {row.get('input', '')}" for row in rows]) == card["instructions"]
    assert refused(safe) == card["sound dangerous"]
    assert refused([json.loads(line)["question"] for line in lines]) == card["Japanese"]


def test_every_defence_has_a_card() -> None:
    cards = {name: card(name) for name in PARTS}
    assert cards["similarity"].startswith("instructions 0 of 999, sound dangerous 0 of 250")
    assert cards["sandwich"] == REWRITES_ONLY
    assert cards["perplexity"].startswith("instructions 9 of 60")
    assert set(FALSE_BLOCKS) <= set(cards)
