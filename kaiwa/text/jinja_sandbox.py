"""Rendering of untrusted Jinja2 templates: a sandbox with limits, and marks of what the template writes where.

A template comes from a downloaded file and is therefore untrusted code: ImmutableSandboxedEnvironment (no attribute
access to internals, no mutation), bounded `range`, and an output limit. Names follow transformers'
`apply_chat_template`: messages, add_generation_prompt, bos_token, eos_token, tools, raise_exception, strftime_now,
tojson, and the block `{% generation %} … {% endgeneration %}` around what the assistant wrote.

On request the output carries marks (Unicode noncharacters, which no text contains): one at the start of each turn of a
loop over the messages, with the message's number, and two around each generation block. They come from the compiled
template itself, so that they are right in a template that rewrites earlier turns.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError

TURN, LEARN, LEARNED = "\ufdd1", "\ufdd2", "\ufdd3"  # TURN loop:number TURN (no number: its end); LEARN text LEARNED
NONCHARACTERS = re.compile("[\ufdd0-\ufdef]")  # never in interchanged text
MARKS = re.compile(f"{TURN}(\\d+):(\\d*){TURN}|[{LEARN}{LEARNED}]")
MAX_TEMPLATE = 1 << 16  # characters
MAX_OUTPUT = 1 << 22
MAX_FACTOR = 1 << 20
MAX_TURNS = 200_000  # of all loops and macros together
TICK = f"tick_{secrets.token_hex(8)}"  # a name that no template can know, and set to something else
GENERATION = f"generation_{secrets.token_hex(8)}"


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> Any:
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(template) > MAX_TEMPLATE:
        raise UserError(f"the chat template has {len(template):,} characters; at most {MAX_TEMPLATE:,} are read")

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    class Environment(ImmutableSandboxedEnvironment):
        """A product may not be a gigabyte: 'x' * 10**9 is refused before the computation."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, first: Any, second: Any) -> Any:
            large = [v for v in (first, second) if isinstance(v, int | float) and abs(v) > MAX_FACTOR]
            if large or (operator == "**" and isinstance(second, int | float) and abs(second) > 64):
                raise jinja2.TemplateError(f"{operator} with a number above {MAX_FACTOR:,}")
            return super().call_binop(context, operator, first, second)

    class Generation(Extension):
        """The block {% generation %}: its text, between two marks."""

        tags = {"generation"}  # noqa: RUF012 (jinja2 reads the class attribute)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            marks = (
                nodes.Output([nodes.Call(nodes.Name(GENERATION, "load"), [nodes.Const(mark)], [], None, None)])
                for mark in (LEARN, LEARNED)
            )
            return [next(marks).set_lineno(line), *body, next(marks).set_lineno(line)]

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = time.strftime
    try:
        return environment.from_string(_count_turns(environment.parse(template)))
    except (
        jinja2.TemplateError,
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # break without a loop
        raise UserError(f"the chat template is no valid Jinja ({error})") from None


def _count_turns(tree: Any) -> Any:
    """Return the template with a call of TICK in each loop turn and macro, so that none runs for ever.

    In a loop over single values the call receives the loop's number and the value, and writes a mark where this is a
    message; a second call, with TURN as its value, marks the turn's end (`continue` leaves it out).
    """
    from jinja2 import nodes

    for number, node in enumerate(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))):
        single = isinstance(node, nodes.For) and isinstance(node.target, nodes.Name)
        value = [nodes.Const(number), nodes.Name(node.target.name, "load")] if single else []
        tick = nodes.Call(nodes.Name(TICK, "load"), value, [], None, None)
        node.body.insert(0, (nodes.Output([tick]) if single else nodes.ExprStmt(tick)).set_lineno(node.lineno))
        if single:
            end = nodes.Call(nodes.Name(TICK, "load"), [nodes.Const(number), nodes.Const(TURN)], [], None, None)
            node.body.append(nodes.Output([end]).set_lineno(node.lineno))
    return tree


@dataclass(slots=True)
class Budget:
    """The turns that one rendering may take. numbers: the messages' numbers by id(message), to be marked."""

    numbers: Mapping[int, int] = field(default_factory=dict)
    turns_left: int = MAX_TURNS

    def __call__(self, loop: int = 0, value: object = None) -> str:
        import jinja2

        if isinstance(value, str) and value == TURN:
            return f"{TURN}{loop}:{TURN}" if self.numbers else ""
        self.turns_left -= 1
        if self.turns_left < 0:
            raise jinja2.TemplateError(f"it loops: more than {MAX_TURNS:,} turns")
        number = self.numbers.get(id(value))
        return "" if number is None else f"{TURN}{loop}:{number}{TURN}"


def render_source(source: str, names: Mapping[str, Any], messages: Sequence[Any], marked: bool = False) -> str:
    """Return a template's output as one string. UserError when the template fails or writes too much.

    names: further variables of the template. marked: with marks around the turns of `messages`.
    """
    import jinja2

    numbers = {id(message): number for number, message in enumerate(messages)} if marked else {}
    values = {**names, "messages": messages, TICK: Budget(numbers), GENERATION: str if marked else _nothing}
    parts: list[str] = []
    size = 0
    compiled = _compile(source)
    try:
        for part in compiled.generate(**values):
            parts.append(part)
            size += len(part)
            if size > MAX_OUTPUT:
                break
    except (
        jinja2.TemplateError,
        TypeError,
        KeyError,
        ValueError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        RecursionError,
    ) as error:
        raise UserError(f"the chat template refuses these messages ({error})") from None
    if size > MAX_OUTPUT:
        raise UserError(f"the chat template writes more than {MAX_OUTPUT:,} characters; shorten the messages")
    return "".join(parts)


def _nothing(mark: str) -> str:
    return ""
