"""Chat templates of other models: content never becomes a special token, and the assistant's turns are marked.

How content stays content: before rendering, each special token's text within a message gets a noncharacter (U+FDD0)
after its first character. Special tokens that the template itself wrote are still intact, so splitting there finds
exactly the template's special tokens; then the noncharacter is taken out again. Added tokens that are not special, such
as <think>, are guarded in the words of users and tools, and read as tokens where the template or the assistant wrote
them.

Which parts are learned: `assistant_turns`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from kaiwa.core.errors import UserError
from kaiwa.text.assistant_turns import PROBE, assistant_turns, missing_prompt
from kaiwa.text.jinja_sandbox import NONCHARACTERS, render_source
from kaiwa.text.pieces import Encoder, PromptPiece
from kaiwa.text.records import Conversation

MARK = "\ufdd0"  # a Unicode noncharacter: never in interchanged text
PromptEnding = Literal["answer", "continue", "none"]
OTHERS = ("user", "tool")  # whose words become no added token at all


@dataclass(frozen=True, slots=True)
class JinjaTemplate:
    """A template with the texts of the tokenizer's added tokens.

    controls: those that are not special. strips: tokens that take white space before or after them away.
    """

    source: str
    specials: tuple[str, ...] = ()
    bos_token: str = ""
    eos_token: str = ""
    controls: tuple[str, ...] = ()
    strips: Mapping[str, tuple[bool, bool]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Layout:
    """A conversation's pieces, and why assistant's messages are not among the learned ones, by number."""

    pieces: list[PromptPiece]
    unmarked: Mapping[int, str] = field(default_factory=dict)


def template_of(tokenizer: Encoder, source: str) -> JinjaTemplate:
    """Return a template with a tokenizer's tokens."""
    return JinjaTemplate(
        source,
        tuple(tokenizer.specials),
        tokenizer.bos_token,
        tokenizer.eos_token,
        tuple(tokenizer.controls),
        tokenizer.strips,
    )


def render_text(template: JinjaTemplate, conversation: Conversation, add_generation_prompt: bool = False) -> str:
    """Return the template's output as one string. UserError when the template fails or writes too much."""
    messages = [m.for_template() for m in conversation]
    return _Rendering(template)(messages, add_generation_prompt)


def prompt_pieces(
    template: JinjaTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    variables: Mapping[str, Any] = MappingProxyType({}),
    ending: PromptEnding = "answer",
) -> list[PromptPiece]:
    """Return the layout of a conversation, by default ready to be answered.

    Messages and tools have the shapes of OpenAI's API (arguments as objects); every string inside is content and stays
    text. variables: more of the template's variables, such as enable_thinking. ending: "answer" with the assistant's
    header, "continue" in the last message, which goes on, "none" after the last message. UserError when the template
    fails, or does not write a message that is to go on.
    """
    guarded = _guarded(template, messages)
    rendering = _Rendering(template, tools, _guard_all(dict(variables), template.specials))
    if ending == "continue":
        guarded[-1]["content"] = str(guarded[-1].get("content") or "") + PROBE
    if takes_parts(template.source):
        texts = [[{"type": "text", "text": m["content"]}] if m.get("content") else [] for m in guarded]
        guarded = [m | {"content": parts} for m, parts in zip(guarded, texts, strict=True)]
    if ending == "answer":
        return _split(_render_prompt(rendering, guarded), template)
    text, probed, _ = rendering(guarded, False).partition(PROBE)
    if ending == "continue" and not probed:
        raise UserError("the chat template does not write the last message, so that it cannot be continued")
    return _split(text, template)


@functools.lru_cache(maxsize=32)
def takes_parts(source: str) -> bool:
    """Return whether a template writes a message's content only when this is a list of parts."""

    def writes(content: object) -> bool:
        names = {"add_generation_prompt": True, "bos_token": "", "eos_token": "", "tools": None}
        try:
            return PROBE in render_source(source, names, [{"role": "user", "content": content}])
        except UserError:
            return False

    return not writes(PROBE) and writes([{"type": "text", "text": PROBE}])


def jinja_pieces(template: JinjaTemplate, conversation: Conversation, add_generation_prompt: bool) -> list[PromptPiece]:
    """Return a conversation's layout by any template, with the assistant's turns marked to be learned."""
    return jinja_layout(template, conversation, add_generation_prompt).pieces


def jinja_layout(
    template: JinjaTemplate,
    conversation: Conversation,
    add_generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Layout:
    """Return a conversation's layout by any template, the assistant's turns marked, and the turns that cannot be."""
    messages = _guarded(template, [m.for_template() for m in conversation])
    ends = tuple(p for p in (_pattern(template.specials), _pattern(template.controls)) if p is not None)
    turns = assistant_turns(_Rendering(template, tools), messages, ends)
    whole = turns.text
    if add_generation_prompt:
        whole = _render_prompt(_Rendering(template, tools), messages, turns.text)
    pieces: list[PromptPiece] = []
    position = 0
    for turn in turns.learned:
        weight = conversation[turn.message].weight
        if weight and whole[: turn.end] == turns.text[: turn.end]:
            pieces += _split(whole[position : turn.start], template)
            pieces += [replace(piece, learn=weight) for piece in _split(whole[turn.start : turn.end], template)]
            position = turn.end
    unmarked = {number: why for number, why in turns.unmarked.items() if conversation[number].weight}
    return Layout(pieces + _split(whole[position:], template), unmarked)


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A template as the function that `assistant_turns` needs."""

    template: JinjaTemplate
    tools: Sequence[Mapping[str, Any]] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, messages: Sequence[Any], prompt: bool, marked: bool = False) -> str:
        names = {
            **self.variables,
            "add_generation_prompt": prompt,
            "bos_token": self.template.bos_token,
            "eos_token": self.template.eos_token,
            "tools": _guard_all(list(self.tools), self.template.specials) or None,
        }
        return render_source(self.template.source, names, list(messages), marked)


def _render_prompt(rendering: _Rendering, messages: Sequence[Mapping[str, Any]], plain: str | None = None) -> str:
    """Return messages ready to be answered, also by a template that has no generation prompt.

    plain: the messages without a generation prompt, where they are rendered already.
    """
    whole = rendering(messages, True)
    if not messages or messages[-1]["role"] == "assistant":
        return whole
    same = whole == (rendering(messages, False) if plain is None else plain)
    head = missing_prompt(rendering, messages) if same else ""
    name = head.strip()
    if name and whole.rstrip().endswith(name):  # some templates always end with the assistant's header
        return whole.rstrip().removesuffix(name) + head
    return whole + head


def _guarded(template: JinjaTemplate, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages in which no text is an added token that its writer may not write."""
    everything = template.specials + template.controls
    return [
        {**_guard_all(dict(m), everything if m.get("role") in OTHERS else template.specials), "role": m.get("role")}
        for m in messages
    ]


def _guard_all(value: Any, tokens: tuple[str, ...]) -> Any:
    """Apply `_guard` to every string in a JSON value."""
    if isinstance(value, str):
        return _guard(value, tokens)
    if isinstance(value, Mapping):
        return {_guard(key, tokens): _guard_all(inner, tokens) for key, inner in value.items()}
    return [_guard_all(inner, tokens) for inner in value] if isinstance(value, list | tuple) else value


def _guard(content: str, tokens: tuple[str, ...]) -> str:
    content = NONCHARACTERS.sub("\ufffd", content)
    pattern = _pattern(tokens)
    return pattern.sub(lambda m: m.group()[0] + MARK + m.group()[1:], content) if pattern else content


def split_tokens(template: JinjaTemplate, text: str) -> list[PromptPiece]:
    """Return a text as pieces: its added tokens, special or not, and what stands between them."""
    return _split(NONCHARACTERS.sub("\ufffd", text), template)


def _split(text: str, template: JinjaTemplate) -> list[PromptPiece]:
    """Return text as pieces: the added tokens that are intact, and the text between them without the guards."""
    pattern = _pattern(template.specials + template.controls)
    pieces: list[PromptPiece] = []
    position, take = 0, False  # take: white space that follows belongs to the token before
    for match in pattern.finditer(text) if pattern is not None else ():
        name = match.group()
        before, after = template.strips.get(name, (False, False))
        pieces += _text_piece(text[position : match.start()], template, take, before)
        special = name in template.specials
        pieces.append(PromptPiece(name, special=special, control=not special))
        position, take = match.end(), after
    return pieces + _text_piece(text[position:], template, take, False)


def _text_piece(text: str, template: JinjaTemplate, before: bool, after: bool) -> list[PromptPiece]:
    text = text.lstrip() if before else text
    text = text.rstrip() if after else text
    plain = MARK in text
    text = text.replace(MARK, "")
    controls = _pattern(template.controls) if plain else None
    return [PromptPiece(text, plain=controls is not None and controls.search(text) is not None)] if text else []


@functools.lru_cache(maxsize=32)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str] | None:
    ordered = sorted((n for n in names if n), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
