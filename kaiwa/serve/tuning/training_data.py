"""Fine-tuning files, line by line: from OpenAI's shapes to the records of kaiwa's stages.

    supervised, soft_prompt   {"messages": [{"role", "content"}, …]}, which ends with the assistant
    dpo, reward               {"input": {"messages"}, "preferred_output": [message], "non_preferred_output": [message]}
                              or {"prompt", "chosen", "rejected"}, or {"prompt", "completions", "ranks"}

An error names the number of the faulty line and the faulty field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.text.records import comparison, write_jsonl

ROLES = ("system", "user", "assistant")
COMPARING = ("dpo", "reward")
MOST_LINE = 4 << 20  # bytes
LEAST = 2  # examples of a training file
UNUSED = ("tools", "functions", "tool_calls", "function_call")


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
    """Return a conversation with the assistant's message last. UserError with the field."""
    _refuse_tools(value, "")
    turns = read_messages(value.get("messages"), "messages")
    if turns[-1]["role"] != "assistant":
        raise UserError(f"messages: the last one is the {turns[-1]['role']}'s; the assistant's answer must end it")
    return {"messages": turns}


def comparison_record(value: Mapping[str, object]) -> dict[str, Any]:
    """Return a prompt and its ranked answers. UserError with the field."""
    if "input" in value:
        source = value["input"]
        if not isinstance(source, dict):
            raise UserError("input: an object with messages is expected")
        _refuse_tools(source, "input.")
        prompt = read_messages(source.get("messages"), "input.messages")
        if prompt[-1]["role"] == "assistant":
            raise UserError(
                "input.messages: the last one is the assistant's; outputs follow a user's or system message"
            )
        better, worse = (_single_answer(value, name) for name in ("preferred_output", "non_preferred_output"))
        return {"prompt": prompt, "chosen": better, "rejected": worse}
    if "prompt" not in value:
        raise UserError('"input" (with preferred_output and non_preferred_output) or "prompt" is missing')
    text = value["prompt"] if isinstance(value["prompt"], str) else read_messages(value["prompt"], "prompt")
    answers = {k: value[k] for k in ("chosen", "rejected", "completions", "ranks", "labeller") if k in value}
    texts = value.get("completions", [value.get("chosen"), value.get("rejected")])
    if not isinstance(texts, list) or not all(isinstance(t, str | list) for t in texts):
        raise UserError("completions (or chosen and rejected) must be texts")
    ranks = value.get("ranks", [])
    if not isinstance(ranks, list) or not all(isinstance(r, int) and not isinstance(r, bool) for r in ranks):
        raise UserError("ranks must be whole numbers, one a completion, 0 the best")
    comparison({**answers, "prompt": text})  # the reader's own checks
    return {**answers, "prompt": text}


def read_messages(value: object, where: str) -> list[dict[str, str]]:
    """Return messages for kaiwa: text parts joined, "developer" as "system". UserError names the message and field."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: a list with at least one message is expected")
    turns = []
    for i, item in enumerate(value):
        at = f"{where}[{i}]"
        if not isinstance(item, dict):
            raise UserError(f"{at}: an object with role and content is expected")
        _refuse_tools(item, f"{at}.")
        role = "system" if item.get("role") == "developer" else item.get("role")
        if role not in ROLES:
            raise UserError(f"{at}.role: {str(item.get('role'))[:40]!r} is unknown; use one of {', '.join(ROLES)}")
        if item.get("weight") == 0:
            raise UserError(f"{at}.weight: 0 is not possible here; leave the example out, or cut it before this turn")
        turns.append({"role": str(role), "content": _text(item.get("content"), f"{at}.content")})
    return turns


def _text(value: object, where: str) -> str:
    if isinstance(value, list) and value and all(isinstance(p, dict) and p.get("type") == "text" for p in value):
        value = "".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str):
        raise UserError(f"{where}: a text is expected, got {type(value).__name__}")
    return value


def _single_answer(value: Mapping[str, object], name: str) -> str:
    turns = read_messages(value.get(name), name)
    if len(turns) != 1 or turns[0]["role"] != "assistant":
        raise UserError(f"{name}: exactly one message of the assistant is expected")
    return turns[0]["content"]


def _refuse_tools(value: Mapping[str, object], where: str) -> None:
    for name in UNUSED:
        if value.get(name):
            raise UserError(f"{where}{name}: training on tools is not possible here; leave the field out")
