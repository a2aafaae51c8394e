"""Function calling: what a request offers, how a model is told, and how its calls are read back.

A model whose chat template knows tools is told through it (engine side: prompts.py). Any other gets a system text, in
the form that Hermes models were taught and many followed: each function as JSON Schema within <tools>, a call as

    <tool_call>{"name": …, "arguments": {…}}</tool_call>

and a result as a user's <tool_response>…</tool_response>. tool_choice "required" and a named function go through a
grammar: the answer is one call's JSON, so it always parses (unless max_tokens cuts it).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from kaiwa.serve.http.bounded_json import plain_json

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

TOLD = """You may call functions. Each line within <tools> describes one, its parameters as JSON Schema:
<tools>
{functions}
</tools>
To call a function, answer with its name and arguments as JSON:
<tool_call>
{{"name": "function name", "arguments": {{"parameter": "value"}}}}
</tool_call>
Call a function only when it helps with what the user asks. Its result comes within <tool_response>."""


class Function(BaseModel):
    name: FunctionName
    description: Annotated[str, Field(max_length=1 << 14)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    _plain = field_validator("parameters")(plain_json)


class Tool(BaseModel):
    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    name: FunctionName


class NamedTool(BaseModel):
    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class Call:
    """One call a model made; `arguments` is JSON text."""

    name: str
    arguments: str
    id: str

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


def describe(tool: Tool) -> dict[str, Any]:
    """A tool as templates and system texts show it."""
    parameters = tool.function.parameters or {"type": "object", "properties": {}}
    shown = {"name": tool.function.name, "description": tool.function.description or "", "parameters": parameters}
    return {"type": "function", "function": shown}


def forced_schema(tools: Sequence[Tool]) -> str:
    """The JSON Schema of a call to one of these functions."""

    def one(tool: Tool) -> dict[str, Any]:
        arguments = tool.function.parameters or {"type": "object"}
        return {
            "type": "object",
            "properties": {"name": {"const": tool.function.name}, "arguments": arguments},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }

    shapes = [one(tool) for tool in tools]
    return json.dumps(shapes[0] if len(shapes) == 1 else {"anyOf": shapes}, ensure_ascii=False)


def as_plain(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The same conversation for a model that knows three roles and no tools: everything said in text."""
    found: list[dict[str, str]] = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
            if found and found[-1]["role"] == "user" and found[-1]["content"].startswith("<tool_response>"):
                found[-1]["content"] += "\n" + content  # results of one turn's calls are one turn
                continue
        for call in message.get("tool_calls", ()):
            said = {"name": call["function"]["name"], "arguments": _parsed(call["function"]["arguments"])}
            content += ("\n" if content else "") + f"{OPEN}\n{json.dumps(said, ensure_ascii=False)}\n{CLOSE}"
        found.append({"role": role, "content": content})
    if tools:
        told = TOLD.format(functions="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
        if found and found[0]["role"] == "system":
            found[0] = {"role": "system", "content": found[0]["content"] + "\n\n" + told}
        else:
            found.insert(0, {"role": "system", "content": told})
    return found


def with_parsed_arguments(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as Hugging Face templates want them: a call's arguments are an object, not its JSON text."""
    found = []
    for message in messages:
        made = dict(message)
        if "tool_calls" in made:
            made["tool_calls"] = [
                call | {"function": call["function"] | {"arguments": _parsed(call["function"]["arguments"])}}
                for call in made["tool_calls"]
            ]
        found.append(made)
    return found


def _parsed(arguments: str) -> Any:
    try:
        return plain_json(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments


class ToolReader:
    """Tells content from calls while an answer comes. `push` and `finish` return content; calls gather in `calls`.

    What looks like the beginning of a call waits until it is one or is not. A call that cannot be read, or names no
    function of the request, stays in the content as it was written.
    """

    def __init__(self, names: Sequence[str], forced: bool = False) -> None:
        self.names, self.forced = tuple(names), forced
        self.calls: list[Call] = []
        self._held, self._inside = "", False

    def push(self, text: str) -> str:
        self._held += text
        if self.forced:
            return ""
        content = ""
        while True:
            if not self._inside:
                before, found, after = self._held.partition(OPEN)
                if not found:
                    keep = _overlap(self._held, OPEN)
                    content += self._held[: len(self._held) - keep]
                    self._held = self._held[len(self._held) - keep :]
                    return content
                content, self._held, self._inside = content + before, after, True
            body, found, after = self._held.partition(CLOSE)
            if not found:
                return content
            if not self._read(body):
                content += OPEN + body + CLOSE
            self._held, self._inside = after, False

    def finish(self) -> str:
        """The rest: a call whose end tag was left out still counts."""
        held, inside = self._held, self._inside
        self._held, self._inside = "", False
        if (inside or self.forced) and self._read(held):
            return ""
        return (OPEN if inside else "") + held

    def _read(self, body: str) -> bool:
        try:
            value = json.loads(body)
            name, arguments = value["name"], value.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        if name not in self.names:
            return False
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self.calls.append(Call(name, written, f"call_{secrets.token_hex(12)}"))
        return True


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` begin `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:n])), 0)
