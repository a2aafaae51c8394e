"""Records, each one JSON line.

The shapes are in common use:

    Document        {"text"}                            + source, language, id, meta
    Demonstration   {"messages": [{"role","content"}]}  + meta
    Preference      {"prompt","chosen","rejected"}      (read as a Comparison of two)
    Comparison      {"prompt","completions","ranks"}    + labeller, meta; rank 0 is best, equal ranks are ties

`prompt` is a list of messages, or a plain string (one user message).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError

ROLES = ("system", "user", "assistant", "tool")
FIELDS = ("tool_calls", "tool_call_id", "name", "reasoning_content", "thinking")  # that chat templates read


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. UserError for a role outside ROLES.

    weight: of an assistant's turn in the loss, 0 where it is context only. fields: what else a chat template may read,
    such as tool_calls and reasoning_content.
    """

    role: str
    content: str
    weight: float = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UserError(f"role {self.role!r} is unknown; use one of {', '.join(ROLES)}")
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"weight {self.weight!r} of a message must be 0 (context only) or more")

    def to_json(self) -> dict[str, Any]:
        weight = {} if self.weight == 1 else {"weight": self.weight}
        return {"role": self.role, "content": self.content, **weight, **self.fields}

    def for_template(self) -> dict[str, Any]:
        """Return the message as chat templates take it."""
        return {"role": self.role, "content": self.content, **self.fields}


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text of the corpus, with source and further known facts."""

    text: str
    source: str
    language: str = "en"
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "source": self.source,
            "language": self.language,
            "id": self.id,
            "meta": dict(self.meta),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A conversation whose assistant turns are to be imitated, or a text without messages that is learned whole.

    tools: the functions that the assistant may call, for chat templates that write them.
    """

    messages: Conversation
    meta: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.text:
            return {"text": self.text, "meta": dict(self.meta)}
        tools = {"tools": list(self.tools)} if self.tools else {}
        return {"messages": [m.to_json() for m in self.messages], **tools, "meta": dict(self.meta)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """K completions of one prompt, ranked: ranks[i] is completion i's place, 0 the best; equal ranks are ties."""

    prompt: Conversation
    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    labeller: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.completions) != len(self.ranks):
            raise UserError(f"{len(self.completions)} completions but {len(self.ranks)} ranks; give one rank each")
        if not all(isinstance(text, str) for text in self.completions):
            raise UserError(
                "a completion is no text; each must be a string (an empty one is a reply that ends at once)"
            )
        if not all(type(rank) is int for rank in self.ranks):
            raise UserError(f"ranks {list(self.ranks)}: each must be a whole number, 0 the best")
        if len(self.completions) < 2:
            raise UserError(f"a comparison needs at least 2 completions, got {len(self.completions)}")
        ended = self.meta.get("ended")
        if ended and (not isinstance(ended, list | tuple) or len(ended) != len(self.completions)):
            raise UserError(f"meta.ended is {ended!r:.40}; give one flag a completion, {len(self.completions)} in all")

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": [m.to_json() for m in self.prompt],
            "completions": list(self.completions),
            "ranks": list(self.ranks),
            "labeller": self.labeller,
            "meta": dict(self.meta),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A call of a tool that the model makes. arguments: JSON text, as the model wrote it."""

    name: str
    arguments: str = "{}"
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the call as an assistant's message has it in OpenAI's protocol."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    def argument_text(self) -> str:
        """Return the arguments' values as plain text, one a line; the raw text where it is no JSON."""
        try:
            return "\n".join(_leaves(json.loads(self.arguments)))
        except (ValueError, RecursionError):
            return self.arguments


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's answer. `logprobs` are natural logarithms, one per token."""

    text: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: str = "stop"  # "stop" (ended by itself or by a stop string), "length", or a server's other reason
    n_prompt: int = 0  # tokens of the prompt, where they were counted
    n_reused: int = 0  # of these, how many were not computed again
    n_tokens: int = 0  # tokens of the answer, where they were counted
    tool_calls: tuple[ToolUse, ...] = ()


def whole_text(text: str) -> str:
    """Return the text with lone surrogates, which no file and no server takes, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def conversation(value: Any) -> Conversation:
    """Return messages from a list of {"role","content"} or from one string (a user's message). UserError otherwise."""
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list) or not value:
        raise UserError(f"messages must be a non-empty list or a string, got {type(value).__name__}")
    messages = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("role"), str):
            raise UserError('each message needs "role" and "content"')
        if not isinstance(item.get("content"), str):
            raise UserError(f"the content of a {item['role']!r} message must be a string")
        fields = {name: item[name] for name in FIELDS if item.get(name)}
        messages.append(Message(item["role"], item["content"], _weight(item.get("weight")), fields))
    return tuple(messages)


def _weight(value: Any) -> float:
    if value is not None and not isinstance(value, int | float):
        raise UserError(f"weight {value!r:.40} of a message must be a number, 0 for context only")
    return 1.0 if value is None else float(value)


def prompt_conversation(value: Mapping[str, Any]) -> Conversation:
    """Return the messages of a prompt's record, {"messages"} or {"prompt"}. UserError otherwise."""
    return conversation(value["messages"] if "messages" in value else value.get("prompt"))


def demonstration(value: Mapping[str, Any]) -> Demonstration:
    """Return a Demonstration from {"messages", "meta"?}. UserError otherwise."""
    if "messages" not in value:
        raise UserError('a demonstration needs "messages"')
    return Demonstration(messages=conversation(value["messages"]), meta=value.get("meta", {}))


def comparison(value: Mapping[str, Any]) -> Comparison:
    """Return a Comparison from {"prompt","completions","ranks"} or {"prompt","chosen","rejected"}. UserError
    otherwise."""
    if "prompt" not in value:
        raise UserError('a comparison needs "prompt"')
    prompt = conversation(value["prompt"])
    if "completions" in value:
        lists = value["completions"], value.get("ranks", [])
        if not all(isinstance(one, list | tuple) for one in lists):
            raise UserError("completions and ranks must be lists, one entry for each completion")
        completions, ranks = tuple(lists[0]), tuple(lists[1])
    elif "chosen" in value and "rejected" in value:
        completions, ranks = (_last_text(value["chosen"]), _last_text(value["rejected"])), (0, 1)
    else:
        raise UserError('a comparison needs "completions" and "ranks", or "chosen" and "rejected"')
    meta = value.get("meta", {})
    if not isinstance(meta, Mapping):
        raise UserError(f"meta must be an object, got {type(meta).__name__}")
    return Comparison(
        prompt=prompt, completions=completions, ranks=ranks, labeller=value.get("labeller", ""), meta=meta
    )


def _last_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    last = conversation(value)[-1]
    if last.role != "assistant":
        raise UserError(f"a completion ends with the {last.role}'s message; it must end with the assistant's")
    return last.content


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield one object per line. UserError names file and line where there is no file or no JSON object."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a JSONL file")
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise UserError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not JSON ({error.msg}); one object a line is expected") from None
            if not isinstance(value, dict):
                raise UserError(f"{path}:{number}: a JSON object is expected, got {type(value).__name__}")
            yield value


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows, UTF-8, keys in the order given. Return how many."""
    n = 0
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += 1
    return n
