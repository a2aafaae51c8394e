"""Which checkpoint? The one whose replies the reward model likes best (InstructGPT, C.1: not the validation loss)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.engine.trainable import open_base
from kaiwa.model.folder import load_scalar
from kaiwa.reward.packing import PromptRow
from kaiwa.reward.run import score_rows
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.text.records import conversation, read_jsonl
from kaiwa.text.template import render


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model's replies: mean score with its interval, share that ended, mean tokens."""

    name: str
    score: Interval
    ended: float
    tokens: float


@torch.no_grad()
def select(
    models: Mapping[str, Path],
    ctx: Context,
    *,
    reward: Artifact,
    prompts: Path,
    most: int = 200,
    max_tokens: int = 48,
    temperature: float = 1.0,
) -> list[Candidate]:
    """Every model answers the first `most` prompts of a JSONL of {"messages"}, with the same seeds; best first."""
    judge = load_scalar(reward.path).to(ctx.device)
    asked = [conversation(row["messages"]) for row in list(read_jsonl(prompts))[:most]]
    if not asked:
        raise UserError(f'{prompts}: no prompt in it; give a JSONL file of {{"messages"}}')
    found: list[Candidate] = []
    for at, (name, folder) in enumerate(models.items()):
        ctx.check_stop()
        ctx.show(Progress("select", at, len(models), name))
        decoder, tokenizer = open_base(folder)
        ids = [render(tokenizer, messages, add_generation_prompt=True).ids for messages in asked]
        replies = Engine(decoder.to(ctx.device), tokenizer).generate(
            ids, max_tokens=max_tokens, temperature=temperature, seed=ctx.seed, stop_ids=(tokenizer.eos_id,)
        )
        rows = [PromptRow(p, [r.ids or (tokenizer.eos_id,)]) for p, r in zip(ids, replies, strict=True)]
        scores: Sequence[float] = score_rows(judge, rows, tokenizer.pad_id, ctx.device).tolist()
        ended = sum(r.finish_reason == "stop" for r in replies) / len(replies)
        found.append(Candidate(name, bootstrap(scores), ended, sum(len(r.ids) for r in replies) / len(replies)))
    return sorted(found, key=lambda one: -one.score.mean)
