"""Fine-tuning files, line by line: OpenAI's shapes in, the records that our stages read out.

    supervised, soft_prompt   {"messages": [{"role", "content"}, …]}, which ends with the assistant
    dpo, reward               {"input": {"messages"}, "preferred_output": [message], "non_preferred_output": [message]}
                              or {"prompt", "chosen", "rejected"}, or {"prompt", "completions", "ranks"}

A line that does not fit is named by its number, and by the field that is wrong in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.records import ROLES, comparison, write_jsonl

COMPARING = ("dpo", "reward")
MOST_LINE = 4 << 20  # bytes
LEAST = 2  # examples: one to train on, and one is no training set
UNUSED = ("tools", "functions", "tool_calls", "function_call")


def convert(source: Path, target: Path, method: str, least: int = LEAST) -> int:
    """Writes the records of an uploaded file for a method; how many. UserError that names the line."""
    n = write_jsonl(target, records(source, method))
    if n < least:
        raise UserError(f"the file has {n} examples; at least {least} are needed")
    return n


def records(source: Path, method: str) -> Iterator[dict[str, Any]]:
    for number, value in lines(source):
        try:
            made = compared(value) if method in COMPARING else demonstrated(value)
            json.dumps(made, ensure_ascii=False).encode()
        except UserError as error:
            raise UserError(f"line {number}: {error}") from None
        except UnicodeEncodeError:
            raise UserError(f"line {number}: half of a character (a lone surrogate) in a text") from None
        yield made


def lines(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of every line that is not empty. UserError for bytes that are no JSON object."""
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


def demonstrated(value: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation that ends with the assistant."""
    _refuse(value, "")
    found = messages(value.get("messages"), "messages")
    if found[-1]["role"] != "assistant":
        raise UserError(f"messages: the last one is the {found[-1]['role']}'s; the assistant's answer must end it")
    return {"messages": found}


def compared(value: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt and what was preferred after it."""
    if "input" in value:
        given = value["input"]
        if not isinstance(given, dict):
            raise UserError("input: an object with messages is expected")
        _refuse(given, "input.")
        prompt = messages(given.get("messages"), "input.messages")
        if prompt[-1]["role"] == "assistant":
            raise UserError(
                "input.messages: the last one is the assistant's; outputs follow a user's or system message"
            )
        better, worse = (_output(value, name) for name in ("preferred_output", "non_preferred_output"))
        return {"prompt": prompt, "chosen": better, "rejected": worse}
    if "prompt" not in value:
        raise UserError('"input" (with preferred_output and non_preferred_output) or "prompt" is missing')
    asked = value["prompt"] if isinstance(value["prompt"], str) else messages(value["prompt"], "prompt")
    kept = {k: value[k] for k in ("chosen", "rejected", "completions", "ranks", "labeller") if k in value}
    texts = value.get("completions", [value.get("chosen"), value.get("rejected")])
    if not isinstance(texts, list) or not all(isinstance(t, str | list) for t in texts):
        raise UserError("completions (or chosen and rejected) must be texts")
    ranks = value.get("ranks", [])
    if not isinstance(ranks, list) or not all(isinstance(r, int) and not isinstance(r, bool) for r in ranks):
        raise UserError("ranks must be whole numbers, one a completion, 0 the best")
    comparison({**kept, "prompt": asked})  # the reader's own checks
    return {**kept, "prompt": asked}


def messages(value: Any, where: str) -> list[dict[str, str]]:
    """Messages as ours: text parts joined, "developer" is the system. UserError names the message and field."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: a list with at least one message is expected")
    found = []
    for i, item in enumerate(value):
        at = f"{where}[{i}]"
        if not isinstance(item, dict):
            raise UserError(f"{at}: an object with role and content is expected")
        _refuse(item, f"{at}.")
        role = "system" if item.get("role") == "developer" else item.get("role")
        if role not in ROLES:
            raise UserError(f"{at}.role: {str(item.get('role'))[:40]!r} is unknown; use one of {', '.join(ROLES)}")
        if item.get("weight") == 0:
            raise UserError(f"{at}.weight: 0 is not possible here; leave the example out, or cut it before this turn")
        found.append({"role": str(role), "content": _text(item.get("content"), f"{at}.content")})
    return found


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and value and all(isinstance(p, dict) and p.get("type") == "text" for p in value):
        value = "".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str):
        raise UserError(f"{where}: a text is expected, got {type(value).__name__}")
    return value


def _output(value: Mapping[str, Any], name: str) -> str:
    found = messages(value.get(name), name)
    if len(found) != 1 or found[0]["role"] != "assistant":
        raise UserError(f"{name}: exactly one message of the assistant is expected")
    return found[0]["content"]


def _refuse(value: Mapping[str, Any], where: str) -> None:
    for name in UNUSED:
        if value.get(name):
            raise UserError(f"{where}{name}: training on tools is not possible here; leave the field out")
