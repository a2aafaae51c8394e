"""Reading of published preference files into one format: {"prompt": messages, "chosen", "rejected"}.

    {"prompt", "chosen", "rejected"}                    a text or messages; the answers as texts or message lists
    {"instruction", "input", "chosen", "rejected"}      Alpaca's columns
    {"chosen", "rejected"}                              whole dialogues: "\\n\\nHuman: …\\n\\nAssistant: …", or messages
    {"conversations": [{"from","value"}], "chosen": {"value"}, "rejected": {"value"}}     ShareGPT's

A file is JSON (a list) or JSONL, optionally compressed by gzip.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.records import conversation

TURN = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def read_preferences(file: Path) -> list[dict[str, Any]]:
    """Return all records of a file except pairs of equal answers. UserError with the number of the first bad record."""
    records = []
    for number, raw in enumerate(_rows(file), 1):
        try:
            row = preference(raw)
        except (UserError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file}, record {number}: no preference ({error}); each needs a prompt, chosen and rejected"
            ) from None
        if row["chosen"] != row["rejected"]:
            records.append(row)
    if not records:
        raise UserError(f"{file}: no preference in it")
    return records


def preference(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record in the common format. UserError for an unknown format."""
    if "conversations" in raw:
        messages = [{"role": ROLES[m["from"]], "content": m["value"]} for m in raw["conversations"]]
        return _record(messages, raw["chosen"]["value"], raw["rejected"]["value"])
    if "instruction" in raw:
        question = "\n\n".join(part for part in (raw["instruction"], raw.get("input", "")) if part)
        return _record([{"role": "user", "content": question}], raw["chosen"], raw["rejected"])
    if "prompt" in raw:
        messages = [m.to_json() for m in conversation(raw["prompt"])]
        return _record(messages, _answer(raw["chosen"]), _answer(raw["rejected"]))
    better, worse = _turns(raw["chosen"]), _turns(raw["rejected"])
    return _record(better[:-1], better[-1]["content"], worse[-1]["content"])


def _record(messages: list[dict[str, str]], chosen: str, rejected: str) -> dict[str, Any]:
    conversation(messages)
    if messages[-1]["role"] != "user":
        raise UserError("the prompt must end with the user's turn")
    return {"prompt": messages, "chosen": chosen.strip(), "rejected": rejected.strip()}


def _answer(value: Any) -> str:
    return value if isinstance(value, str) else str(conversation(value)[-1].content)


def _turns(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, str):
        return [m.to_json() for m in conversation(value)]
    parts = TURN.split(value)[1:]
    names = {"Human": "user", "Assistant": "assistant"}
    return [{"role": names[who], "content": text.strip()} for who, text in zip(parts[::2], parts[1::2], strict=True)]


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give preferences as JSON or JSONL")
    data = file.read_bytes()
    try:
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]  # not at U+2028
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{file}: not compressed by gzip ({error}); unpack it, or download it again") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not JSON (it is not UTF-8); a list, or one object a line, is expected") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON ({error.msg}); a list, or one object a line, is expected") from None
