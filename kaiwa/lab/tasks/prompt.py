"""A prompt by its elements, and the formatter that renders a prompt to chat messages or to text.

instruction: what to do · context: what to know · examples: demonstrations, each with its columns and its answer ·
input: the data · output_indicator: where the answer begins ("Answer:") · leading_words: the answer's first words
("import", "SELECT") · system: the system message · turns: what was said before the question.

`{name}` is a variable: a column's name, which may hold spaces, hyphens and other signs; `{{` and `}}` are braces.
Values are put in unchanged: braces in values mean nothing. One function writes the question of an item and that of a
demonstration, each from its own columns, so both always look alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.variables import fill, variable_names
from kaiwa.text.records import Conversation, Message

ELEMENTS = ("instruction", "context", "examples", "input", "output_indicator", "leading_words", "system")
ORDER = ELEMENTS[:4]  # the indicator and the leading words always end a prompt, the system text begins it
DELIMITERS = ("none", "hashes", "quotes", "tags")
FORMS = ("chat", "text")
LABELS = {
    "en": {"instruction": "Instruction", "context": "Context", "input": "Input"},
    "ja": {"instruction": "指示", "context": "文脈", "input": "入力"},
}
TAGS = {"instruction": "instruction", "context": "context", "input": "input"}


@dataclass(frozen=True, slots=True)
class Example:
    """One demonstration: the text for `{input}`, the whole answer, and the other columns of the prompt's variables."""

    input: str
    output: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """Return the values of the prompt's variables."""
        return {"input": self.input, **self.columns}


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
    system: str = ""
    turns: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        if self.delimiters not in DELIMITERS:
            raise UserError(f"delimiters {self.delimiters!r} are unknown{did_you_mean(self.delimiters, DELIMITERS)}")
        if sorted(self.order) != sorted(ORDER):
            raise UserError(f"order {self.order}: name each of {', '.join(ORDER)} once")

    def parts(self) -> tuple[str, ...]:
        """Return every text that may hold variables."""
        own = (self.instruction, self.context, self.input, self.output_indicator, self.leading_words, self.system)
        return (*own, *(turn.content for turn in self.turns))

    def variables(self, columns: Collection[str] = ()) -> set[str]:
        """Return the names in braces that are columns, or read like names of columns."""
        return {name for part in self.parts() for name in variable_names(part, columns)}

    def drop_element(self, element: str) -> Prompt:
        """Return the prompt without one element: the arm of an ablation. UserError for the input and for unknown
        elements."""
        if element not in ELEMENTS or element == "input":
            raise UserError(f"element {element!r} cannot be left out{did_you_mean(element, ELEMENTS)}")
        return dataclasses.replace(self, **{element: () if element == "examples" else ""})  # type: ignore[arg-type]


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

    `values` has at least the named variables. UserError for a variable without a value, in the item and in any example.
    """
    if form not in FORMS:
        raise UserError(f"form {form!r} is unknown{did_you_mean(form, FORMS)}")
    repeated = _repeated_elements(prompt)
    end = _end((prompt.output_indicator, prompt.leading_words), values, where)
    data_last = not any(_element(prompt, name) for name in prompt.order[prompt.order.index("input") + 1 :])
    blocks: list[str | None] = []  # None: where the examples stand
    for element in prompt.order:
        if element == "examples":
            blocks.append(None)
        elif element == "input":
            blocks.append(_question(prompt, repeated, values, end if data_last else "", where))
        elif element not in repeated and getattr(prompt, element):
            blocks.append(_block(prompt, element, values, where))
    if end and not data_last:
        blocks.append(end)
    shots = []
    for i, example in enumerate(prompt.examples):
        place = f"{where}, example {i + 1}"
        example_end = _end((prompt.output_indicator,), example.values(), place)
        shots.append((_question(prompt, repeated, example.values(), example_end, place), example.output))
    system = fill(prompt.system, values, where)
    before = [Message(turn.role, fill(turn.content, values, where)) for turn in prompt.turns]
    present = [block for block in blocks if block != ""]
    return _text(present, shots, system, before) if form == "text" else _chat(present, shots, system, before)


def _element(prompt: Prompt, name: str) -> str:
    return "" if name == "examples" else str(getattr(prompt, name))


def _repeated_elements(prompt: Prompt) -> tuple[str, ...]:
    """Return the elements that change from item to item, which each demonstration shows with its own values.

    An instruction or a context belongs to them where the examples have the columns of its variables; examples written
    by hand with an input only leave the element where it stands.
    """
    if not prompt.examples:
        return ("input",)
    known = set.intersection(*(set(example.values()) for example in prompt.examples))
    return tuple(
        name
        for name in prompt.order
        if name == "input"
        or (name != "examples" and (names := variable_names(_element(prompt, name))) and names <= known)
    )


def _question(prompt: Prompt, elements: Sequence[str], values: Mapping[str, str], end: str, where: str) -> str:
    """Return the elements in the prompt's order, filled from one item's or one demonstration's values, and the end."""
    text = "\n\n".join(block for name in elements if (block := _block(prompt, name, values, where)))
    space = "\n\n" if prompt.delimiters == "tags" else "\n"
    return f"{text}{space}{end}" if end else text


def _block(prompt: Prompt, element: str, values: Mapping[str, str], where: str) -> str:
    return wrap(element, fill(_element(prompt, element), values, where), prompt.delimiters, prompt.language)


def _end(parts: Sequence[str], values: Mapping[str, str], where: str) -> str:
    return " ".join(text for part in parts if (text := fill(part, values, where)))


def _text(blocks: list[str | None], shots: list[tuple[str, str]], system: str, before: list[Message]) -> str:
    parts = [system] if system else []
    parts += [f"{turn.role.capitalize()}: {turn.content}" for turn in before]
    for block in blocks:
        if block is not None:
            parts.append(block)
        else:
            parts += [
                f"{question} {answer}" if question[-1:] in ":：" else f"{question}\n{answer}"
                for question, answer in shots
            ]
    return "\n\n".join(parts)


def _chat(blocks: list[str | None], shots: list[tuple[str, str]], system: str, before: list[Message]) -> Conversation:
    messages = [Message("system", system)] if system else []
    messages += before
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
