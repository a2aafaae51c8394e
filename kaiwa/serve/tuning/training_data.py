"""Fine-tuning files, line by line: from the shapes that `text.shapes` knows, OpenAI's among them, to records.

    supervised, soft_prompt   {"messages": [{"role", "content"}, …]} with an answer last; {"prompt", "completion"}, …
    dpo, reward               {"input": {"messages"}, "preferred_output": [message], "non_preferred_output": [message]},
                              {"prompt", "chosen", "rejected"}, {"prompt", "completions", "ranks"}, …

An error names the number of the faulty line and the faulty field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.text.records import write_jsonl
from kaiwa.text.shapes import comparison_of, demonstration_of

COMPARING = ("dpo", "reward")
MOST_LINE = 4 << 20  # bytes
LEAST = 2  # examples of a training file


def convert(source: Path, target: Path, method: str, least: int = LEAST) -> int:
    """Write the records of an uploaded file for a method; return their number. UserError with the line number."""
    n = write_jsonl(target, records(source, method))
    if n < least:
        raise UserError(f"the file has {n} examples; at least {least} are needed")
    return n


def records(source: Path, method: str) -> Iterator[dict[str, Any]]:
    """Yield the record of every line. UserError with the line number."""
    for number, value in lines(source):
        try:
            record = comparison_record(value) if method in COMPARING else demonstration_record(value)
            json.dumps(record, ensure_ascii=False).encode()
        except UserError as error:
            raise UserError(f"line {number}: {error}") from None
        except UnicodeEncodeError:
            raise UserError(f"line {number}: half of a character (a lone surrogate) in a text") from None
        yield record


def lines(source: Path) -> Iterator[tuple[int, JSONObject]]:
    """Yield (number, object) of every non-empty line. UserError for bytes other than a JSON object."""
    with open(source, "rb") as f:
        number = 0
        while raw := f.readline(MOST_LINE + 1):
            number += 1
            if len(raw) > MOST_LINE:
                raise UserError(f"line {number}: longer than {MOST_LINE:,} bytes; one example a line is expected")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8"))
            except UnicodeDecodeError:
                raise UserError(f"line {number}: not UTF-8 text") from None
            except (ValueError, RecursionError) as error:
                raise UserError(f"line {number}: not JSON ({error}); one object a line is expected") from None
            if not isinstance(value, dict):
                raise UserError(f"line {number}: a JSON object is expected, got {type(value).__name__}")
            yield number, value


def demonstration_record(value: Mapping[str, object]) -> dict[str, Any]:
    """Return a conversation that the assistant's message ends, or a text. UserError with the field."""
    record = demonstration_of(value)
    if record.messages and record.messages[-1].role != "assistant":
        last = record.messages[-1].role
        raise UserError(f"messages: the last one is the {last}'s; the assistant's answer must end it")
    return without_empty_meta(record.to_json())


def comparison_record(value: Mapping[str, object]) -> dict[str, Any]:
    """Return a prompt and its ranked answers. UserError with the field."""
    record = comparison_of(value)
    prompt = [m.to_json() for m in record.prompt]
    if record.ranks == (0, 1) and not record.meta:
        return {"prompt": prompt, "chosen": record.completions[0], "rejected": record.completions[1]}
    return without_empty_meta(record.to_json())


def without_empty_meta(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without a `meta` that holds nothing."""
    return {name: value for name, value in record.items() if name != "meta" or value}
