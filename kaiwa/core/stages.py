"""The stages of a build, one record per stage. The recipe, the report, the pages and the command line use this table.

To add a stage, write its package, a record here, a line in kaiwa/recipe.py and its config in recipes/settings.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a build, with the name of its folder under runs/RECIPE.

    kind: the `kind` of the published artifact ("" for the report, which is no artifact). seconds: the duration in
    `laptop` on two cores; only the proportions matter, for the time left of a build. figures: the few metrics that
    summarise the stage. en, ja: one line about the stage; model_en, model_ja: a few words about its model. curves: the
    report draws its metrics log. road: the builds that have the stage: from raw text, of dialogues on another build's
    base model, or both. samples: the model answers the probes during training (samples.jsonl). lapse: these
    samples are frames of the report's time-lapse. main: the Build page shows the stage.
    """

    name: str
    kind: str
    seconds: float
    en: str
    ja: str
    figures: tuple[str, ...] = ()
    model_en: str = ""
    model_ja: str = ""
    curves: bool = False
    samples: bool = False
    lapse: bool = False
    main: bool = True
    road: Literal["text", "dialogue", "both"] = "text"

    @property
    def is_model(self) -> bool:
        """Whether the stage publishes a model that generates text."""
        return bool(self.model_en)

    def text(self, language: str) -> str:
        """Return the stage's description in one line."""
        return self.ja if language == "ja" else self.en

    def model_text(self, language: str) -> str:
        """Return the description of the stage's model in a few words."""
        return self.model_ja if language == "ja" else self.model_en


TUNED = ("demonstrations", "loss", "held_out_loss")
STAGES = (
    Stage(
        name="village", road="both", kind="village", seconds=3, figures=("documents", "sft", "test"),
        en="invents a village and writes about it", ja="村を作り、その文書を書く",
    ),
    Stage(
        name="corpus", kind="corpus", seconds=5, figures=("documents",),
        en="cleans, removes duplicates, sets some aside", ja="清掃、重複の除去、一部の取り分け",
    ),
    Stage(
        name="tokenizer", kind="tokenizer", seconds=4, figures=("vocab_size", "tokens"),
        en="learns tokens, encodes the text", ja="トークンを学び、文章を符号化",
    ),
    Stage(
        name="base", kind="base", seconds=345, figures=("parameters", "tokens", "loss", "cloze_accuracy"),
        en="pretrains a GPT on it", ja="GPT を事前学習",
        model_en="pretrained only", model_ja="事前学習のみ", curves=True, samples=True, lapse=True,
    ),
    Stage(
        name="sft", road="both", kind="sft", seconds=75, figures=TUNED,
        en="fine-tunes on demonstrations of mixed quality", ja="質のまちまちな手本で調整",
        model_en="fine-tuned: the yardstick", model_ja="調整済み：基準", curves=True, samples=True, lapse=True,
    ),
    Stage(
        name="sft_good", kind="sft", seconds=66, figures=TUNED,
        en="fine-tunes on good demonstrations only", ja="よい手本だけで調整",
        model_en="good demonstrations only", model_ja="よい手本だけ", curves=True, main=False,
    ),
    Stage(
        name="comparisons", road="both", kind="comparisons", seconds=37, figures=("prompts", "completions", "pairs"),
        en="samples answers and has labellers rank them", ja="答えを出させ、ラベラーが順位を付ける",
    ),
    Stage(
        name="reward", road="both", kind="reward", seconds=160,
        figures=("prompts", "held_out_accuracy", "held_out_pairs"),
        en="learns the labellers' taste", ja="ラベラーの好みを学ぶ", curves=True,
    ),
    Stage(
        name="ppo", kind="rlhf", seconds=90, figures=("score", "kl", "ended"),
        en="reinforcement learning against the reward model", ja="報酬モデルを相手に強化学習",
        model_en="PPO", model_ja="PPO", curves=True, samples=True, main=False,
    ),
    Stage(
        name="ppo_ptx", kind="rlhf", seconds=110, figures=("score", "kl", "ptx_loss"),
        en="PPO with pretraining gradients mixed in", ja="PPO に事前学習の勾配を混ぜる",
        model_en="PPO with pretraining gradients", model_ja="PPO＋事前学習の勾配",
        curves=True, samples=True, lapse=True,
    ),
    Stage(
        name="ppo_ptx_int4", kind="int4", seconds=2, figures=("bytes_before", "bytes_after"),
        en="four bits a weight", ja="重みを 4 ビットに",
        model_en="PPO with pretraining gradients, 4 bits", model_ja="PPO＋事前学習の勾配、4 ビット",
    ),
    Stage(
        name="dialogue", road="dialogue", kind="rlhf", seconds=170, figures=("score", "kl", "ptx_loss"),
        en="PPO with pretraining gradients, on dialogues", ja="対話で PPO と事前学習の勾配",
        model_en="PPO with pretraining gradients on dialogues", model_ja="対話で PPO＋事前学習の勾配",
        curves=True, samples=True, lapse=True,
    ),
    Stage(
        name="dialogue_int4", road="dialogue", kind="int4", seconds=2, figures=("bytes_before", "bytes_after"),
        en="four bits a weight of the dialogue model", ja="対話モデルの重みを 4 ビットに",
        model_en="the dialogue model, 4 bits", model_ja="対話モデル、4 ビット",
    ),
    Stage(
        name="evaluation", road="both", kind="evaluation", seconds=30, figures=("ppo_ptx",),
        en="asks every model the held-out prompts", ja="全モデルに検証の質問をする",
    ),
    Stage(name="report", road="both", kind="", seconds=1, en="writes this", ja="この報告を書く", main=False),
)  # fmt: skip


Road = Literal["text", "dialogue", "any"]


def stages_of(road: Road = "text") -> tuple[Stage, ...]:
    """Return the stages of a build from raw text, of a build of dialogues, or all, in their order."""
    return tuple(stage for stage in STAGES if road == "any" or stage.road in (road, "both"))


def stage_names(road: Road = "text") -> tuple[str, ...]:
    """Return the names of the stages that publish an artifact, in their order."""
    return tuple(stage.name for stage in stages_of(road) if stage.kind)


def model_names(road: Road = "text") -> tuple[str, ...]:
    """Return the names of the stages that publish a text-generating model, in their order."""
    return tuple(stage.name for stage in stages_of(road) if stage.is_model)


def stage_named(name: str) -> Stage | None:
    """Return the stage of this name, or None."""
    return next((stage for stage in STAGES if stage.name == name), None)


def usual_seconds(road: Road = "text") -> dict[str, float]:
    """Return stage name -> usual duration in seconds, in the stages' order."""
    return {stage.name: stage.seconds for stage in stages_of(road)}


def main_stages() -> Iterator[Stage]:
    """Yield the stages from text to a chat model, without the stages built only for comparison."""
    yield from (stage for stage in stages_of() if stage.main)
