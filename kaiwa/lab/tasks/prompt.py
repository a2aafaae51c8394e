"""A prompt by its elements, and the formatter that renders a prompt to chat messages or to text.

instruction: what to do · context: what to know · examples: input and output pairs · input: the data · output_indicator:
where the answer begins ("Answer:") · leading_words: the answer's first words ("import", "SELECT").

`{name}` in instruction, context, input, output_indicator and leading_words is a variable; `{{` and `}}` are braces.
Values are put in unchanged: braces in values mean nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.text.records import Conversation, Message

ELEMENTS = ("instruction", "context", "examples", "input", "output_indicator", "leading_words")
ORDER = ELEMENTS[:4]  # the indicator and the leading words always end a prompt
DELIMITERS = ("none", "hashes", "quotes", "tags")
FORMS = ("chat", "text")
LABELS = {
    "en": {"instruction": "Instruction", "context": "Context", "input": "Input"},
    "ja": {"instruction": "指示", "context": "文脈", "input": "入力"},
}
TAGS = {"instruction": "instruction", "context": "context", "input": "input"}
VARIABLE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Example:
    """One demonstration: the text for the input's `{input}`, and the whole answer."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Prompt:
    instruction: str = ""
    context: str = ""
    examples: tuple[Example, ...] = ()
    input: str = "{input}"
    output_indicator: str = ""
    leading_words: str = ""
    delimiters: str = "none"
    order: tuple[str, ...] = ORDER
    language: str = "en"

    def __post_init__(self) -> None:
        if self.delimiters not in DELIMITERS:
            raise UserError(f"delimiters {self.delimiters!r} are unknown{did_you_mean(self.delimiters, DELIMITERS)}")
        if sorted(self.order) != sorted(ORDER):
            raise UserError(f"order {self.order}: name each of {', '.join(ORDER)} once")

    def variables(self) -> set[str]:
        parts = (self.instruction, self.context, self.input, self.output_indicator, self.leading_words)
        return {match[1] for part in parts for match in VARIABLE.finditer(part) if match[1]}

    def drop_element(self, element: str) -> Prompt:
        """Return the prompt without one element: the arm of an ablation. UserError for the input and for unknown
        elements."""
        if element not in ELEMENTS or element == "input":
            raise UserError(f"element {element!r} cannot be left out{did_you_mean(element, ELEMENTS)}")
        return dataclasses.replace(self, **{element: () if element == "examples" else ""})  # type: ignore[arg-type]


def fill(template: str, values: Mapping[str, str], where: str = "prompt") -> str:
    """Replace a template's variables, once. UserError for a variable without a value."""

    def value(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] not in values:
            raise UserError(f"{where}: the variable {{{match[1]}}} has no column{did_you_mean(match[1], values)}")
        return str(values[match[1]])

    return VARIABLE.sub(value, template)


def wrap(element: str, text: str, delimiters: str, language: str) -> str:
    """Put an element between delimiters. Triple quotes stand around data only (context and input)."""
    if not text or delimiters == "none":
        return text
    label = LABELS.get(language, LABELS["en"])[element]
    if delimiters == "hashes":
        return f"### {label}\n{text}"
    if delimiters == "tags":
        return f"<{TAGS[element]}>\n{text}\n</{TAGS[element]}>"
    return text if element == "instruction" else f'{label}: """\n{text}\n"""'


def render(prompt: Prompt, values: Mapping[str, str], form: str, where: str = "prompt") -> Conversation | str:
    """Render a prompt. `form` "text": one string that ends where the answer begins. "chat": messages, each example a
    turn.

    `values` has at least the named variables. UserError for a variable without a value.
    """
    if form not in FORMS:
        raise UserError(f"form {form!r} is unknown{did_you_mean(form, FORMS)}")
    end = _end(prompt, values, where)
    blocks: list[str | None] = []  # None: where the examples stand
    for element in prompt.order:
        if element == "examples":
            blocks.append(None)
            continue
        text = fill(getattr(prompt, element), values, where)
        if element == "input" and end and prompt.delimiters != "tags":
            blocks.append(_with_end(wrap(element, text, prompt.delimiters, prompt.language), end))
        elif text:
            blocks.append(wrap(element, text, prompt.delimiters, prompt.language))
    if prompt.delimiters == "tags" and end:
        blocks.append(end)
    shots = [(_shot(prompt, example, where), example.output) for example in prompt.examples]
    return _text(blocks, shots) if form == "text" else _chat(blocks, shots)


def _end(prompt: Prompt, values: Mapping[str, str], where: str) -> str:
    parts = (fill(prompt.output_indicator, values, where), fill(prompt.leading_words, values, where))
    return " ".join(part for part in parts if part)


def _shot(prompt: Prompt, example: Example, where: str) -> str:
    """Return an example's input, written as the real input is."""
    text = VARIABLE.sub(lambda match: example.input if match[1] == "input" else match[0], prompt.input)
    return _with_end(wrap("input", text, prompt.delimiters, prompt.language), VARIABLE.sub("", prompt.output_indicator))


def _with_end(text: str, end: str) -> str:
    return f"{text}\n{end}" if end else text


def _text(blocks: list[str | None], shots: list[tuple[str, str]]) -> str:
    parts: list[str] = []
    for block in blocks:
        if block is not None:
            parts.append(block)
        else:
            parts += [
                f"{question} {answer}" if question[-1:] in ":：" else f"{question}\n{answer}"
                for question, answer in shots
            ]
    return "\n\n".join(parts)


def _chat(blocks: list[str | None], shots: list[tuple[str, str]]) -> Conversation:
    messages: list[Message] = []
    waiting: list[str] = []  # text for the next user message
    for block in blocks:
        if block is not None:
            waiting.append(block)
            continue
        for question, answer in shots:
            messages += [Message("user", "\n\n".join([*waiting, question])), Message("assistant", answer)]
            waiting = []
    return (*messages, Message("user", "\n\n".join(waiting)))


def prompt_as_text(prompt: Conversation | str) -> str:
    """Return a prompt as text for reports, with the roles named."""
    return prompt if isinstance(prompt, str) else "\n".join(f"[{m.role}] {m.content}" for m in prompt)
