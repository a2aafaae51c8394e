"""Which characters of a rendered conversation the assistant wrote, and with what it ended: for any chat template.

The loss mask of fine-tuning, the completion that a reward model scores, and the token at which sampling stops are all
read from here. For an assistant's message:

    region    what the template writes in the message's turn of its loop (by the marks of `jinja_sandbox`); for a
              template without such a loop, what the message adds to the conversation before it
    header    the part of the region that the generation prompt has written already: "<|im_start|>assistant\\n". Where
              the template has no generation prompt: what stands before the content, without spaces at its end
    end       the first special token after the content; without one the region's end
    learned   the region after the header up to the end, the end included: what the model has to write

A template with {% generation %} blocks says by itself what is learned, and is taken at its word. A turn that a template
leaves out, or that cannot be placed, is listed with its reason; callers count or refuse it.

What is learned of an earlier turn is what the template writes of it: a template that takes the thoughts out of earlier
turns has turns without thoughts learned. Source: the generation tag is transformers' (`return_assistant_tokens_mask`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kaiwa.core.errors import UserError
from kaiwa.text.jinja_sandbox import LEARN, MARKS
from kaiwa.text.pieces import common_prefix

END = -1  # in the place of a message's number: the end of the turn before
PROBE = "\ufdd4"  # a noncharacter: content that stands nowhere else
NOT_WRITTEN = "the chat template leaves out an assistant's message or its content"
NOT_PLACED = "the chat template rewrites the conversation, so that an assistant's message cannot be placed"
NOT_GENERATION = "the chat template's {% generation %} block leaves out an assistant's message"


class Render(Protocol):
    """A template's output for messages, with or without the generation prompt and marks."""

    def __call__(self, messages: Sequence[Any], prompt: bool, marked: bool = False) -> str: ...


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """The characters [start, end) that the assistant wrote of message number `message`."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Turns:
    """A rendered conversation, its assistant's turns, and why other assistant's messages have none, by number."""

    text: str
    learned: list[AssistantTurn] = field(default_factory=list)
    unmarked: dict[int, str] = field(default_factory=dict)


class TurnText:
    """The text of one turn; `words` is as long, without the special tokens, in which no content stands."""

    def __init__(self, text: str, ends: Sequence[re.Pattern[str]]) -> None:
        """Write a noncharacter over each match of the first pattern, the special tokens."""
        self.text = text
        self.words = ends[0].sub(lambda match: PROBE * len(match.group()), text) if ends else text


def assistant_turns(render: Render, messages: Sequence[Mapping[str, Any]], ends: Sequence[re.Pattern[str]]) -> Turns:
    """Return where the assistant's turns are. ends: patterns of tokens that end a turn, the likeliest first.

    UserError when the template refuses the messages.
    """
    numbers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    text = render(messages, False)
    if not numbers:
        return Turns(text)
    marked = _read_marks(render(messages, False, marked=True))
    # a mark that changed the text stood in something that the template measures
    marked = marked.writing(messages) if marked.text == text else Marked(text)
    turns = Turns(text)
    if marked.generated:
        _take_generated(turns, marked, numbers)
        return _without_lost(turns, messages)
    prompt = generation_prompt(render, messages[: numbers[0]])
    for number in numbers:
        region = marked.region(number, _core(messages[number])) or _addition(render, messages, number, text)
        if region is None:
            turns.unmarked[number] = NOT_PLACED
        elif region[0] == region[1]:
            turns.unmarked[number] = NOT_WRITTEN
        else:
            start, end = region
            written = TurnText(text[start:end], ends)
            head = _header(render, messages, number, written, prompt)
            last = _end(written, head, messages[number], ends)
            if last > head and "".join(_core(messages[number]).split()) in "".join(written.text.split()):
                turns.learned.append(AssistantTurn(number, start + head, start + last))
            else:
                turns.unmarked[number] = NOT_WRITTEN
    return turns


def generation_prompt(render: Render, messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what the template adds to messages to have them answered, "" where it adds nothing."""
    for question in (messages, [{"role": "user", "content": "?"}]):
        if question:
            try:
                plain, prompted = render(question, False), render(question, True)
            except UserError:
                continue  # some templates refuse a conversation of a system message alone
            return prompted[common_prefix([plain, prompted]) :]
    return ""


def missing_prompt(render: Render, messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the assistant's header after messages, for a template without a generation prompt of its own."""
    probe = [*messages, {"role": "assistant", "content": PROBE}]
    try:
        text = render(probe, False)
        marked = _read_marks(render(probe, False, marked=True))
    except UserError:
        return ""
    region = marked.region(len(messages), PROBE) if marked.text == text else None
    region = region or _addition(render, probe, len(messages), text)
    if region is None:
        return ""
    head, probed, _ = text[region[0] : region[1]].partition(PROBE)
    return head.rstrip(" ") if probed else ""


@dataclass(slots=True)
class Marked:
    """A rendering without its marks, and where they stood: (message, place) by loop, [start, end) of generations."""

    text: str
    starts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    generated: list[tuple[int, int]] = field(default_factory=list)

    def region(self, number: int, core: str) -> tuple[int, int] | None:
        """Return the characters written in a message's turn of a loop; of several turns the one with `core`."""
        for starts in self.starts.values():
            places = [*(place for _, place in starts), len(self.text)]
            regions = [(places[i], places[i + 1]) for i, (n, _) in enumerate(starts) if n == number]
            holding = [r for r in regions if r[0] < r[1] and (not core or core in self.text[r[0] : r[1]])]
            if holding:
                return holding[-1]
        return None

    def writing(self, messages: Sequence[Mapping[str, Any]]) -> Marked:
        """Return the rendering with those loops only in which all users and assistants stand in their own turns.

        Others look for something (the last question), count, or collect what is written later.
        """
        loops = {}
        for loop, starts in self.starts.items():
            alone = Marked(self.text, {loop: starts})
            numbers = sorted({number for number, _ in starts} - {END})
            worded = [i for i in numbers if messages[i]["role"] in ("user", "assistant") and _core(messages[i])]
            if all(alone.region(i, _core(messages[i])) for i in worded):
                loops[loop] = starts
        return Marked(self.text, loops, self.generated)


def _read_marks(marked: str) -> Marked:
    parts: list[str] = []
    out = Marked("")
    size = at = 0
    opened: int | None = None
    for match in MARKS.finditer(marked):
        parts.append(marked[at : match.start()])
        size += match.start() - at
        at = match.end()
        if match.group(1) is not None:
            out.starts.setdefault(int(match.group(1)), []).append((int(match.group(2) or END), size))
        elif match.group() == LEARN:
            opened = size
        elif opened is not None:
            out.generated.append((opened, size))
            opened = None
    out.text = "".join(parts) + marked[at:]
    return out


def _take_generated(turns: Turns, marked: Marked, numbers: Sequence[int]) -> None:
    """Add the turns of generation blocks: of the message whose loop turn holds the block, or in the messages' order."""
    free = list(numbers)
    for start, end in marked.generated:
        starts = sorted((place, number) for loop in marked.starts.values() for number, place in loop if number != END)
        before = [number for place, number in starts if place <= start]
        number = before[-1] if before else free[0] if free else -1
        if number in free:
            free.remove(number)
        if number >= 0 and start < end:
            turns.learned.append(AssistantTurn(number, start, end))
    turns.unmarked.update(dict.fromkeys(free, NOT_GENERATION))


def _without_lost(turns: Turns, messages: Sequence[Mapping[str, Any]]) -> Turns:
    """Return the turns without those of messages whose content is not in them."""
    written: dict[int, str] = {}
    for turn in turns.learned:
        written[turn.message] = written.get(turn.message, "") + turns.text[turn.start : turn.end]
    lost = [n for n, text in written.items() if "".join(_core(messages[n]).split()) not in "".join(text.split())]
    learned = [turn for turn in turns.learned if turn.message not in lost]
    return Turns(turns.text, learned, turns.unmarked | dict.fromkeys(lost, NOT_WRITTEN))


def _addition(render: Render, messages: Sequence[Mapping[str, Any]], number: int, text: str) -> tuple[int, int] | None:
    """Return the characters that a message adds to the conversation before it, None where that one is rewritten."""
    try:
        before = render(messages[:number], False) if number else ""
        after = text if number + 1 == len(messages) else render(messages[: number + 1], False)
    except UserError:
        return None
    if not (after.startswith(before) and text.startswith(after)):
        return None
    return len(before), len(after)


def _header(render: Render, messages: Sequence[Mapping[str, Any]], number: int, turn: TurnText, prompt: str) -> int:
    """Return how many characters of a turn the generation prompt has written already."""
    if prompt and turn.text.startswith(prompt):
        return len(prompt)
    if not prompt:
        head = missing_prompt(render, messages[:number])
        return len(head) if turn.text.startswith(head) else 0
    content = str(messages[number].get("content") or "").strip()
    place = turn.words.rfind(content if content in turn.words else _core(messages[number]))
    lead = turn.text[:place] if place >= 0 else turn.text
    for n in range(len(prompt), 0, -1):  # the prompt may open a thought that this turn has not
        if (at := lead.find(prompt[:n])) >= 0:
            return at + n
    return len(lead.rstrip(" ")) if place >= 0 else 0


def _end(turn: TurnText, head: int, message: Mapping[str, Any], ends: Sequence[re.Pattern[str]]) -> int:
    """Return where a turn ends: after the first token of `ends` behind the content (behind tool calls: the last)."""
    core = _core(message)
    place = turn.words.rfind(core, head) if core else -1
    after = place + len(core) if place >= 0 else head
    for pattern in ends:
        matches = list(pattern.finditer(turn.text, after))
        if matches:
            return (matches[-1] if message.get("tool_calls") else matches[0]).end()
    return len(turn.text)


def _core(message: Mapping[str, Any]) -> str:
    """Return the part of a message's content that every template keeps: without thoughts and outer white space."""
    content = message.get("content")
    return content.rpartition("</think>")[2].strip() if isinstance(content, str) else ""
