"""The village's labellers at a batch's queue: they open items and finish them as people do on the page."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.feedback.batch_records import Assignment, Batch, BatchItem, ItemAnswer
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.recipes.labels import HELD_OUT_SHARE
from kaiwa.rounds.folder import RoundsOf
from kaiwa.world.judge import judge
from kaiwa.world.labeller import Labeller, labellers
from kaiwa.world.prompts import prompt_from_json
from kaiwa.world.village import Village

SECONDS = 20.0  # that a simulated judgement is said to have taken


def village_labellers(rounds: RoundsOf, seed: int) -> tuple[Labeller, ...]:
    """Return the labellers of the build's village, the held-out ones last."""
    _, config = rounds.world()
    return labellers(seed, n=config.n_labellers, held_out=config.n_held_out_labellers)


def label_batch(
    store: BatchStore, batch: Batch, village: Village, people: Sequence[Labeller], ctx: Context, *, seed: int
) -> int:
    """Have labellers finish what is left of a batch, by turns drawn at random; return how many judgements they wrote.

    UserError for items that are not of the village's prompts.
    """
    items = {item.id: item for item in store.items(batch.name)}
    queues = {person.name: LabelQueue(store, batch, person.name) for person in people}
    waiting = list(people)
    rng, n = python_rng(seed, "labels", batch.name), 0
    total = len(items) * batch.n_labels
    while waiting:
        ctx.check_stop()
        person = _draw(waiting, rng)
        assignment = queues[person.name].next()
        if assignment is None:
            waiting.remove(person)
            continue
        item = items[assignment.item]
        if "prompt" not in item.meta:
            raise UserError(f"{batch.name}: these prompts are not the village's, so its labellers cannot judge them")
        rng_of_item = python_rng(seed, "judgement", person.name, batch.name, item.number)
        answer = rank_item(village, item, assignment, person, rng_of_item)
        queues[person.name].finish(assignment.id, f"{batch.name}.{assignment.id:08}", answer)
        n += 1
        if n % 20 == 0:
            ctx.show(Progress("labels", min(n, total), total, person.name))
    return n


def rank_item(village: Village, item: BatchItem, assignment: Assignment, person: Labeller, rng: Random) -> ItemAnswer:
    """Return a labeller's ranking of an item's outputs, in the order in which they are shown."""
    prompt = prompt_from_json(item.meta["prompt"])
    verdicts = [judge(village, prompt, text, end) for text, end in zip(item.outputs, item.meta["ended"], strict=True)]
    ranks = person.rank_verdicts(verdicts, rng)
    return ItemAnswer(ranks=tuple(ranks[i] for i in assignment.order), seconds=SECONDS)


def _draw(people: Sequence[Labeller], rng: Random) -> Labeller:
    """Return a labeller; a held-out one with the probability that builds give them, where others are left."""
    inside, outside = [p for p in people if not p.held_out], [p for p in people if p.held_out]
    if not inside or (outside and rng.random() < HELD_OUT_SHARE):
        return outside[rng.randrange(len(outside))]
    return inside[rng.randrange(len(inside))]
