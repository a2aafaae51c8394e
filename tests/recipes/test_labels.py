"""The village's labellers in a build: who ranks, who is held out, and the same ranking for the same prompt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import to_json
from kaiwa.core.errors import UserError
from kaiwa.recipes.labels import HELD_OUT_SHARE, people, village_gold, village_label, with_labellers
from kaiwa.recipes.settings import Recipe
from kaiwa.reward.collect_config import CollectConfig, Labellers
from kaiwa.reward.config import RewardConfig
from kaiwa.text.records import Comparison
from kaiwa.world.config import WorldConfig
from kaiwa.world.labeller import GOLD
from kaiwa.world.prompts import write_prompts
from kaiwa.world.village import VillageConfig, build_village

WORLD = WorldConfig(village=VillageConfig(n_taught=6, n_held_out=2))
RECIPE = Recipe(name="test", seed=4, village=WORLD)
VILLAGE = build_village(WORLD.village)
ARTIFACT = Artifact(Path("village"), {"config": to_json(WORLD)})
ROWS = [prompt.to_json() for prompt in write_prompts(VILLAGE, n=20, kinds={"price": 1.0})]


def answers(row: dict[str, Any]) -> tuple[str, ...]:
    coins = VILLAGE.prices[row["attribute"]]
    return (f"It costs {coins} coins.", f"It costs {coins + 1} coins.", "I don't know.")


def test_the_last_ones_are_held_out() -> None:
    assert [p.held_out for p in people(RECIPE)] == [False] * 4 + [True] * 2
    assert people(RECIPE) == people(RECIPE)
    assert people(RECIPE) != people(replace(RECIPE, seed=5))


def test_the_plan_names_the_labellers_and_the_reward_model_holds_the_same_ones_out() -> None:
    recipe = with_labellers(replace(RECIPE, village=replace(WORLD, n_labellers=5, n_held_out_labellers=1)))
    assert recipe.compare.labellers == Labellers(number=5, held_out=1, seed=4)
    assert recipe.reward.held_out_labellers == ("labeller-4",)
    assert with_labellers(recipe) == recipe  # a second time changes nothing


def test_held_out_labellers_of_ones_own_stay() -> None:
    recipe = with_labellers(replace(RECIPE, reward=RewardConfig(held_out_labellers=("labeller-0",))))
    assert recipe.reward.held_out_labellers == ("labeller-0",)


def test_other_labellers_than_the_villages_are_refused() -> None:
    compare = CollectConfig(labellers=Labellers(number=3, held_out=1))
    with pytest.raises(UserError, match=r"give village.n_labellers, village.n_held_out_labellers"):
        with_labellers(replace(RECIPE, compare=compare))


def test_the_same_prompt_is_ranked_by_the_same_person_in_the_same_way() -> None:
    label, again = village_label(RECIPE, ARTIFACT), village_label(RECIPE, ARTIFACT)
    for number in (0, 1, 7):
        row = ROWS[number]
        first = label(row, answers(row), (True, True, True), number)
        assert first == again(row, answers(row), (True, True, True), number)
        assert first.completions == answers(row)
        assert first.meta["ended"] == [True, True, True]
        assert first.meta["prompt"] == row


def test_a_tenth_goes_to_held_out_people() -> None:
    label = village_label(RECIPE, ARTIFACT)
    row = ROWS[0]
    names = [label(row, answers(row)[:2], (True, True), number).labeller for number in range(600)]
    outside = {p.name for p in people(RECIPE) if p.held_out}
    share = sum(name in outside for name in names) / len(names)
    assert share == pytest.approx(HELD_OUT_SHARE, abs=0.04)  # more than three standard deviations of 600 draws
    assert set(names) == {p.name for p in people(RECIPE)}


def test_without_held_out_people_nobody_is_missing() -> None:
    recipe = replace(RECIPE, village=replace(WORLD, n_labellers=1, n_held_out_labellers=0))
    label = village_label(recipe, ARTIFACT)
    assert {label(ROWS[0], ("a", "b"), (True, True), n).labeller for n in range(20)} == {"labeller-0"}


def test_gold_is_the_judge_without_noise() -> None:
    gold = village_gold(ARTIFACT)
    row = ROWS[0]
    record = village_label(RECIPE, ARTIFACT)(row, answers(row), (True, True, False), 0)
    right, wrong, unknown = gold(record)
    assert right > wrong > unknown  # an unfinished "I don't know" is the worst of the three
    assert right == pytest.approx(1.0)
    meta = {name: value for name, value in record.meta.items() if name != "ended"}
    ended = Comparison(prompt=record.prompt, completions=record.completions, ranks=record.ranks, meta=meta)
    assert gold(ended)[2] == pytest.approx(unknown + 0.9)  # what not ending costs
    assert GOLD.noise == 0.0
