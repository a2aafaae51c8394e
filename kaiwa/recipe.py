"""The build from raw text to a chat model: every stage and its inputs. Start reading here; each stage is a package.

village ─► corpus ─► tokenizer ─► pretrain ─► sft ─► compare ─► reward ─► rlhf ─► quantize ─► evaluate ─► report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context, Progress
from kaiwa.core.lock import lock
from kaiwa.core.stages import model_names, usual_seconds
from kaiwa.core.status import Status
from kaiwa.corpus import run as corpus
from kaiwa.corpus.config import CorpusConfig
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
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft import run as sft
from kaiwa.tokenizer import run as tokenizer
from kaiwa.world import run as world


def build(recipe: Recipe, ctx: Context, out: Path) -> Path:
    """Build every stage that is missing; return the path of the report. A killed or stopped build can be continued.

    kaiwa/core/stages.py lists the stages with their order and texts.
    """
    recipe = with_labellers(recipe)
    with lock(out):
        status = Status(out, recipe.name, usual_seconds())
        ctx.show, ctx.logs, ctx.seed = _show_both(status.show, ctx.show), out / "logs", recipe.seed
        artifacts: dict[str, Artifact] = {}

        def stage(name: str, run: Callable[[Path], Artifact]) -> Artifact:
            with status.stage(name):
                ctx.check_stop()
                artifacts[name] = run(out / name)
            return artifacts[name]

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
        models = {name: artifacts[name] for name in model_names()}
        stage(
            "evaluation",
            lambda out: evaluate.run(
                recipe.evaluate, ctx, models=models, village=village, tokens=tokens, reward=judge, comparisons=ranked,
                out=out,
            ),
        )  # fmt: skip
        with status.stage("report"):
            report = write_report(out, recipe, artifacts)
        status.end("finished")
        return report


def corpus_config(recipe: Recipe, village: Artifact) -> CorpusConfig:
    """Return the corpus' configuration with the folder of this build's village filled in."""
    sources = (replace(s, path=s.path.replace("{village}", str(village.path))) for s in recipe.corpus.sources)
    return replace(recipe.corpus, sources=tuple(sources))


def _show_both(first: Callable[[Progress], None], second: Callable[[Progress], None]) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        first(progress)
        second(progress)

    return show
