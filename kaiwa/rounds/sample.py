"""A new round: K outputs to each prompt, drawn from a mix of policies, become a batch to label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.catalog.open_model import open_entry
from kaiwa.core.artifact import Artifact, Plan, data_parent, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.lock import lock
from kaiwa.core.rng import python_rng
from kaiwa.feedback.batch_records import Batch, NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.sample_outputs import sample_items
from kaiwa.rlhf.memory import read_config
from kaiwa.rlhf.prompts import newest_turns
from kaiwa.rounds.folder import RoundConfig, RoundsOf
from kaiwa.text.chat_model import ChatModel
from kaiwa.text.data import read_prompts
from kaiwa.text.records import conversation, read_jsonl, write_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.run import mixed_prompts

HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 200  # of a person's prompts: never sampled in a round, only compared on


def new_round(
    rounds: RoundsOf,
    config: RoundConfig,
    ctx: Context,
    store: BatchStore,
    *,
    prompts: Path | None = None,
    seed: int = 0,
) -> Batch:
    """Sample a round's outputs and queue them; return the batch. A killed call goes on; nothing is queued twice.

    prompts: a file of any usual shape, or None for new prompts of the build's village.
    """
    ctx.seed = seed + 1000 * config.number
    with lock(rounds.folder(config.number)):
        outputs = _sample(rounds, config, ctx, prompts)
        name = rounds.batch_name(config.number)
        if all(batch.name != name for batch in store.batches()):
            store.create(name, k=config.k, n_labels=config.labels, seed=seed)
        store.add_items(name, [_item(row) for row in read_jsonl(outputs.path / "outputs.jsonl")])
        return store.batch(name)


def _sample(rounds: RoundsOf, config: RoundConfig, ctx: Context, prompts: Path | None) -> Artifact:
    models = {name: rounds.model(name, config.number) for name in config.weights()}
    parents = dict(models)
    if prompts is not None:
        parents["prompts"] = data_parent(prompts)
    elif rounds.village is not None:
        parents["village"] = rounds.village
    plan = Plan("outputs", config, parents, ctx.seed)
    out = rounds.folder(config.number) / "outputs"
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    rows, held_out = _prompt_rows(rounds, config, ctx, prompts)
    with publish(out, plan) as work:
        tokenizer = Tokenizer.load(rounds.sft.path)
        room = min(read_config(one.path).max_length for one in models.values()) - config.max_tokens
        chats: dict[str, ChatModel] = {
            name: open_entry(entry_by_name_or_path(str(one.path)), ctx.say).model for name, one in models.items()
        }
        fitted = [newest_turns(conversation(row["messages"]), tokenizer, room) for row in rows]
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        items = sample_items(fitted, chats, config.weights(), k=config.k, sampling=sampling, seed=ctx.seed)
        lines = []
        for number, (item, row) in enumerate(zip(items, rows, strict=True), 1):
            lines.append(_line(item, row))
            ctx.show(Progress(out.name, number, len(rows), f"{config.k * number} outputs"))
        work.metrics.update(prompts=write_jsonl(work.path / "outputs.jsonl", lines), outputs=config.k * len(lines))
        write_jsonl(work.path / "held_out.jsonl", held_out)
    return open_artifact(out)


def _prompt_rows(
    rounds: RoundsOf, config: RoundConfig, ctx: Context, prompts: Path | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the prompts of a round and those kept for comparing, as rows of {"messages"}.

    Villages write new prompts for every round, and have test prompts. Of a file, the same tenth is kept in every round.
    """
    if prompts is None:
        village, world = rounds.world()
        return [p.to_json() for p in mixed_prompts(village, world, config.n, ctx.seed, "reward")], []
    rows = {repr(m): {"messages": [one.to_json() for one in m]} for _, m in read_prompts(prompts, ctx.say)}
    if len(rows) < 2:
        raise UserError(f"{prompts}: {len(rows)} prompt in it; a round needs 2 or more, some of them to compare on")
    order = sorted(rows)
    python_rng(0, "held-out prompts").shuffle(order)
    n_kept = min(MOST_HELD_OUT, max(1, round(HELD_OUT_SHARE * len(order))))
    rest = order[n_kept:]
    python_rng(ctx.seed, "round prompts").shuffle(rest)
    return [rows[key] for key in rest[: config.n]], [rows[key] for key in order[:n_kept]]


def _line(item: NewItem, row: dict[str, Any]) -> dict[str, Any]:
    meta = dict(item.meta) | ({"prompt": row} if "kind" in row else {})
    return {
        "prompt": [m.to_json() for m in item.prompt],
        "outputs": list(item.outputs),
        "sources": [source.to_json() for source in item.sources],
        "meta": meta,
    }


def _item(row: dict[str, Any]) -> NewItem:
    sources = tuple(OutputSource(**source) for source in row["sources"])
    return NewItem(prompt=conversation(row["prompt"]), outputs=tuple(row["outputs"]), sources=sources, meta=row["meta"])


def next_number(rounds: RoundsOf) -> int:
    """Return the number of the round to begin, or that was begun and killed before its outputs were there.

    UserError where the newest round waits for its training.
    """
    numbers = rounds.numbers
    if numbers and rounds.artifact(numbers[-1], "policy") is None:
        run, number = rounds.run, numbers[-1]
        raise UserError(f"round {number} of {run} is not trained yet: label it, then `kaiwa round train {run}`")
    return len(numbers) + 1
