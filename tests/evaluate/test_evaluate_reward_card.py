"""The reward model's card: pairs counted by hand, the ceiling, and the share of the way to it."""

import json
from pathlib import Path

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.evaluate.reward_card import gold_pairs, reward_card
from kaiwa.text.records import Comparison
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.village import Village, VillageConfig, build_village


@pytest.fixture(scope="module")
def village() -> Village:
    return build_village(VillageConfig(n_taught=6, n_held_out=2))


@pytest.fixture(scope="module")
def price(village: Village) -> VillagePrompt:
    prompts = write_prompts(village, n=30, kinds={"price": 1.0})
    return next(prompt for prompt in prompts if not prompt.form)


def record(
    village: Village, price: VillagePrompt, ranks: tuple[int, ...], labeller: str = "a", ended: list[bool] | None = None
) -> Comparison:
    """Ranks of: the right price, a wrong one, the right one in other words, a wrong one in other words."""
    coins = village.prices[price.attribute]
    texts = (f"{coins} coins.", f"{coins + 1} coins.", f"It costs {coins} coins.", f"It costs {coins + 1} coins.")
    meta = {"prompt": price.to_json(), "ended": ended} if ended else {"prompt": price.to_json()}
    return Comparison(
        prompt=price.messages, completions=texts[: len(ranks)], ranks=ranks, labeller=labeller, meta=meta
    )  # fmt: skip


def test_the_gold_judge_agrees_with_a_labeller_that_is_right(village: Village, price: VillagePrompt) -> None:
    assert gold_pairs(record(village, price, (0, 1)), village) == (1.0, 1)
    assert gold_pairs(record(village, price, (1, 0)), village) == (0.0, 1)


def test_pairs_that_the_labeller_ties_do_not_count(village: Village, price: VillagePrompt) -> None:
    assert gold_pairs(record(village, price, (0, 0)), village) == (0.0, 0)
    # right and right tied, wrong and wrong tied: the four other pairs count
    assert gold_pairs(record(village, price, (0, 1, 0, 1)), village) == (4.0, 4)


def test_where_the_gold_judge_sees_no_difference_it_scores_one_half(village: Village, price: VillagePrompt) -> None:
    # order of the labeller: 0, 2, 1, 3. Gold ties (0, 2) and (1, 3), and agrees on the four others
    assert gold_pairs(record(village, price, (0, 2, 1, 3)), village) == (5.0, 6)


def test_an_answer_that_did_not_end_is_worse_for_the_judge_too(village: Village, price: VillagePrompt) -> None:
    ranks = (1, 2, 0)  # the labeller has the other wording first: the first one did not end
    assert gold_pairs(record(village, price, ranks, ended=[True, True, True]), village) == (2.5, 3)
    assert gold_pairs(record(village, price, ranks, ended=[False, True, True]), village)[0] > 2.5


def card(village: Village, folder: Path, records: list[Comparison], **metrics: float) -> dict[str, dict[str, float]]:
    file = folder / "comparisons.jsonl"
    file.write_text("".join(json.dumps(r.to_json()) + "\n" for r in records), encoding="utf-8")
    return reward_card(Artifact(folder, {"metrics": metrics}), file, village, ("out",))


def test_the_share_of_the_way_from_chance_to_the_ceiling(
    village: Village, price: VillagePrompt, tmp_path: Path
) -> None:
    right, wrong = record(village, price, (0, 1)), record(village, price, (1, 0))
    outside = record(village, price, (0, 1), labeller="out")
    rows = card(
        village, tmp_path, [right, right, right, wrong, outside], held_out_accuracy=0.625, held_out_pairs=40,
        held_out_labellers_accuracy=0.75, held_out_labellers_pairs=8,
    )  # fmt: skip
    assert rows["held_out"] == {"accuracy": 0.625, "pairs": 40, "ceiling": 0.75, "share_of_ceiling": 0.5}
    assert rows["held_out_labellers"] == {"accuracy": 0.75, "pairs": 8, "ceiling": 1.0, "share_of_ceiling": 0.5}


def test_without_a_ceiling_above_chance_there_is_no_share(
    village: Village, price: VillagePrompt, tmp_path: Path
) -> None:
    right, wrong = record(village, price, (0, 1)), record(village, price, (1, 0))
    rows = card(village, tmp_path, [right, wrong], held_out_accuracy=0.9)
    assert rows["held_out"]["ceiling"] == 0.5
    assert rows["held_out"]["share_of_ceiling"] is None
    assert rows["held_out_labellers"] == {"accuracy": None, "pairs": None, "ceiling": None, "share_of_ceiling": None}
