"""Collecting comparisons: K completions per prompt are sampled from a policy, and a labeller ranks them.

The labeller is any function. Records of simulated labellers and of people have the same format (InstructGPT,
section 3.2: K = 4 to 9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from kaiwa.core.artifact import Artifact, Plan, fingerprint, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng, seed_for
from kaiwa.engine.engine import Engine
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.text.history import fit_conversation
from kaiwa.text.records import Comparison, Completion, Conversation, read_jsonl, write_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.text.shapes import prompt_of
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer

# (the prompt's JSON row, completions, which of them ended, number of the prompt) -> a ranked record
Label = Callable[[dict[str, Any], Sequence[str], Sequence[bool], int], Comparison]


def run(config: CollectConfig, ctx: Context, *, policy: Artifact, prompts: Path, label: Label, out: Path) -> Artifact:
    """Sample K completions per prompt, rank them with `label`, and publish comparisons.jsonl.

    prompts: a JSONL of {"messages", …}.
    """
    plan = Plan("comparisons", config, {"policy": policy, "prompts": fingerprint(prompts)}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        tokenizer = Tokenizer.load(policy.path)
        engine = Engine(load_decoder(policy.path).to(ctx.device), tokenizer)
        rows = list(read_jsonl(prompts))  # whole rows, for the labeller
        if not rows:
            raise UserError(f'{prompts}: no prompt in it; give a JSONL file of {{"messages"}}')
        rng = python_rng(ctx.seed, "collect")
        ks = [rng.randint(config.k_min, config.k_max) for _ in rows]
        room = engine.max_length - config.max_tokens
        ids = [_prompt_ids(tokenizer, row, room, f"{prompts}, record {number}") for number, row in enumerate(rows, 1)]
        records: list[dict[str, Any]] = []
        block = 128
        for at in range(0, len(rows), block):
            ctx.check_stop()
            part = range(at, min(at + block, len(rows)))
            answers = engine.generate(
                [ids[i] for i in part for _ in range(ks[i] - config.strays)],
                Sampling(
                    max_tokens=config.max_tokens, temperature=config.temperature, seed=seed_for(ctx.seed, "collect", at)
                ),
                stop_ids=tokenizer.stop_ids,
            )
            common = most_frequent(answers)
            cursor = 0
            for i in part:
                n = ks[i] - config.strays
                replies, cursor = answers[cursor : cursor + n], cursor + n
                other_replies = answers[: cursor - n] + answers[cursor:]
                replies = [*replies, *strays(rng, config.strays, common, other_replies)]
                rng.shuffle(replies)
                ended = [answer.finish_reason == "stop" for answer in replies]
                records.append(label(rows[i], [answer.text for answer in replies], ended, i).to_json())
            ctx.show(Progress(out.name, part.stop, len(rows), f"{sum(ks[: part.stop])} completions"))
        write_jsonl(work.path / "comparisons.jsonl", records)
        distinct = [len(set(record["completions"])) / len(record["completions"]) for record in records]
        work.metrics.update(
            prompts=len(records),
            completions=sum(len(record["completions"]) for record in records),
            pairs=sum(_n_pairs(record["ranks"]) for record in records),
            ended=sum(sum(r["meta"]["ended"]) for r in records) / sum(len(r["completions"]) for r in records),
            distinct=sum(distinct) / len(distinct),
        )
    return open_artifact(out)


def _prompt_ids(tokenizer: Tokenizer, row: dict[str, Any], room: int, where: str) -> list[int]:
    """Return the ids of a prompt; a history of more than `room` tokens loses its oldest turns."""

    def ids_of(messages: Conversation) -> list[int]:
        return render(tokenizer, messages, add_generation_prompt=True).ids

    try:
        return ids_of(fit_conversation(prompt_of(row), lambda messages: len(ids_of(messages)), room))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def most_frequent(answers: Sequence[Completion], n: int = 8) -> list[Completion]:
    """Return the n most frequent ended answers over all prompts."""
    ended = [a for a in answers if a.finish_reason == "stop"]
    by_text = {a.text: a for a in ended}
    return [by_text[text] for text, _ in Counter(a.text for a in ended).most_common(n)]


def strays(rng: Random, n: int, common: Sequence[Completion], other_replies: Sequence[Completion]) -> list[Completion]:
    """Return n replies to other prompts: alternately one of the most frequent replies, and a reply to another prompt.

    A reply that occurs in training only where it fits ("I don't know", "You're welcome") gets a high score for every
    prompt, and PPO exploits this. A single prompt without an ended reply has no strays.
    """
    pools = [pool for pool in (common, other_replies) if pool]
    return [rng.choice(pools[i % len(pools)]) for i in range(n)] if pools else []


def _n_pairs(ranks: Sequence[int]) -> int:
    return sum(a != b for i, a in enumerate(ranks) for b in ranks[:i])
