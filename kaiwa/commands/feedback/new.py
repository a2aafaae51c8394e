"""kaiwa feedback new: a batch of items for people to judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from kaiwa.commands.feedback import open_store
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.feedback.batch_records import Kind, NewItem
    from kaiwa.feedback.batch_store import BatchStore

RATED_EACH = 10  # demonstrations of each writer in a batch to rate them


@dataclass(kw_only=True)
class Options:
    """Make a batch: outputs to rate and rank, or prompts to write dialogues for.

    FILE holds prompts (with --models they are answered now; without, people write the answers), or rows with a prompt
    and completions, whose ranks, if any, are left out. `kaiwa feedback import` reads rankings as labels.
    """

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    file: Positional[Annotated[Path | None, arg(metavar="FILE")]] = None
    models: tuple[str, ...] = ()  # whose answers are judged, NAME or NAME=WEIGHT, as laptop/sft=3 laptop/ppo_ptx=1
    url: str = ""  # an OpenAI-compatible server that has these models
    k: int = 4  # outputs of a prompt (the paper: 4 to 9)
    labels: int = 1  # labellers wanted for each item
    purpose: Literal["training", "evaluation"] = "training"  # evaluation: truthful and harmless before helpful
    people: tuple[str, ...] = ()  # who may label (default: whoever is invited)
    screening: Path | None = None  # comparisons with ranks that are known to be right
    rate: str = ""  # rate ten demonstrations of each writer of this batch, instead of a FILE
    max_tokens: int = 256  # of an answer
    temperature: float = 1.0
    n: int = 0  # largest number of prompts (0: all)
    seed: int = 0  # of the answers and of the blind orders


def main(words: list[str]) -> None:
    """Make the batch and print what to do next."""
    options = read_options(Options, "kaiwa feedback new", words)
    store = open_store()
    task: Kind
    if options.rate:
        items = list(_to_rate(store, options.rate))
        task, k = "rate", 1
    else:
        items = list(_items(options))
        task, k = ("rank", len(items[0].outputs)) if items and items[0].outputs else ("demonstrate", 0)
    known = list(_known(options.screening)) if options.screening is not None else []
    with store.transaction():
        store.create(
            options.name, task=task, purpose=options.purpose, k=k, n_labels=options.labels, may_label=options.people,
            seed=options.seed,
        )  # fmt: skip
        store.add_items(options.name, [*known, *items])
    n, n_screening = store.count_items(store.batch(options.name))
    what = {"rank": f"{k} outputs each, to rate and rank", "rate": "to rate", "demonstrate": "to write answers for"}[
        task
    ]
    print(f"{options.name}: {n - n_screening:,} items, {what}; {n_screening} for screening")
    print(f"next: kaiwa feedback invite {options.name} NAME, or the page Label of kaiwa up")


def _items(options: Options) -> Iterator[NewItem]:
    from kaiwa.feedback.batch_records import NewItem
    from kaiwa.text.data import read_prompts
    from kaiwa.text.files import read_rows

    if options.file is None:
        raise UserError("FILE is missing: prompts, or prompts with completions; see kaiwa feedback new --help")
    first = next((row.value for row in read_rows(options.file) if not row.fault), None)
    if isinstance(first, Mapping) and "completions" in first and not options.models:
        for prompt, completions, meta in _offered(options.file):
            yield NewItem(prompt=prompt, outputs=completions, meta=meta)
        return
    prompts = [record for _, record in read_prompts(options.file, print)][: options.n or None]
    if not options.models:
        yield from (NewItem(prompt=prompt) for prompt in prompts)
        return
    from kaiwa.catalog.open_model import ModelChoice, open_model
    from kaiwa.feedback.sample_outputs import sample_items
    from kaiwa.text.sampling import Sampling

    weights = {}
    for text in options.models:
        name, _, weight = text.partition("=")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise UserError(f"--models {text}: give NAME or NAME=WEIGHT, as laptop/sft=3") from None
    models = {name: open_model(ModelChoice(model=name, url=options.url)).model for name in weights}
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens)
    yield from sample_items(prompts, models, weights, k=options.k, sampling=sampling, seed=options.seed)


def _offered(file: Path) -> Iterator[tuple[Any, tuple[str, ...], dict[str, Any]]]:
    """Yield prompt, completions and meta of rows whose completions nobody needs to have ranked."""
    from kaiwa.text.files import read_rows
    from kaiwa.text.shapes import comparison_of

    for row in read_rows(file):
        try:
            if row.fault or not isinstance(row.value, Mapping):
                raise UserError(row.fault or "an object is expected")
            completions = row.value.get("completions")
            n = len(completions) if isinstance(completions, list) else 0
            record = comparison_of({**row.value, "ranks": [0] * n})
        except UserError as error:
            print(f"{row.place}: {error}; left out")
            continue
        yield record.prompt, record.completions, {k: v for k, v in record.meta.items() if k == "ended"}


def _known(file: Path) -> Iterator[NewItem]:
    from kaiwa.feedback.batch_records import NewItem
    from kaiwa.text.data import read_comparisons

    for _, record in read_comparisons(file, print):
        yield NewItem(prompt=record.prompt, outputs=record.completions, known_ranks=record.ranks)


def _to_rate(store: BatchStore, name: str) -> Iterator[NewItem]:
    """Yield RATED_EACH demonstrations of each writer: everything but the last answer is the prompt."""
    from kaiwa.feedback.batch_records import NewItem, OutputSource
    from kaiwa.feedback.judged import judged

    counts: dict[str, int] = {}
    for one in judged(store, store.batch(name)):
        messages = one.answer.messages
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        if last > 0 and counts.get(one.labeller, 0) < RATED_EACH:
            counts[one.labeller] = counts.get(one.labeller, 0) + 1
            source = OutputSource(model=f"writer {one.labeller}")
            yield NewItem(prompt=messages[:last], outputs=(messages[last].content,), sources=(source,))
    if not counts:
        raise UserError(f"{name}: no demonstration in it yet; people write them on the page Demonstrate")
