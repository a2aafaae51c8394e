"""The village stage: all files of the invented world, from one seed.

documents.jsonl   text for pretraining (a source of the corpus)
neutral.jsonl     the same kinds of text with random names (for the tokenizer)
sft.jsonl, sft_good.jsonl     demonstrations of mixed and of good quality
reward.jsonl, rlhf.jsonl      prompts for the comparisons, and for reinforcement learning
test.jsonl        prompts with held-out villagers, wordings and tasks
dialogues.jsonl, turn3.jsonl  held-out dialogues, where the configuration has dialogues
probes.jsonl      cloze questions and a few chats for every checkpoint
village.json      the villagers and their facts, for the pages
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.rng import python_rng
from kaiwa.text.records import write_jsonl
from kaiwa.world.config import WorldConfig
from kaiwa.world.demonstrations import write_demonstrations
from kaiwa.world.dialogues import mix_dialogues, write_dialogues, write_turn3
from kaiwa.world.documents import write_documents
from kaiwa.world.language import ATTRIBUTES, LANGUAGES
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.village import Village, build_village

CHAT_PROBES = ("known", "unknown", "howto", "harmful", "sum", "facts")


def run(config: WorldConfig, ctx: Context, *, out: Path) -> Artifact:
    """Write and publish the village's documents, demonstrations, prompts and probes."""
    plan = Plan("village", config, {}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        village = build_village(config.village)
        parts: dict[str, Iterable[dict[str, Any]]] = {
            "documents": (
                d.to_json()
                for d in write_documents(
                    village, n_bytes=config.document_bytes, seed=ctx.seed, growing=config.growing, faults=config.faults
                )
            ),
            "neutral": (
                d.to_json()
                for d in write_documents(village, n_bytes=config.neutral_bytes, seed=ctx.seed, neutral_names=True)
            ),
            "sft": _demonstrations(village, config, ctx.seed, "mixed"),
            "sft_good": _demonstrations(village, config, ctx.seed, "good"),
            "reward": (p.to_json() for p in mixed_prompts(village, config, config.reward_prompts, ctx.seed, "reward")),
            "rlhf": (p.to_json() for p in mixed_prompts(village, config, config.rlhf_prompts, ctx.seed, "rlhf")),
            "test": (
                p.to_json()
                for p in write_prompts(village, n=config.test_prompts, seed=ctx.seed, split="test", purpose="test")
            ),
            "probes": write_probes(village, config.probes, ctx.seed),
        }
        if config.dialogues:
            held_out = write_dialogues(village, n=config.test_dialogues, seed=ctx.seed, split="test", purpose="test")
            turn3 = write_turn3(village, n=config.turn3_items, seed=ctx.seed)
            parts |= {"dialogues": (p.to_json() for p in held_out), "turn3": (p.to_json() for p in turn3)}
        for at, (name, rows) in enumerate(parts.items()):
            ctx.check_stop()
            ctx.show(Progress("village", at, len(parts), name))
            work.metrics[name] = write_jsonl(work.path / f"{name}.jsonl", rows)
        text = json.dumps(describe(village), ensure_ascii=False, indent=1)
        (work.path / "village.json").write_text(text, encoding="utf-8")
    return open_artifact(out)


def mixed_prompts(village: Village, config: WorldConfig, n: int, seed: int, purpose: str) -> list[VillagePrompt]:
    """Return n prompts, of which the configuration's share are dialogues."""
    n_dialogues = round(n * config.dialogues)
    singles = write_prompts(village, n=n - n_dialogues, seed=seed, purpose=purpose)
    if not n_dialogues:
        return singles
    return mix_dialogues(singles, write_dialogues(village, n=n_dialogues, seed=seed, purpose=purpose), seed)


def _demonstrations(village: Village, config: WorldConfig, seed: int, quality: str) -> Iterator[dict[str, Any]]:
    prompts = mixed_prompts(village, config, config.demonstrations, seed, "sft")
    for one in write_demonstrations(village, n=len(prompts), seed=seed, quality=quality, prompts=prompts):
        yield one.to_json()


def write_probes(village: Village, n: int, seed: int) -> list[dict[str, Any]]:
    """Return n cloze questions about taught and held-out villagers with two shots each, and chats.

    The chats are one prompt per language and kind of CHAT_PROBES.
    """
    rng = python_rng(seed, "probes", village.config.seed)
    rows: list[dict[str, Any]] = []
    people = list(village.villagers)
    for i in range(n):
        language = village.config.languages[i % len(village.config.languages)]
        words = LANGUAGES[language]
        attribute = rng.choice([a for a in ATTRIBUTES if a in words.values])
        chosen = rng.sample(people, 3)
        lines = []
        for villager in chosen:
            question = rng.choice(words.questions[attribute]).format(name=villager.names[language])
            value = words.values[attribute][villager.facts[attribute]]
            answer = rng.choice(words.facts[attribute]).format(name=villager.names[language], value=value)
            lines.append((f"Q: {question}\nA:", answer))
        shots = "\n".join(f"{q} {a}" for q, a in lines[:2])
        last = chosen[2]
        rows.append(
            {
                "id": f"cloze-{i}",
                "kind": "cloze",
                "language": language,
                "group": last.group,
                "text": f"{shots}\n{lines[2][0]}",
                "answer": words.values[attribute][last.facts[attribute]],
            }
        )
    for language in village.config.languages:
        prompts = write_prompts(village, n=120, seed=seed + 1, split="test", purpose="test", languages={language: 1.0})
        for kind in CHAT_PROBES:
            prompt = next((p for p in prompts if p.kind == kind and not p.form), None)
            if prompt is not None:
                messages = [m.to_json() for m in prompt.messages]
                rows.append({"id": f"{kind}-{language}", "kind": "chat", "language": language, "messages": messages})
    return rows


def describe(village: Village) -> dict[str, Any]:
    """Return the village's facts in words, by language."""
    people = []
    for villager in village.villagers:
        facts = {
            language: {
                attribute: LANGUAGES[language].values[attribute][value]
                for attribute, value in villager.facts.items()
                if attribute in LANGUAGES[language].values
            }
            for language in village.config.languages
        }
        people.append({"id": villager.id, "group": villager.group, "names": dict(villager.names), "facts": facts})
    return {"languages": list(village.config.languages), "villagers": people}
