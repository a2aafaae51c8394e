"""Training of a round: RM_n on the labels of all rounds, then policy_n against it, both from the build's SFT model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.config import from_json
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.lock import lock
from kaiwa.evaluate.reward_card import gold_pairs
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import comparisons
from kaiwa.recipes.labels import village_gold
from kaiwa.reward import run as reward
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rounds.folder import RoundsOf
from kaiwa.rounds.simulate import village_labellers
from kaiwa.stats.agreement import agreement
from kaiwa.text.records import Comparison, comparison, read_jsonl, write_jsonl

LEAST = 2  # rankings that a reward model needs
CURVE = 4  # points of the over-optimisation curve: the policy is published after each part of its updates


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsConfig:
    """The labels of a round's training: those of rounds 1 to `rounds`."""

    rounds: int


def train_round(rounds: RoundsOf, ctx: Context, store: BatchStore, *, seed: int = 0) -> Artifact:
    """Train the newest round and return its policy. A killed call goes on with the same labels.

    UserError without labels, with too few, and while another process trains this round.
    """
    number = rounds.newest()
    folder = rounds.folder(number)
    with lock(folder):
        ctx.logs, ctx.seed = folder / "logs", seed
        labels = take_labels(rounds, number, ctx, store)
        file = labels.path / "comparisons.jsonl"
        of_village = _is_of_village(file)
        held_out = tuple(p.name for p in village_labellers(rounds, seed) if p.held_out) if of_village else ()
        config = from_json(RewardConfig, rounds.settings("reward") | {"held_out_labellers": list(held_out)})
        village = rounds.village
        judge = reward.run(
            config, ctx, policy=rounds.sft, comparisons=file, out=folder / "reward",
            demonstrations=village.path / "sft.jsonl" if village is not None else None,
            gold=village_gold(village) if village is not None and of_village else None,
        )  # fmt: skip
        rl = from_json(RLHFConfig, rounds.settings(rounds.last_policy))
        return rlhf.run(
            rl, ctx, policy=rounds.sft, reward=judge, tokens=rounds.tokens() if rl.has_pretraining else None,
            prompts=village.path / "rlhf.jsonl" if village is not None and of_village else _prompts(rounds, number),
            out=folder / "policy", publish_after=curve_points(rl.updates),
        )  # fmt: skip


def curve_points(updates: int) -> tuple[int, ...]:
    """Return the updates after which a policy is also published, without the last."""
    return tuple(sorted({updates * part // CURVE for part in range(1, CURVE)} - {0, updates}))


def take_labels(rounds: RoundsOf, number: int, ctx: Context, store: BatchStore) -> Artifact:
    """Return the labels of rounds 1 to `number`, taken from the store once; later ones are for the next round."""
    parents = {f"outputs_{i}": _outputs(rounds, i) for i in range(1, number + 1)}
    plan = Plan("comparisons", LabelsConfig(rounds=number), parents, ctx.seed)
    out = rounds.folder(number) / "comparisons"
    by_round = [list(comparisons(store, rounds.batch(store, i))) for i in range(1, number + 1)]
    records = [record for part in by_round for record in part]
    done = finished(out, plan, ctx.say)
    if done is not None:
        if (n := len(records) - done.metrics["labels"]) > 0:
            ctx.say(f"{n} label{'s' * (n > 1)} came after the training of round {number} began; for round {number + 1}")
        return done
    _refuse_too_few(rounds, number, store, by_round[-1], records)
    with publish(out, plan) as work:
        write_jsonl(work.path / "comparisons.jsonl", (record.to_json() for record in records))
        work.metrics.update(labels=len(records), new=len(by_round[-1]), ceiling=ceiling(rounds, records))
    return open_artifact(out)


def _refuse_too_few(
    rounds: RoundsOf, number: int, store: BatchStore, new: Sequence[Comparison], records: Sequence[Comparison]
) -> None:
    """Raise UserError where a round has no label, or all rounds together too few; name labels of other outputs."""
    usable = [record for record in records if len(set(record.ranks)) > 1]
    if new and len(usable) >= LEAST:
        return
    name = rounds.batch_name(number)
    older = [b for b in store.batches() if b.name.startswith(rounds.prefix(number)) and b.name != name]
    n_older = sum(1 for batch in older for _ in comparisons(store, batch))
    note = f"; {n_older} labels in {older[0].name} are of an older prompt set and do not count" if n_older else ""
    if not new:
        raise UserError(f"round {number} of {rounds.run} has no label yet: label {name} on the page Label{note}")
    raise UserError(
        f"round {number} of {rounds.run}: {len(usable)} ranking that is not all ties; at least {LEAST} are needed{note}"
    )


def ceiling(rounds: RoundsOf, records: Sequence[Comparison]) -> float | None:
    """Return the accuracy that no reward model exceeds: the judge's without noise, else how often two people agree.

    None where neither is known.
    """
    of_village = [record for record in records if "prompt" in record.meta]
    if of_village and rounds.village is not None:
        village, _ = rounds.world()
        right, n = map(sum, zip(*(gold_pairs(record, village) for record in of_village), strict=True))
        return right / n if n else None
    pairs: dict[str, list[tuple[int, ...]]] = {}
    for record in records:
        pairs.setdefault(repr((record.prompt, record.completions)), []).append(record.ranks)
    twice = [ranks[:2] for ranks in pairs.values() if len(ranks) > 1]
    if not twice or len({len(a) for a, _ in twice}) > 1:
        return None
    measured = agreement([a for a, _ in twice], [b for _, b in twice])
    return measured.mean if measured.n else None


def _outputs(rounds: RoundsOf, number: int) -> Artifact:
    outputs = rounds.artifact(number, "outputs")
    assert outputs is not None
    return outputs


def _is_of_village(file: Path) -> bool:
    """Return whether all labels are of the village's prompts, so that its judge knows the truth."""
    return all("prompt" in comparison(row).meta for row in read_jsonl(file))


def _prompts(rounds: RoundsOf, number: int) -> Path:
    """Return a file of all prompts of rounds 1 to `number`, for the rollouts."""
    rows: dict[str, dict[str, Any]] = {}
    for i in range(1, number + 1):
        for row in read_jsonl(_outputs(rounds, i).path / "outputs.jsonl"):
            rows[repr(row["prompt"])] = {"messages": row["prompt"]}
    file = rounds.folder(number) / "prompts.jsonl"
    write_jsonl(file, rows.values())
    return file
