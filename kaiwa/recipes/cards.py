"""The description of each model of a build on the chat page, with prompts to start a chat."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from kaiwa.recipes.settings import Recipe
from kaiwa.text.records import read_jsonl

ABOUT = {
    "base": {
        "en": "The pretrained model: it continues text and was never taught to answer.",
        "ja": "事前学習だけを終えたモデルです。文章の続きを書きますが、答え方はまだ教わっていません。",
    },
    "sft": {
        "en": "Fine-tuned on demonstrations of mixed quality: it answers, but pads, invents and obeys too readily.",
        "ja": "質のまちまちな手本で調整したモデルです。答えますが、余計なことを言い、作り話もし、何にでも従います。",
    },
    "sft_good": {
        "en": "Fine-tuned on good demonstrations only: the strong baseline.",
        "ja": "よい手本だけで調整したモデルです。比べるための手ごわい基準です。",
    },
    "ppo": {
        "en": "Trained by reinforcement learning against the reward model, without pretraining gradients.",
        "ja": "報酬モデルに対する強化学習（事前学習の勾配なし）で調整したモデルです。",
    },
    "ppo_ptx": {
        "en": "Trained by reinforcement learning with pretraining gradients (PPO-ptx): the build's own ChatGPT.",
        "ja": "事前学習の勾配を混ぜた強化学習（PPO-ptx）で調整した、この組み立ての ChatGPT です。",
    },
    "ppo_ptx_int4": {
        "en": "The PPO-ptx model at four bits a weight.",
        "ja": "PPO-ptx のモデルを 1 重み 4 ビットにしたものです。",
    },
}
ABOUT |= {
    "dialogue": {
        "en": "Trained by PPO-ptx on dialogues of several turns: it knows what was said before.",
        "ja": "何往復かの対話で PPO-ptx により調整したモデルです。前に話したことを踏まえて答えます。",
    },
    "dialogue_int4": {
        "en": "The dialogue model at four bits a weight.",
        "ja": "対話モデルを 1 重み 4 ビットにしたものです。",
    },
}
KNOWS = {
    "en": " It knows one small village: its people, their trades, homes, animals and food, recipes and prices.",
    "ja": " 知っているのは小さな村のことだけです。村人の仕事、家、動物、好物、作り方、市の値段など。",
}
STARTER_KINDS = ("known", "howto", "unknown", "price", "harmful")


def chat_card(name: str, recipe: Recipe, village: Path) -> dict[str, Any]:
    """Return chat.json of a build's model: languages, a description, prompts to start with."""
    languages = list(recipe.village.village.languages)
    about = {language: ABOUT[name][language] + KNOWS[language] for language in ("en", "ja")}
    return {"languages": languages, "about": about, "starters": _starters(village, tuple(languages))}


@cache
def _starters(village: Path, languages: tuple[str, ...]) -> dict[str, list[str]]:
    """Return a question of each kind from the held-out prompts, by language."""
    by_language: dict[str, dict[str, str]] = {language: {} for language in languages}
    for row in read_jsonl(village / "test.jsonl"):
        kinds = by_language[row["language"]]
        if row["kind"] in STARTER_KINDS and len(row["messages"]) == 1 and row["kind"] not in kinds:
            kinds[row["kind"]] = row["messages"][0]["content"]
    return {language: [kinds[k] for k in STARTER_KINDS if k in kinds] for language, kinds in by_language.items()}
