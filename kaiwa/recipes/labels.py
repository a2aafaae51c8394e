"""The village's labellers as a labelling function: each prompt goes to one of them, a tenth to held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import from_json
from kaiwa.core.rng import python_rng
from kaiwa.recipes.recipe import Recipe
from kaiwa.reward.collect import Label
from kaiwa.text.records import Comparison
from kaiwa.world.labeller import label_comparison, labellers
from kaiwa.world.prompts import prompt_from_json
from kaiwa.world.village import VillageConfig, build_village

HELD_OUT_SHARE = 0.1


def village_label(recipe: Recipe, artifact: Artifact) -> Label:
    """A function that has one simulated person rank the completions of a village prompt."""
    village = build_village(from_json(VillageConfig, artifact.manifest["config"]["village"]))
    config = recipe.village
    people = labellers(recipe.seed, n=config.n_labellers, held_out=config.n_held_out_labellers)
    inside = [p for p in people if not p.held_out]
    outside = [p for p in people if p.held_out]

    def label(row: dict[str, Any], completions: Sequence[str], ended: Sequence[bool], number: int) -> Comparison:
        rng = python_rng(recipe.seed, "label", number)
        who = rng.choice(outside) if outside and rng.random() < HELD_OUT_SHARE else rng.choice(inside)
        made = label_comparison(village, prompt_from_json(row), completions, who, rng, ended=ended)
        meta = {**made.meta, "ended": list(ended)}
        return Comparison(
            prompt=made.prompt, completions=made.completions, ranks=made.ranks, labeller=made.labeller, meta=meta
        )

    return label
