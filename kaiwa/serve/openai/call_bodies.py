"""The bodies of tool calls, as generators over a text that is still arriving (text_scan.py).

Each takes the scan at the body's first character and hands calls to a CallWriter. Before the name is known to be an
offered function, Malformed means that this is no call; afterwards the call stands, with what was written of it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from kaiwa.serve.openai.text_scan import Cut, Malformed, Step, TextScan, read_json, read_string

NAME = re.compile(r"[A-Za-z_][\w.-]*")
KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)
BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w-]*)\s*:")
BEGIN, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"  # DeepSeek's
INVOKE = ("<｜DSML｜invoke ", "<invoke ")  # DeepSeek V3.2's and V4's, MiniMax's
ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*["']([^"']*)["']""")
MAX_VALUE = 1 << 16  # characters of an argument that is evaluated
ARGUMENTS = ("arguments", "parameters")
CALL_KEYS = {"name", "type", "function", "id", *ARGUMENTS}


class CallWriter(Protocol):
    """Takes the calls of an answer. schemas: the JSON Schema of each offered function's parameters, by name."""

    schemas: Mapping[str, Mapping[str, Any]]

    def start(self, name: str) -> None:
        """Begin a call. Malformed if no such function is offered."""

    def write(self, text: str) -> None:
        """Append to the call's arguments, which are JSON text."""

    def end(self) -> None:
        """End the call."""


class ArgumentList:
    """The arguments of a call, written as a JSON object, one at a time."""

    def __init__(self, calls: CallWriter, name: str) -> None:
        calls.start(name)
        self.calls, self.n = calls, 0
        self.properties: Mapping[str, Any] = calls.schemas.get(name, {}).get("properties") or {}

    def write(self, key: str, value: object) -> None:
        before = ", " if self.n else "{"
        self.calls.write(f"{before}{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}")
        self.n += 1

    def end(self) -> None:
        self.calls.write("}" if self.n else "{}")
        self.calls.end()


def read_calls(scan: TextScan, calls: CallWriter, quotes: tuple[str, ...] = (), *, lines: bool = False) -> Step[None]:
    """Read one call or several, in whichever form begins here. Malformed if none does. lines: calls follow calls."""
    first = yield from scan.skip()
    if (yield from scan.begins(BEGIN)):
        scan.take(len(BEGIN))
        first = yield from scan.skip()
    if first == "{":
        yield from _read_objects(scan, calls, ";,")
    elif first == "[":
        scan.take(1)
        if (yield from scan.skip()) == "{":
            yield from _read_objects(scan, calls, ",")
            yield from scan.expect("]")
        else:
            yield from _read_python_list(scan, calls)
    elif (yield from scan.begins("<function=")):
        scan.take(len("<function="))
        yield from read_function_tag(scan, calls)
    elif (yield from scan.begins(*INVOKE)):
        yield from _read_invocations(scan, calls)
    elif (yield from scan.begins("call:")):
        scan.take(len("call:"))
        yield from _read_gemma(scan, calls, quotes)
    else:
        yield from _read_named(scan, calls)
        while lines and (yield from scan.skip()) not in ("<", ""):
            yield from _read_named(scan, calls)


def _read_objects(scan: TextScan, calls: CallWriter, separators: str) -> Step[None]:
    while True:
        yield from _read_object(scan, calls)
        if (yield from scan.skip()) in (*separators,):
            scan.take(1)
        if (yield from scan.skip()) != "{":
            return


def _read_object(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read {"name": …, "arguments": {…}}, its fields in any order, or the same as {"function": {…}}."""
    yield from scan.expect("{")
    name: str | None = None
    arguments: str | None = None  # those before the name
    written = False
    try:
        while (first := (yield from scan.skip())) != "}":
            if first == ",":
                scan.take(1)
                continue
            key = yield from read_string(scan)
            if name is None and key not in CALL_KEYS:
                raise Malformed
            yield from scan.skip()
            yield from scan.expect(":")
            value = yield from scan.skip()
            if key == "function" and value == "{" and name is None:
                yield from _read_object(scan, calls)
                name, written = "", True
            elif key == "name":
                name = yield from read_string(scan)
                if name not in calls.schemas:
                    raise Malformed
            elif key in ARGUMENTS and not written:
                if name is not None:
                    calls.start(name)
                    written = True
                    yield from _read_arguments(scan, calls)
                else:
                    arguments = yield from _read_whole(scan)
            else:
                yield from read_json(scan, lambda text: None)
        scan.take(1)
    except Cut:
        if name is not None and not written:
            calls.start(name)
            calls.write(arguments or "")
        raise
    if name is None:
        raise Malformed
    if not written:
        calls.start(name)
        calls.write(arguments or "{}")
    calls.end()


def _read_arguments(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read a call's arguments as they come: an object, or a string with the object's text in it."""
    first = yield from scan.peek()
    if first in ("{", "["):
        yield from read_json(scan, calls.write)
    else:
        calls.write((yield from _read_whole(scan)))


def _read_whole(scan: TextScan) -> Step[str]:
    """Return a whole value as JSON text; a string's content; {} for null."""
    if (yield from scan.peek()) == '"':
        return (yield from read_string(scan))
    parts: list[str] = []
    yield from read_json(scan, parts.append)
    text = "".join(parts)
    return "{}" if text == "null" else text


def _read_name(scan: TextScan, *ends: str) -> Step[tuple[str, str]]:
    """Return a function's name and the text after it, which is not taken. Malformed for anything but a name."""
    while True:
        match = NAME.match(scan.rest)
        if scan.rest and match is None:
            raise Malformed
        if match is not None and match.end() < len(scan.rest):
            name = scan.take(match.end())
            yield from scan.skip()
            end = yield from scan.begins(*ends)
            if not end:
                raise Cut if scan.ended and not scan.rest else Malformed
            return name, end
        if scan.ended:
            raise Cut
        yield


def _read_named(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read name{…}, name[ARGS]{…} or name[CALL_ID]…[ARGS]{…} (Mistral), name(a=1) (Python), or DeepSeek's forms."""
    name, end = yield from _read_name(scan, "{", "(", "[ARGS]", "[CALL_ID]", SEPARATOR)
    if end == SEPARATOR:
        scan.take(len(end))
        yield from _read_separated(scan, calls, name)
        return
    if end == "(":
        scan.take(1)
        yield from _read_python_arguments(scan, ArgumentList(calls, name))
        return
    if end == "[CALL_ID]":
        yield from scan.take_until("[ARGS]")
    if end != "{":
        scan.take(len("[ARGS]"))
    calls.start(name)
    yield from scan.skip()
    yield from read_json(scan, calls.write)
    calls.end()


def _read_separated(scan: TextScan, calls: CallWriter, name: str) -> Step[None]:
    """Read {…} after a name (DeepSeek V3.1), or name and a fence of JSON after the word "function" (V3, R1)."""
    if (yield from scan.skip()) != "{":
        name, fence = yield from _read_name(scan, "```json", "{")
        scan.take(len(fence.removesuffix("{")))
    calls.start(name)
    yield from scan.skip()
    yield from read_json(scan, calls.write)
    calls.end()
    yield from scan.skip()
    if (yield from scan.begins("```")):
        scan.take(3)


def _read_python_list(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read f(a=1, b="x"), g()] after its opening bracket."""
    while True:
        name, _ = yield from _read_name(scan, "(")
        scan.take(1)
        yield from _read_python_arguments(scan, ArgumentList(calls, name))
        if (yield from scan.skip(" \t\r\n,")) in ("]", ""):
            scan.take(1)
            return


def _read_python_arguments(scan: TextScan, arguments: ArgumentList) -> Step[None]:
    """Read a=1, "x") after the opening bracket. A value without a name is the next of the schema's properties."""
    names = list(arguments.properties)
    while (yield from scan.skip(" \t\r\n,")) != ")":
        text = yield from _read_value(scan, ")", ('"', "'"))
        match = KEYWORD.fullmatch(text)
        place = arguments.n
        key = match[1] if match is not None else names[place] if place < len(names) else f"argument{place + 1}"
        arguments.write(key, _python_value(match[2] if match is not None else text))
    scan.take(1)
    arguments.end()


def _python_value(text: str) -> object:
    try:
        value: object = ast.literal_eval(text.strip()) if len(text) <= MAX_VALUE else text
        json.dumps(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return _typed(text.strip(), {})
    return value


def _read_value(scan: TextScan, end: str, quotes: tuple[str, ...]) -> Step[str]:
    """Return the text before the next comma or `end` that stands in no bracket and in no quotes."""
    depth, at, quote = 0, 0, ""
    while True:
        while at < len(scan.rest):
            if quote and scan.rest[at] == "\\" and len(quote) == 1:
                at += 2
                continue
            mark = next((q for q in quotes if scan.rest.startswith(q, at)), "")
            if not mark and any(len(q) > 1 and q.startswith(scan.rest[at:]) for q in quotes):
                break  # perhaps the beginning of a quote
            c = scan.rest[at]
            if quote:
                quote = "" if mark == quote else quote
            elif mark:
                quote = mark
            elif depth == 0 and c in ("," + end):
                return scan.take(at)
            else:
                depth += (c in "([{") - (c in ")]}")
            at += max(1, len(mark))
        if scan.ended:
            raise Cut
        yield


def read_function_tag(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read name><parameter=a>…</parameter></function>, or name>{…}</function>, after <function=."""
    name, _ = yield from scan.take_until(">")
    name = name.strip().strip("\"'")
    if name not in calls.schemas:
        raise Malformed
    scan.take(1)
    if (yield from scan.skip()) == "{":
        calls.start(name)
        yield from read_json(scan, calls.write)
        calls.end()
        return
    arguments = ArgumentList(calls, name)
    while (yield from scan.begins("<parameter=")):
        scan.take(len("<parameter="))
        key, _ = yield from scan.take_until(">")
        scan.take(1)
        text, end = yield from scan.take_until("</parameter>", "<parameter=", "</function>")
        key = key.strip().strip("\"'")
        arguments.write(key, _typed(text.removeprefix("\n").removesuffix("\n"), arguments.properties.get(key) or {}))
        if end == "</parameter>":
            scan.take(len(end))
        yield from scan.skip()
    if not (yield from scan.begins("</function>", "</tool_call>")):
        raise Cut if scan.ended else Malformed
    arguments.end()


def _read_invocations(scan: TextScan, calls: CallWriter) -> Step[None]:
    """Read <invoke name="f">, its parameters or its arguments as JSON, and </invoke>, as often as they come."""
    while tag := (yield from scan.begins(*INVOKE)):
        scan.take(len(tag))
        mark = tag.removeprefix("<").removesuffix("invoke ")
        parameter, end = f"<{mark}parameter ", f"</{mark}invoke>"
        name = (yield from _read_attributes(scan)).get("name", "")
        if name not in calls.schemas:
            raise Malformed
        if (yield from scan.skip()) == "{":
            calls.start(name)
            yield from read_json(scan, calls.write)
            calls.end()
        else:
            arguments = ArgumentList(calls, name)
            while (yield from scan.begins(parameter)):
                attributes = yield from _read_attributes(scan)
                closing = f"</{mark}parameter>"
                text, stop = yield from scan.take_until(closing, parameter, end)
                key = attributes.get("name", "")
                schema = {"type": "string"} if attributes.get("string") == "true" else arguments.properties.get(key)
                arguments.write(key, _typed(text.removeprefix("\n").removesuffix("\n"), schema or {}))
                scan.take(len(closing) if stop == closing else 0)
                yield from scan.skip()
            if not (yield from scan.begins(end, "</")):
                raise Cut if scan.ended else Malformed
            arguments.end()
        yield from scan.skip()
        if (yield from scan.begins(end)):
            scan.take(len(end))
        yield from scan.skip()


def _read_attributes(scan: TextScan) -> Step[dict[str, str]]:
    """Read a tag up to its end and return its attributes."""
    text, _ = yield from scan.take_until(">")
    scan.take(1)
    return dict(ATTRIBUTE.findall(text))


def _read_gemma(scan: TextScan, calls: CallWriter, quotes: tuple[str, ...]) -> Step[None]:
    """Read name{a:1,b:<escape>x<escape>} after call:."""
    name, _ = yield from _read_name(scan, "{")
    scan.take(1)
    arguments = ArgumentList(calls, name)
    while (yield from scan.skip(" \t\r\n,")) != "}":
        key, _ = yield from scan.take_until(":")
        scan.take(1)
        text = yield from _read_value(scan, "}", quotes)
        arguments.write(key.strip().strip('"'), _gemma_value(text.strip(), quotes))
    scan.take(1)
    arguments.end()


def _gemma_value(text: str, quotes: tuple[str, ...]) -> object:
    """Return the value of a text in which strings stand in quotes and keys in none."""
    quote = next((q for q in quotes if q in text), None)
    parts = text.split(quote) if quote is not None else [text]
    source = "".join(
        json.dumps(part) if i % 2 else BARE_KEY.sub(r'\1"\2":', part)  # every second part was quoted
        for i, part in enumerate(parts)
    )
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        return text


def _typed(text: str, schema: object) -> object:
    """Return the value that a text stands for, by the schema of its parameter: a string unless another type fits."""
    types = _types(schema)
    if types == {"string"}:
        return text
    try:
        value: object = json.loads({"True": "true", "False": "false", "None": "null"}.get(text.strip(), text))
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _types(schema: object) -> set[str]:
    """Return the types that a schema names."""
    if not isinstance(schema, Mapping):
        return set()
    listed = schema.get("type", [])
    types = {listed} if isinstance(listed, str) else set(map(str, listed)) if isinstance(listed, list) else set()
    types |= (
        {"string"}
        if isinstance(schema.get("enum"), list) and all(isinstance(v, str) for v in schema["enum"])
        else set()
    )
    return types.union(*(_types(option) for key in ("anyOf", "oneOf") for option in schema.get(key) or ()))
