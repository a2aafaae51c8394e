"""Selection of a checkpoint by the reward model's score of its replies, not by validation loss (InstructGPT, C.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kaiwa.catalog.trainable import open_base
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.engine.engine import Engine
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.reward.packing import PromptRow
from kaiwa.reward.run import score_rows
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.text import data
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.tokenizer.folder import same_tokens
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model's results: mean score of its replies with an interval, share of ended replies, mean tokens."""

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
    options: data.DataOptions = data.PLAIN,
) -> list[Candidate]:
    """Return the candidates, the best first. Every model answers the first `most` prompts with the same seeds.

    prompts: a file of any shape that `text.data` reads. UserError if no prompt leaves room for a reply.
    """
    judge, scored = load_scalar(reward.path).to(ctx.device), Tokenizer.load(reward.path)
    conversations = [messages for _, messages in data.read_prompts(prompts, ctx.say, options)][:most]
    candidates: list[Candidate] = []
    for at, (name, folder) in enumerate(models.items()):
        ctx.check_stop()
        ctx.show(Progress("select", at, len(models), name))
        decoder, tokenizer = open_base(folder)
        same_tokens(tokenizer, scored, folder, reward.path)
        room = min(m.config.max_length for m in (decoder, judge.decoder)) - max_tokens
        ids = [render(tokenizer, messages, add_generation_prompt=True).ids for messages in conversations]
        fit = [prompt for prompt in ids if len(prompt) <= room]
        if not fit:
            raise UserError(f"{prompts}: no prompt leaves room for a reply of {max_tokens} tokens in the context")
        if len(fit) < len(ids):
            first = next(i for i, prompt in enumerate(ids, 1) if len(prompt) > room)
            ctx.say(
                f"{prompts}: {len(ids) - len(fit)} prompts longer than {room} tokens left out, first record {first}"
            )
        ids = fit
        replies = Engine(decoder.to(ctx.device), tokenizer).generate(
            ids, Sampling(max_tokens=max_tokens, temperature=temperature, seed=ctx.seed), stop_ids=tokenizer.stop_ids
        )
        rows = [PromptRow(p, [r.ids or (tokenizer.end_id,)]) for p, r in zip(ids, replies, strict=True)]
        scores: Sequence[float] = score_rows(judge, rows, tokenizer.pad_id, ctx.device).tolist()
        ended = sum(r.finish_reason == "stop" for r in replies) / len(replies)
        candidates.append(Candidate(name, bootstrap(scores), ended, sum(len(r.ids) for r in replies) / len(replies)))
    return sorted(candidates, key=lambda one: -one.score.mean)
