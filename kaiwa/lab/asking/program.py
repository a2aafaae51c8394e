"""A running technique: a generator that yields its calls to the model and receives the replies.

    def run(...):
        (reply,) = yield (decoding.call(prompt, max_tokens),)
        ...
        return ProgramResult(text=reply.text)

So a technique is plain sequential Python and knows nothing of engines, threads or caches. Thousands of programs run
side by side: `run_programs` gathers the calls of all programs and sends all calls together, so that shared prefixes are
computed once and servers are kept busy. A failed reply ends the one program that made the call (`CallFailed`), never
the run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import GenerateCall, ScoreCall
from kaiwa.text.records import ToolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to the model. `sample` distinguishes otherwise equal calls (the k-th sample of a prompt)."""

    request: GenerateCall | ScoreCall
    sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The reply to a call: text, or the log-probability (nats) of a ScoreCall's continuation; the tokens used; and
    `error` where the call failed, with the kind of failure (text/chat_model.py) as `error_code`.
    """

    text: str = ""
    finish_reason: str = "stop"
    logprob: float = 0.0
    n_scored: int = 0
    n_prompt: int = 0
    n_reused: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    error: str = ""
    error_code: str = ""
    tool_calls: tuple[ToolUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """The end of a technique: text for the extractor, or an already extracted answer. `notes` go into the log (votes,
    steps, the number of valid actions).
    """

    text: str = ""
    answer: str | None = None
    extracted: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


NO_REPLY = {
    "content_filter": "the server's content filter stopped the answer",
    "tool_calls": "the model called a tool in place of an answer",
    "function_call": "the model called a tool in place of an answer",
}


def failure_of_reply(reply: Reply) -> str:
    """Return why a reply is no answer of the model to the prompt, or ""."""
    if reply.text.strip() and reply.finish_reason != "content_filter":
        return reply.error  # a tool called beside an answer takes nothing from the answer
    return reply.error or NO_REPLY.get(reply.finish_reason, "")


class CallFailed(Exception):
    """A call to the model failed; the program that made the call ends as failed."""


Program = Generator[Sequence[Call], list[Reply], ProgramResult]
Answerer = Callable[[Sequence[Call]], list[Reply]]


@dataclass(slots=True)
class FinishedProgram:
    """A program's result, or the reason of failure (`error`), with all calls and replies."""

    result: ProgramResult | None
    error: str
    trace: list[tuple[Call, Reply]]


def run_side_by_side(programs: Sequence[Program]) -> Generator[Sequence[Call], list[Reply], list[ProgramResult]]:
    """Run several programs as one: each round makes the calls of all programs. Return the results in order."""
    results: list[ProgramResult | None] = [None] * len(programs)
    calls: dict[int, Sequence[Call]] = {}
    for i, program in enumerate(programs):
        _advance(results, calls, i, program, None)
    while calls:
        order = list(calls)
        replies = yield [call for i in order for call in calls[i]]
        start = 0
        for i in order:
            own = replies[start : start + len(calls[i])]
            start += len(own)
            _advance(results, calls, i, programs[i], own)
    return [result for result in results if result is not None]


def _advance(
    results: list[ProgramResult | None],
    calls: dict[int, Sequence[Call]],
    i: int,
    program: Program,
    replies: list[Reply] | None,
) -> None:
    try:
        calls[i] = next(program) if replies is None else program.send(replies)
    except StopIteration as end:
        calls.pop(i, None)
        results[i] = end.value


def run_programs(programs: Sequence[Program], answer: Answerer) -> Iterator[tuple[int, FinishedProgram]]:
    """Drive programs to their ends in rounds. Yield (index, end) as soon as each end is known."""
    traces: list[list[tuple[Call, Reply]]] = [[] for _ in programs]
    waiting: list[tuple[int, list[Call]]] = []
    for i, program in enumerate(programs):
        step = _step(program, None)
        if isinstance(step, FinishedProgram):
            yield i, step
        else:
            waiting.append((i, step))
    while waiting:
        replies = answer([call for _, calls in waiting for call in calls])
        start, still_waiting = 0, []
        for i, calls in waiting:
            own = replies[start : start + len(calls)]
            start += len(calls)
            traces[i] += zip(calls, own, strict=True)
            step = _step(programs[i], own)
            if isinstance(step, FinishedProgram):
                step.trace = traces[i]
                yield i, step
            else:
                still_waiting.append((i, step))
        waiting = still_waiting


def _step(program: Program, replies: list[Reply] | None) -> list[Call] | FinishedProgram:
    """Send replies to a program (None: start it). Return the program's next calls, or its end."""
    try:
        if replies is None:
            return list(next(program))
        reason = next(filter(None, map(failure_of_reply, replies)), "")
        if reason:
            program.throw(CallFailed(reason))
            raise AssertionError("a program continued after a failed call")
        return list(program.send(replies))
    except StopIteration as end:
        return FinishedProgram(end.value, "", [])
    except (CallFailed, UserError) as error:
        return FinishedProgram(None, str(error), [])
