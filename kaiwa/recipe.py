"""The build from raw text to a chat model: every stage and its inputs. Start reading here; each stage is a package.

village ─► corpus ─► tokenizer ─► pretrain ─► sft ─► compare ─► reward ─► rlhf ─► quantize ─► evaluate ─► report

InstructGPT became ChatGPT by the same three steps on other data. So a build of dialogues (`build_dialogue`) has no
stage of its own: it begins at sft, on the base model of a build from raw text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kaiwa.core.artifact import MANIFEST, Artifact, open_artifact
from kaiwa.core.config import from_json, override
from kaiwa.core.context import Context, Progress
from kaiwa.core.lock import lock
from kaiwa.core.stages import Road, model_names, usual_seconds
from kaiwa.core.status import Status
from kaiwa.corpus import run as corpus
from kaiwa.corpus.config import CorpusConfig
from kaiwa.engine.probes import read_probes
from kaiwa.evaluate import run as evaluate
from kaiwa.pretrain import run as pretrain
from kaiwa.quantize import run as quantize
from kaiwa.recipes.cards import chat_card
from kaiwa.recipes.labels import village_gold, village_label, with_labellers
from kaiwa.recipes.presets import find_recipe
from kaiwa.recipes.report import write_report
from kaiwa.recipes.settings import Recipe
from kaiwa.reward import collect
from kaiwa.reward import run as reward
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft import run as sft
from kaiwa.tokenizer import run as tokenizer
from kaiwa.world import run as world
from kaiwa.world.village import VillageConfig


def build(recipe: Recipe, ctx: Context, out: Path) -> Path:
    """Build every stage that is missing; return the path of the report. A killed or stopped build can be continued.

    kaiwa/core/stages.py lists the stages with their order and texts.
    """
    if recipe.start:
        return build_dialogue(recipe, ctx, out)
    recipe = with_labellers(recipe)
    with _building(recipe, ctx, out, "text") as stage:
        village = stage("village", lambda out: world.run(recipe.village, ctx, out=out))
        documents = corpus_config(recipe, village)
        text = stage("corpus", lambda out: corpus.run(documents, ctx, out=out))
        neutral = village.path / "neutral.jsonl"
        tokens = stage(
            "tokenizer",
            lambda out: tokenizer.run(recipe.tokenizer, ctx, corpus=text, neutral_village=neutral, out=out),
        )
        probes = read_probes(village.path / "probes.jsonl")
        cards = {name: chat_card(name, recipe, village.path) for name in model_names()}
        base = stage(
            "base",
            lambda out: pretrain.run(recipe.pretrain, ctx, tokens=tokens, probes=probes, chat=cards["base"], out=out),
        )

        def fine_tune(name: str, demonstrations: Path) -> Artifact:
            return stage(
                name,
                lambda out: sft.run(
                    recipe.sft, ctx, base=base, tokens=tokens, demonstrations=demonstrations,
                    probes=probes, chat=cards[name], out=out,
                ),
            )  # fmt: skip

        demonstrations = village.path / "sft.jsonl"
        first = fine_tune("sft", demonstrations)
        fine_tune("sft_good", village.path / "sft_good.jsonl")
        prompts, label = village.path / "reward.jsonl", village_label(recipe, village)
        ranked = stage(
            "comparisons",
            lambda out: collect.run(recipe.compare, ctx, policy=first, prompts=prompts, label=label, out=out),
        )
        comparisons, gold = ranked.path / "comparisons.jsonl", village_gold(village)
        judge = stage(
            "reward",
            lambda out: reward.run(
                recipe.reward, ctx, policy=first, comparisons=comparisons, demonstrations=demonstrations, gold=gold,
                out=out,
            ),
        )  # fmt: skip

        def reinforce(name: str, config: RLHFConfig) -> Artifact:
            return stage(
                name,
                lambda out: rlhf.run(
                    config, ctx, policy=first, reward=judge, tokens=tokens, prompts=village.path / "rlhf.jsonl",
                    probes=probes, chat=cards[name], out=out,
                ),
            )  # fmt: skip

        reinforce("ppo", override(recipe.rlhf, {"ptx_coefficient": 0.0, "ptx_ratio": 0.0}))
        best = reinforce("ppo_ptx", recipe.rlhf)
        stage(
            "ppo_ptx_int4",
            lambda out: quantize.run(
                recipe.quantize, ctx, model=best, text=tokens, chat=cards["ppo_ptx_int4"], out=out
            ),
        )
        models = {name: stage.artifacts[name] for name in model_names()}
        stage(
            "evaluation",
            lambda out: evaluate.run(
                recipe.evaluate, ctx, models=models, village=village, tokens=tokens, reward=judge, comparisons=ranked,
                out=out,
            ),
        )  # fmt: skip
        return stage.report(base)


def build_dialogue(recipe: Recipe, ctx: Context, out: Path) -> Path:
    """Build a model for dialogues on the base of the recipe's `start`, which is built first where it is not there."""
    start = _start(recipe, ctx, out.parent / recipe.start)
    people = from_json(VillageConfig, start["village"].manifest["config"]["village"])
    recipe = with_labellers(replace(recipe, village=replace(recipe.village, village=people)))
    with _building(recipe, ctx, out, "dialogue") as stage:
        village = stage("village", lambda out: world.run(recipe.village, ctx, out=out))
        tokens, probes = start["tokenizer"], read_probes(village.path / "probes.jsonl")
        cards = {name: chat_card(name, recipe, village.path) for name in model_names("dialogue")}
        demonstrations = village.path / "sft.jsonl"
        first = stage(
            "sft",
            lambda out: sft.run(
                recipe.sft, ctx, base=start["base"], tokens=tokens, demonstrations=demonstrations, probes=probes,
                chat=cards["sft"], out=out,
            ),
        )  # fmt: skip
        prompts, label = village.path / "reward.jsonl", village_label(recipe, village)
        ranked = stage(
            "comparisons",
            lambda out: collect.run(recipe.compare, ctx, policy=first, prompts=prompts, label=label, out=out),
        )
        judge = stage(
            "reward",
            lambda out: reward.run(
                recipe.reward, ctx, policy=first, comparisons=ranked.path / "comparisons.jsonl",
                demonstrations=demonstrations, gold=village_gold(village), out=out,
            ),
        )  # fmt: skip
        best = stage(
            "dialogue",
            lambda out: rlhf.run(
                recipe.rlhf, ctx, policy=first, reward=judge, tokens=tokens, prompts=village.path / "rlhf.jsonl",
                probes=probes, chat=cards["dialogue"], out=out,
            ),
        )  # fmt: skip
        card = cards["dialogue_int4"]
        stage(
            "dialogue_int4", lambda out: quantize.run(recipe.quantize, ctx, model=best, text=tokens, chat=card, out=out)
        )
        models = {"ppo_ptx": start["ppo_ptx"]} | {name: stage.artifacts[name] for name in model_names("dialogue")}
        stage(
            "evaluation",
            lambda out: evaluate.run(
                recipe.evaluate, ctx, models=models, village=village, tokens=tokens, reward=judge, comparisons=ranked,
                out=out,
            ),
        )  # fmt: skip
        return stage.report(start["base"])


def _start(recipe: Recipe, ctx: Context, folder: Path) -> dict[str, Artifact]:
    """Return the artifacts that a build of dialogues goes on with; build what is missing."""
    names = ("village", "tokenizer", "base", "ppo_ptx")
    missing = [name for name in names if not (folder / name / MANIFEST).is_file()]
    if missing:
        ctx.say(f"{recipe.name} goes on with {folder}, which is built first ({', '.join(missing)} not there yet)")
        build(find_recipe(recipe.start), ctx, folder)
    return {name: open_artifact(folder / name) for name in names}


@dataclass(slots=True)
class StageRunner:
    """Runs the stages of a build in turn, with its status; holds their artifacts."""

    recipe: Recipe
    ctx: Context
    out: Path
    status: Status
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    def __call__(self, name: str, run: Callable[[Path], Artifact]) -> Artifact:
        """Run a stage into its folder, and return its artifact."""
        with self.status.stage(name):
            self.ctx.check_stop()
            self.artifacts[name] = run(self.out / name)
        return self.artifacts[name]

    def report(self, base: Artifact) -> Path:
        """Write the report and end the build. base: the pretrained model, for the receipt."""
        with self.status.stage("report"):
            report = write_report(self.out, self.recipe, self.artifacts, base)
        self.status.end("finished")
        return report


@contextlib.contextmanager
def _building(recipe: Recipe, ctx: Context, out: Path, road: Road) -> Iterator[StageRunner]:
    """Yield the runner of a build's stages, and hold the build's lock meanwhile."""
    with lock(out):
        status, show = Status(out, recipe.name, usual_seconds(road)), ctx.show
        ctx.show, ctx.logs, ctx.seed = _show_both(status.show, show), out / "logs", recipe.seed
        try:
            yield StageRunner(recipe, ctx, out, status)
        finally:
            ctx.show = show


def corpus_config(recipe: Recipe, village: Artifact) -> CorpusConfig:
    """Return the corpus' configuration with the folder of this build's village filled in."""
    sources = (replace(s, path=s.path.replace("{village}", str(village.path))) for s in recipe.corpus.sources)
    return replace(recipe.corpus, sources=tuple(sources))


def _show_both(first: Callable[[Progress], None], second: Callable[[Progress], None]) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        first(progress)
        second(progress)

    return show
