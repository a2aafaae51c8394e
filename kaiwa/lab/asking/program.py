"""A technique at work: a generator that yields what it asks of the model and is sent the replies.

    def run(...):
        (reply,) = yield (GenerateCall(...),)
        ...
        return Said(text=reply.text)

So a technique is plain sequential Python, knows nothing of engines, threads or caches, and thousands of them go on side
by side: `rounds` gathers what all of them ask and hands it on together, so that shared prefixes are computed once and
servers are kept busy. A failed reply ends the one program that asked (`CallFailed`), never the run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import GenerateCall, ScoreCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A call to the model. `sample` tells apart calls that are otherwise equal (the k-th sample of a prompt)."""

    call: GenerateCall | ScoreCall
    sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """text (or logprob of a ScoreCall); tokens paid; `error` where the call failed."""

    text: str = ""
    finish_reason: str = "stop"
    logprob: float = 0.0
    n_scored: int = 0
    n_prompt: int = 0
    n_reused: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a technique ends with: text for the extractor, or an answer that was extracted already. `notes` go into
    the log (votes, steps, the valid-action count)."""

    text: str = ""
    answer: str | None = None
    extracted: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


class CallFailed(Exception):
    """A call to the model failed; the program that made it ends as failed."""


Program = Generator[Sequence[Wish], list[Reply], Said]


def together(programs: Sequence[Program]) -> Generator[Sequence[Wish], list[Reply], list[Said]]:
    """Runs programs side by side as one: in each round it asks all that they ask."""
    said: list[Said | None] = [None] * len(programs)
    asked: dict[int, Sequence[Wish]] = {}
    for i, program in enumerate(programs):
        _advance(said, asked, i, program, None)
    while asked:
        order = list(asked)
        replies = yield [wish for i in order for wish in asked[i]]
        at = 0
        for i in order:
            mine = replies[at : at + len(asked[i])]
            at += len(mine)
            _advance(said, asked, i, programs[i], mine)
    return [s for s in said if s is not None]


def _advance(
    said: list[Said | None], asked: dict[int, Sequence[Wish]], i: int, program: Program, replies: list[Reply] | None
) -> None:
    try:
        asked[i] = next(program) if replies is None else program.send(replies)
    except StopIteration as end:
        asked.pop(i, None)
        said[i] = end.value


@dataclass(slots=True)
class Ended:
    """A program's end: what it said, or why it failed; all its wishes and replies."""

    said: Said | None
    error: str
    trace: list[tuple[Wish, Reply]]


Answerer = Callable[[Sequence[Wish]], list[Reply]]


def rounds(programs: Sequence[Program], answer: Answerer) -> Iterator[tuple[int, Ended]]:
    """Drives programs to their ends in rounds. -> (index, end), each when it is known."""
    traces: list[list[tuple[Wish, Reply]]] = [[] for _ in programs]
    waiting: list[tuple[int, list[Wish]]] = []
    for i, program in enumerate(programs):
        step = _step(program, None)
        if isinstance(step, Ended):
            yield i, step
        else:
            waiting.append((i, step))
    while waiting:
        replies = answer([wish for _, wishes in waiting for wish in wishes])
        at, after = 0, []
        for i, wishes in waiting:
            mine = replies[at : at + len(wishes)]
            at += len(wishes)
            traces[i] += zip(wishes, mine, strict=True)
            step = _step(programs[i], mine)
            if isinstance(step, Ended):
                step.trace = traces[i]
                yield i, step
            else:
                after.append((i, step))
        waiting = after


def _step(program: Program, replies: list[Reply] | None) -> list[Wish] | Ended:
    try:
        if replies is None:
            return list(next(program))
        failed = next((reply for reply in replies if reply.error), None)
        if failed is not None:
            program.throw(CallFailed(failed.error))
            raise AssertionError("a program went on after a failed call")
        return list(program.send(replies))
    except StopIteration as end:
        return Ended(end.value, "", [])
    except (CallFailed, UserError) as error:
        return Ended(None, str(error), [])
