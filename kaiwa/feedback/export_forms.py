"""Records in the forms of other tools: TRL, Anthropic's pairs, OpenAI messages, ShareGPT, Argilla, Label Studio.

What a form cannot say is a UserError, so that the caller counts and names the record. The pairwise forms (trl, hh)
write a ranking of K outputs as its untied pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.records import Comparison, Conversation, Demonstration

HUMAN = {"user": "Human", "assistant": "Assistant"}
SHAREGPT = {"user": "human", "assistant": "gpt", "system": "system", "tool": "tool"}
BUCKETS = "123456789"


def as_kaiwa(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    yield record.to_json()


def as_trl(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    prompt = [m.to_json() for m in _comparison(record).prompt]
    for chosen, rejected in _pairs(record):
        answers = {
            name: [{"role": "assistant", "content": text}]
            for name, text in (("chosen", chosen), ("rejected", rejected))
        }
        yield {"prompt": prompt, **answers}


def as_hh(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    before = _dialogue(_comparison(record).prompt)
    for chosen, rejected in _pairs(record):
        yield {name: f"{before}\n\nAssistant: {text}" for name, text in (("chosen", chosen), ("rejected", rejected))}


def as_messages(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    yield {"messages": [m.to_json() for m in _demonstration(record).messages]}


def as_sharegpt(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    messages = _demonstration(record).messages
    yield {"conversations": [{"from": SHAREGPT[m.role], "value": m.content} for m in messages]}


def as_argilla(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    record = _comparison(record)
    fields = {f"response-{i}": text for i, text in enumerate(record.completions, 1)}
    value = [{"value": f"response-{i}", "rank": rank + 1} for i, rank in enumerate(record.ranks, 1)]
    answer = {"user_id": record.labeller, "status": "submitted", "value": value}
    yield {"fields": {"prompt": _prompt(record.prompt), **fields}, "responses": {"ranking": [answer]}}


def as_label_studio(record: Comparison | Demonstration) -> Iterator[dict[str, Any]]:
    record = _comparison(record)
    data: dict[str, Any] = {"prompt": _prompt(record.prompt)}
    if len(record.completions) == 2:
        data |= {"answer1": record.completions[0], "answer2": record.completions[1]}
        first, second = record.ranks
        selected = "left" if first < second else "right" if second < first else "tie"
        result: dict[str, Any] = {"type": "pairwise", "value": {"selected": selected}}
    else:
        data["items"] = [{"id": BUCKETS[i], "body": text} for i, text in enumerate(record.completions)]
        buckets: dict[str, list[str]] = {str(rank): [] for rank in (*sorted(set(record.ranks)), "end")}
        for i, rank in enumerate(record.ranks):
            buckets[str(rank)].append(BUCKETS[i])
        result = {"type": "ranker", "from_name": "rank", "value": {"ranker": buckets}}
    yield {"data": data, "annotations": [{"completed_by": record.labeller, "result": [result]}]}


Writer = Callable[[Comparison | Demonstration], Iterator[dict[str, Any]]]
WRITERS: Mapping[str, Writer] = {
    "kaiwa": as_kaiwa,
    "trl": as_trl,
    "hh": as_hh,
    "messages": as_messages,
    "sharegpt": as_sharegpt,
    "argilla": as_argilla,
    "label-studio": as_label_studio,
}


def _comparison(record: Comparison | Demonstration) -> Comparison:
    if not isinstance(record, Comparison):
        raise UserError("a demonstration is no comparison; --format messages or sharegpt holds it")
    return record


def _demonstration(record: Comparison | Demonstration) -> Demonstration:
    if not isinstance(record, Demonstration):
        raise UserError("a comparison is no demonstration; --format trl, hh, argilla or label-studio holds it")
    return record


def _pairs(record: Comparison | Demonstration) -> Iterator[tuple[str, str]]:
    """Yield (better, worse) of every pair that is no tie. UserError for a record of ties only."""
    record = _comparison(record)
    if len(set(record.ranks)) < 2:
        raise UserError("only ties: there is no chosen one")
    for i, j in combinations(range(len(record.ranks)), 2):
        if record.ranks[i] != record.ranks[j]:
            better, worse = (i, j) if record.ranks[i] < record.ranks[j] else (j, i)
            yield record.completions[better], record.completions[worse]


def _dialogue(messages: Conversation) -> str:
    other = next((m.role for m in messages if m.role not in HUMAN), None)
    if other is not None:
        raise UserError(f"a message of the {other}'s, which Human and Assistant do not have")
    return "".join(f"\n\n{HUMAN[m.role]}: {m.content}" for m in messages)


def _prompt(messages: Conversation) -> str | list[dict[str, Any]]:
    """Return a prompt as text where it is one user's message, else as messages."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    return [m.to_json() for m in messages]
