"""`chatgpt`: the three steps of InstructGPT on dialogues; `chatgpt-ja` and `tiny-chatgpt` go on with other base models.

ChatGPT was made as InstructGPT was, from dialogues of which people wrote both sides, mixed with the instructions turned
into dialogues (OpenAI, 2022). Half of the demonstrations, of the ranked prompts and of the prompts for reinforcement
learning are dialogues here; the others are the instructions of the base's recipe.
"""

from __future__ import annotations

from dataclasses import replace

from kaiwa.recipes.laptop import laptop, laptop_ja
from kaiwa.recipes.settings import Recipe
from kaiwa.recipes.tiny import tiny
from kaiwa.text.data import DataOptions

TURNS = DataOptions(max_length_policy="turns")  # a history that is too long loses its oldest turns


def on_dialogues(start: Recipe, name: str) -> Recipe:
    """Return the recipe that goes on with `start`'s base model on dialogues and instructions, half and half."""
    village = replace(start.village, dialogues=0.5, document_bytes=200_000, neutral_bytes=50_000)
    return replace(
        start,
        name=name,
        start=start.name,
        village=village,
        sft=replace(start.sft, data=TURNS),
        reward=replace(start.reward, data=TURNS, width=640),
        rlhf=replace(start.rlhf, data=TURNS),
        evaluate=replace(start.evaluate, rival="ppo_ptx"),
    )


def chatgpt() -> Recipe:
    """Return the recipe of dialogues on the base model of `laptop`, about a quarter of an hour on two cores."""
    recipe = on_dialogues(laptop(), "chatgpt")
    return replace(recipe, village=replace(recipe.village, demonstrations=6000, reward_prompts=4500))


def chatgpt_ja() -> Recipe:
    """Return the recipe of dialogues in English and Japanese on the base model of `laptop-ja`."""
    recipe = on_dialogues(laptop_ja(), "chatgpt-ja")
    return replace(recipe, village=replace(recipe.village, demonstrations=6500, turn3_items=30))


def tiny_chatgpt() -> Recipe:
    """Return the recipe of about a minute on the base model of `tiny`, to check that everything works."""
    recipe = on_dialogues(tiny(), "tiny-chatgpt")
    village = replace(recipe.village, demonstrations=800, test_dialogues=60, turn3_items=12)
    return replace(recipe, village=village)
