"""Chat templates of other models: Jinja2 in a sandbox, with limits, and without letting content become special tokens.

A template comes from a downloaded file and is therefore untrusted code: ImmutableSandboxedEnvironment (no attribute
access to internals, no mutation), bounded `range`, and an output limit. Names follow transformers'
`apply_chat_template`: messages, add_generation_prompt, bos_token, eos_token, raise_exception, strftime_now, tojson.

How content stays content: before rendering, each special token's text within a message gets a noncharacter (U+FDD0)
after its first character. Special tokens that the template itself wrote are still intact, so splitting there finds
exactly the template's special tokens; then the noncharacter is taken out again.

How the mask is found: the conversation up to an assistant's turn is rendered with the generation prompt, and again with
the turn. The text added by the second rendering is the turn: learned up to the first special token, which ends the
turn.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.pieces import PromptPiece
from kaiwa.text.records import Conversation, Message

MARK = "\ufdd0"  # a Unicode noncharacter: never in interchanged text
MAX_TEMPLATE = 1 << 16  # characters
MAX_OUTPUT = 1 << 22
MAX_FACTOR = 1 << 20
MAX_TURNS = 200_000  # of all loops and macros together
TICK = f"tick_{secrets.token_hex(8)}"  # a name that no template can know, and set to something else


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(template) > MAX_TEMPLATE:
        raise UserError(f"the chat template has {len(template):,} characters; at most {MAX_TEMPLATE:,} are read")

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    class Environment(ImmutableSandboxedEnvironment):
        """A product may not be a gigabyte: 'x' * 10**9 is refused before the computation."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, first: Any, second: Any) -> Any:
            large = [v for v in (first, second) if isinstance(v, int | float) and abs(v) > MAX_FACTOR]
            if large or (operator == "**" and isinstance(second, int | float) and abs(second) > 64):
                raise jinja2.TemplateError(f"{operator} with a number above {MAX_FACTOR:,}")
            return super().call_binop(context, operator, first, second)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
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
    """Return the template with a call of TICK in each loop turn and macro, so that none runs for ever."""
    from jinja2 import nodes

    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        tick = nodes.Call(nodes.Name(TICK, "load"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
    return tree


class Budget:
    """How many turns one rendering may take."""

    def __init__(self) -> None:
        self.turns_left = MAX_TURNS

    def __call__(self) -> None:
        import jinja2

        self.turns_left -= 1
        if self.turns_left < 0:
            raise jinja2.TemplateError(f"it loops: more than {MAX_TURNS:,} turns")


@dataclass(frozen=True, slots=True)
class JinjaTemplate:
    """A template with the texts of the tokenizer's special tokens."""

    source: str
    specials: tuple[str, ...] = ()
    bos_token: str = ""
    eos_token: str = ""


def render_text(template: JinjaTemplate, conversation: Conversation, add_generation_prompt: bool = False) -> str:
    """Return the template's output as one string. UserError when the template fails or writes too much."""
    return _render(template, [m.to_json() for m in conversation], add_generation_prompt, None)


def tool_pieces(
    template: JinjaTemplate, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[PromptPiece]:
    """Return the layout of a conversation with tools, ready to be answered, by a template that knows tools.

    Messages and tools have the shapes of OpenAI's API (arguments as objects); every string inside is content and stays
    text. UserError when the template fails.
    """
    guarded, offered = _guard_all(list(messages), template.specials), _guard_all(list(tools), template.specials)
    return _split(_render(template, guarded, True, offered or None), template.specials)


def _guard_all(value: Any, specials: tuple[str, ...]) -> Any:
    """Apply `_guard` to every string in a JSON value."""
    if isinstance(value, str):
        return _guard(value, specials)
    if isinstance(value, Mapping):
        return {_guard(key, specials): _guard_all(inner, specials) for key, inner in value.items()}
    return [_guard_all(inner, specials) for inner in value] if isinstance(value, list) else value


def _render(template: JinjaTemplate, messages: list[dict[str, Any]], add_generation_prompt: bool, tools: Any) -> str:
    import jinja2

    names = {
        "messages": messages,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": template.bos_token,
        "eos_token": template.eos_token,
        "tools": tools,
        TICK: Budget(),
    }
    parts: list[str] = []
    size = 0
    compiled = _compile(template.source)
    try:
        for part in compiled.generate(**names):
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


def jinja_pieces(template: JinjaTemplate, conversation: Conversation, add_generation_prompt: bool) -> list[PromptPiece]:
    """Return a conversation's layout by any template, with the assistant's turns marked to be learned."""
    guarded = tuple(Message(m.role, _guard(m.content, template.specials)) for m in conversation)
    whole = render_text(template, guarded, add_generation_prompt)
    pieces: list[PromptPiece] = []
    position = 0
    for start, end in _assistant_spans(template, guarded, whole):
        pieces += _split(whole[position:start], template.specials)
        pieces += _mark_learned(_split(whole[start:end], template.specials))
        position = end
    return pieces + _split(whole[position:], template.specials)


def _assistant_spans(template: JinjaTemplate, conversation: Conversation, whole: str) -> list[tuple[int, int]]:
    """Return (start, end) of the text that each assistant turn adds; [] where a template rewrites earlier turns."""
    spans = []
    for i, message in enumerate(conversation):
        if message.role != "assistant" or i == 0:
            continue
        before = render_text(template, conversation[:i], True)
        after = render_text(template, conversation[: i + 1], False)
        if after.startswith(before) and whole.startswith(after):
            spans.append((len(before), len(after)))
    return spans


def _guard(content: str, specials: tuple[str, ...]) -> str:
    content = content.replace(MARK, "\ufffd")
    pattern = _pattern(specials)
    return pattern.sub(lambda m: m.group()[0] + MARK + m.group()[1:], content) if pattern else content


def _split(text: str, specials: tuple[str, ...]) -> list[PromptPiece]:
    pattern = _pattern(specials)
    if pattern is None:
        return [PromptPiece(text.replace(MARK, ""))] if text else []
    pieces: list[PromptPiece] = []
    position = 0
    for match in pattern.finditer(text):
        if match.start() > position:
            pieces.append(PromptPiece(text[position : match.start()].replace(MARK, "")))
        pieces.append(PromptPiece(match.group(), special=True))
        position = match.end()
    if position < len(text):
        pieces.append(PromptPiece(text[position:].replace(MARK, "")))
    return pieces


def _mark_learned(turn: Sequence[PromptPiece]) -> list[PromptPiece]:
    """Return a turn's pieces, marked to be learned up to the first special token."""
    pieces = []
    open = True
    for piece in turn:
        pieces.append(PromptPiece(piece.text, piece.special, learn=open))
        open = open and not piece.special
    return pieces


@functools.lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str] | None:
    ordered = sorted((n for n in names if n), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
