"""The recipe: raw text to a chat model, each stage wired to the next. Read this first; each line is a folder.

village ─► corpus ─► tokenizer ─► pretrain ─► sft ─► compare ─► reward ─► rlhf ─► quantize ─► evaluate ─► report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.lock import lock
from kaiwa.core.status import Status
from kaiwa.corpus import run as corpus
from kaiwa.engine.probes import read_probes
from kaiwa.evaluate import run as evaluate
from kaiwa.pretrain import run as pretrain
from kaiwa.quantize import run as quantize
from kaiwa.recipes.cards import chat_card
from kaiwa.recipes.labels import village_gold, village_label, with_labellers
from kaiwa.recipes.report import write_report
from kaiwa.recipes.settings import Recipe
from kaiwa.reward import collect
from kaiwa.reward import run as reward
from kaiwa.rlhf import run as rlhf
from kaiwa.sft import run as sft
from kaiwa.tokenizer import run as tokenizer
from kaiwa.world import run as world

STAGES = {  # in their order, with the seconds of one `laptop` on two cores: they weigh the time left of a build
    "village": 3, "corpus": 5, "tokenizer": 4, "base": 345, "sft": 75, "sft_good": 66, "comparisons": 37, "reward": 160,
    "ppo": 90, "ppo_ptx": 110, "ppo_ptx_int4": 2, "evaluation": 30, "report": 1,
}  # fmt: skip


def build(recipe: Recipe, ctx: Context, out: Path) -> Path:
    """Builds every stage that is not there yet; returns the report. A killed or stopped build goes on where it was."""
    recipe = with_labellers(recipe)
    with lock(out):
        status = Status(out, recipe.name, STAGES)
        ctx.show, ctx.logs, ctx.seed = _both(status.show, ctx.show), out / "logs", recipe.seed
        made: dict[str, Artifact] = {}

        def stage(name: str, run: Callable[..., Artifact], config: Any, **parents: Any) -> Artifact:
            with status.stage(name):
                ctx.check_stop()
                made[name] = run(config, ctx, out=out / name, **parents)
            return made[name]

        village = stage("village", world.run, recipe.village)
        text = stage("corpus", corpus.run, with_village(recipe, village))
        neutral = village.path / "neutral.jsonl"
        tokens = stage("tokenizer", tokenizer.run, recipe.tokenizer, corpus=text, neutral_village=neutral)
        probes = read_probes(village.path / "probes.jsonl")

        def card(name: str) -> dict[str, Any]:
            return chat_card(name, recipe, village.path)

        base = stage("base", pretrain.run, recipe.pretrain, tokens=tokens, probes=probes, chat=card("base"))
        demos = village.path / "sft.jsonl"
        tune: dict[str, Any] = {"base": base, "tokens": tokens, "probes": probes}
        first = stage("sft", sft.run, recipe.sft, **tune, demonstrations=demos, chat=card("sft"))
        good = village.path / "sft_good.jsonl"
        stage("sft_good", sft.run, recipe.sft, **tune, demonstrations=good, chat=card("sft_good"))
        asked: dict[str, Any] = {"prompts": village.path / "reward.jsonl", "label": village_label(recipe, village)}
        ranked = stage("comparisons", collect.run, recipe.compare, policy=first, **asked)
        ranks = ranked.path / "comparisons.jsonl"
        given: dict[str, Any] = {"comparisons": ranks, "demonstrations": demos, "gold": village_gold(village)}
        judge = stage("reward", reward.run, recipe.reward, policy=first, **given)
        loop: dict[str, Any] = {"policy": first, "reward": judge, "tokens": tokens, "probes": probes}
        loop["prompts"] = village.path / "rlhf.jsonl"
        plain = replace(recipe.rlhf, ptx_coefficient=0.0, ptx_ratio=0.0)
        stage("ppo", rlhf.run, plain, **loop, chat=card("ppo"))
        best = stage("ppo_ptx", rlhf.run, recipe.rlhf, **loop, chat=card("ppo_ptx"))
        int4 = {"model": best, "tokens": tokens, "chat": card("ppo_ptx_int4")}
        stage("ppo_ptx_int4", quantize.run, recipe.quantize, **int4)
        models = {n: made[n] for n in ("base", "sft", "sft_good", "ppo", "ppo_ptx", "ppo_ptx_int4")}
        checked: dict[str, Any] = {"models": models, "village": village, "tokens": tokens}
        stage("evaluation", evaluate.run, recipe.evaluate, **checked, reward=judge, comparisons=ranked)
        with status.stage("report"):
            report = write_report(out, recipe, made)
        status.end("finished")
        return report


def with_village(recipe: Recipe, village: Artifact) -> Any:
    """The corpus' configuration with the folder of this build's village filled in."""
    sources = (replace(s, path=s.path.replace("{village}", str(village.path))) for s in recipe.corpus.sources)
    return replace(recipe.corpus, sources=tuple(sources))


def _both(first: Callable[[Any], None], second: Callable[[Any], None]) -> Callable[[Any], None]:
    def show(progress: Any) -> None:
        first(progress)
        second(progress)

    return show
