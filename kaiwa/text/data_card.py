"""What a data file holds, before anything is trained on it: shape, lengths, repetitions, and examples as learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kaiwa.core.errors import UserError
from kaiwa.text import data
from kaiwa.text.files import read_rows
from kaiwa.text.labelling_tools import is_tool_row
from kaiwa.text.pieces import Encoder, PromptPiece
from kaiwa.text.records import Comparison, Conversation, Demonstration, Message
from kaiwa.text.shapes import CHOSEN, COMPLETION, PROMPT, REJECTED, TURNS
from kaiwa.text.template import encode_with_specials, layout, render, render_completions
from kaiwa.text.verdicts import is_verdict_row

Kind = Literal["demonstrations", "comparisons", "prompts"]
Say = Callable[[str], None]
MOST_ROWS = 20_000  # whose tokens are counted


@dataclass(slots=True)
class DataCard:
    """The figures of a file. n: its records. lengths: tokens of each record, none without a tokenizer; n_learned: of
    them in the loss, over all records.

    repeated: records that occurred before, whole; prompts_repeated: records whose prompt occurred before. leaked:
    records of the held-out file whose prompt is in this file, of n_held_out. unmarked: turns that cannot be learned, by
    reason.
    """

    kind: Kind
    shape: str
    n: int = 0
    lengths: list[int] = field(default_factory=list)
    n_learned: int = 0
    repeated: int = 0
    prompts_repeated: int = 0
    leaked: int = 0
    n_held_out: int = 0
    unmarked: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, list[PromptPiece]]] = field(default_factory=list)


def describe(
    path: Path,
    tokenizer: Encoder | None,
    say: Say,
    *,
    kind: Kind | None = None,
    options: data.DataOptions = data.PLAIN,
    held_out: Path | None = None,
    n_examples: int = 3,
) -> DataCard:
    """Read a file or folder, and return its card. kind: how to read it (None: by its first rows). tokenizer None:
    nothing is counted in tokens, and examples are the records' texts.

    UserError for a path that no stage would read. Of more than MOST_ROWS records the first ones are counted.
    """
    first = next((row.value for row in read_rows(path) if not row.fault), None)
    card = DataCard(kind or kind_of(data.renamed(first, options.map)), shape_of(data.renamed(first, options.map)))
    whole: set[Any] = set()
    prompts: set[Any] = set()
    for number, record in _records(card.kind, path, say, options):
        prompt, identity = _identity(record)
        card.repeated += identity in whole
        card.prompts_repeated += prompt in prompts
        whole.add(identity)
        prompts.add(prompt)
        card.n += 1
        if tokenizer is not None and len(card.lengths) < MOST_ROWS:
            _measure(card, record, tokenizer)
        if len(card.examples) < n_examples:
            pieces = plain_example(record) if tokenizer is None else example(record, tokenizer)
            card.examples.append((number, pieces))
    if held_out is not None:
        others = [_identity(record)[0] for _, record in _records(card.kind, held_out, say, options)]
        card.n_held_out, card.leaked = len(others), sum(prompt in prompts for prompt in others)
    return card


def _records(kind: Kind, path: Path, say: Say, options: data.DataOptions) -> Any:
    readers: dict[str, Any] = {
        "demonstrations": data.read_demonstrations,
        "comparisons": data.read_comparisons,
        "prompts": data.read_prompts,
    }
    return readers[kind](path, say, options)


def kind_of(row: Any) -> Kind:
    """Return what a row is read as: a comparison where it has one, else a demonstration, else a prompt."""
    if is_tool_row(row) or is_verdict_row(row):
        return "comparisons"
    if isinstance(row, Mapping):
        present = {name for name, value in row.items() if value is not None}
        if present & {*REJECTED, "completions", "responses"}:
            return "comparisons"
        if not present & {*TURNS, *COMPLETION, "text"} and present & set(PROMPT):
            return "prompts"
    return "demonstrations"


def shape_of(row: Any) -> str:
    """Return the name of a row's shape and its columns."""
    if not isinstance(row, Mapping):
        return "a list of messages" if isinstance(row, list) else "no object"
    names = [name for name, value in row.items() if value is not None]
    if is_tool_row(row):
        return f"{'Label Studio' if 'annotations' in row else 'Argilla'} ({', '.join(map(str, names))})"
    if is_verdict_row(row):
        return f"answers with a verdict ({', '.join(map(str, names))})"
    turns = next((row[name] for name in TURNS if row.get(name)), None)
    first = turns[0] if isinstance(turns, list) and turns else None
    if any(name in names for name in CHOSEN) and any(name in names for name in REJECTED):
        shape = "preferences" + (" in HH's words" if str(row.get("chosen")).startswith("\n\nHuman:") else "")
    elif "completions" in names:
        shape = "rankings"
    elif isinstance(first, Mapping):
        shape = "ShareGPT" if "from" in first else "messages" if "role" in first else "a dialogue of speakers"
    elif "instruction" in names:
        shape = "Alpaca"
    else:
        shape = "prompts and completions" if {*names} & {*COMPLETION} else "text" if "text" in names else "prompts"
    return f"{shape} ({', '.join(map(str, names))})"


def _identity(record: Any) -> tuple[Any, Any]:
    """Return the prompt of a record and the whole of it, for comparison."""
    if isinstance(record, Comparison):
        prompt = _key(record.prompt)
        return prompt, (prompt, record.completions)
    if isinstance(record, Demonstration):
        messages = record.messages
        if not messages:
            return record.text, record.text
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=len(messages))
        return _key(messages[:last]), _key(messages)
    return _key(record), _key(record)


def _key(messages: Conversation) -> tuple[tuple[str, str], ...]:
    return tuple((m.role, m.content.strip()) for m in messages)


def _measure(card: DataCard, record: Any, tokenizer: Encoder) -> None:
    """Add a record's tokens to the card; of a comparison those of the prompt and all completions."""
    if isinstance(record, Comparison):
        prompt, completions = render_completions(tokenizer, record.prompt, record.completions)
        n = sum(map(len, completions))
        card.lengths.append(len(prompt) + n)
        card.n_learned += n
    elif isinstance(record, Demonstration) and not record.messages:
        card.lengths.append(len(encode_with_specials(tokenizer, record.text)) + 1)
        card.n_learned += card.lengths[-1]
    elif isinstance(record, Demonstration):
        rendered = render(tokenizer, record.messages, tools=record.tools)
        card.lengths.append(len(rendered.ids))
        card.n_learned += sum(m > 0 for m in rendered.mask)
        card.unmarked.update(rendered.unmarked.values())
    else:
        card.lengths.append(len(render(tokenizer, record, add_generation_prompt=True).ids))


def example(record: Any, tokenizer: Encoder) -> list[PromptPiece]:
    """Return a record as the chat template writes it, with what is learned marked; of a comparison all completions."""
    if isinstance(record, Comparison):
        context = tuple(replace(message, weight=0.0) for message in record.prompt)
        pieces: list[PromptPiece] = []
        for text, rank in sorted(zip(record.completions, record.ranks, strict=True), key=lambda pair: pair[1]):
            written = layout(tokenizer, (*context, Message("assistant", text))).pieces
            learned = [i for i, piece in enumerate(written) if piece.learn] or [len(written) - 1]
            pieces += written[learned[0] if pieces else 0 : learned[-1] + 1]
            pieces.append(PromptPiece(f"   (rank {rank})\n"))
        return pieces
    if isinstance(record, Demonstration):
        if not record.messages:
            return [PromptPiece(record.text, learn=1.0)]
        return layout(tokenizer, record.messages, tools=record.tools).pieces
    return layout(tokenizer, record, add_generation_prompt=True).pieces


def plain_example(record: Any) -> list[PromptPiece]:
    """Return a record's turns by role, the assistant's (of a comparison: the completions) marked as learned."""
    if isinstance(record, Demonstration) and not record.messages:
        return [PromptPiece(record.text, learn=1.0)]
    if isinstance(record, Comparison):
        ranked = sorted(zip(record.completions, record.ranks, strict=True), key=lambda pair: pair[1])
        completions = [PromptPiece(f"{text}   (rank {rank})\n", learn=1.0) for text, rank in ranked]
        return [*(PromptPiece(f"{m.role}: {m.content}\n") for m in record.prompt), *completions]
    turns = record.messages if isinstance(record, Demonstration) else record
    learned = {"assistant"} if isinstance(record, Demonstration) else set()
    return [PromptPiece(f"{m.role}: {m.content}\n", learn=m.weight if m.role in learned else 0.0) for m in turns]


def length_lines(lengths: Sequence[int], context: int, width: int) -> list[str]:
    """Return the lines about lengths in tokens, and about what a row of `width` tokens does to them."""
    if not lengths:
        raise UserError("no record is left to count")
    ordered = sorted(lengths)
    quantile = {q: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99)}
    shares = ", ".join(f"{q:.0%} up to {n:,}" for q, n in quantile.items())
    over = [n for n in ordered if n > width]
    lost = sum(n - width for n in over)
    line = f"all fit {width:,} tokens (the model's context: {context:,})"
    if over:
        line = (
            f"{len(over):,} of {len(ordered):,} are longer than {width:,} tokens (the model's context: {context:,}):"
            f" --max-length-policy drop leaves them out, left or right cuts {lost:,} of their {sum(over):,} tokens"
        )
    return [f"tokens: {shares}, longest {ordered[-1]:,}", line]
