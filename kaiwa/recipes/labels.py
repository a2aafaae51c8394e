"""The village's labellers as a labelling function: one labeller ranks each prompt, for a tenth a held-out labeller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import from_json
from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.recipes.settings import Recipe
from kaiwa.reward.collect import Label
from kaiwa.reward.collect_config import Labellers
from kaiwa.reward.run import Gold
from kaiwa.text.records import Comparison
from kaiwa.world.judge import judge
from kaiwa.world.labeller import GOLD, Labeller, label_comparison, labellers
from kaiwa.world.prompts import prompt_from_json
from kaiwa.world.village import VillageConfig, build_village

HELD_OUT_SHARE = 0.1


def people(recipe: Recipe) -> tuple[Labeller, ...]:
    """Return the village's labellers, the held-out labellers last."""
    return labellers(recipe.seed, n=recipe.village.n_labellers, held_out=recipe.village.n_held_out_labellers)


def with_labellers(recipe: Recipe) -> Recipe:
    """Return the recipe with the village's labellers filled in.

    The configuration of the comparisons names the labellers, so that a change builds the stage again. The reward model
    holds out the village's held-out labellers, unless the recipe names others.
    """
    village = recipe.village
    these = Labellers(number=village.n_labellers, held_out=village.n_held_out_labellers, seed=recipe.seed)
    if recipe.compare.labellers not in (Labellers(), these):
        raise UserError("compare.labellers are the village's; give village.n_labellers, village.n_held_out_labellers")
    held_out = recipe.reward.held_out_labellers or tuple(p.name for p in people(recipe) if p.held_out)
    compare, reward = replace(recipe.compare, labellers=these), replace(recipe.reward, held_out_labellers=held_out)
    return replace(recipe, compare=compare, reward=reward)


def village_gold(artifact: Artifact) -> Gold:
    """Return a function from a village comparison to the utilities by the gold judge (no noise, no bias)."""
    village = build_village(from_json(VillageConfig, artifact.manifest["config"]["village"]))

    def gold(record: Comparison) -> list[float]:
        prompt = prompt_from_json(record.meta["prompt"])
        ended = record.meta.get("ended") or [True] * len(record.completions)
        return [GOLD.utility(judge(village, prompt, t, e)) for t, e in zip(record.completions, ended, strict=True)]

    return gold


def village_label(recipe: Recipe, artifact: Artifact) -> Label:
    """Return a function with which one simulated labeller ranks the completions of a village prompt."""
    village = build_village(from_json(VillageConfig, artifact.manifest["config"]["village"]))
    inside = [p for p in people(recipe) if not p.held_out]
    outside = [p for p in people(recipe) if p.held_out]

    def label(row: dict[str, Any], completions: Sequence[str], ended: Sequence[bool], number: int) -> Comparison:
        rng = python_rng(recipe.seed, "label", number)
        labeller = rng.choice(outside) if outside and rng.random() < HELD_OUT_SHARE else rng.choice(inside)
        record = label_comparison(village, prompt_from_json(row), completions, labeller, rng, ended=ended)
        meta = {**record.meta, "ended": list(ended)}
        return Comparison(
            prompt=record.prompt,
            completions=record.completions,
            ranks=record.ranks,
            labeller=record.labeller,
            meta=meta,
        )

    return label
