"""Programs: rounds of calls, failures, and programs within programs."""

from collections.abc import Sequence

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.program import (
    Call,
    CallFailed,
    FinishedProgram,
    Program,
    ProgramResult,
    Reply,
    run_programs,
    run_side_by_side,
)
from kaiwa.text.chat_model import GenerateCall


def call(prompt: str) -> Call:
    return Call(request=GenerateCall(prompt=prompt))


def prompt_of(one: Call) -> str:
    assert isinstance(one.request, GenerateCall)
    return str(one.request.prompt)


def counting(name: str, rounds: int, width: int = 1) -> Program:
    """Asks `width` things in each of some rounds, and returns the replies in order."""
    texts: list[str] = []
    for i in range(rounds):
        replies = yield [call(f"{name}{i}{j}") for j in range(width)]
        texts += [reply.text for reply in replies]
    return ProgramResult(text=" ".join(texts))


class Echo:
    """Answers each prompt with itself; prompts with "bad" in them fail. Remembers the rounds."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []

    def __call__(self, calls: Sequence[Call]) -> list[Reply]:
        prompts = [prompt_of(one) for one in calls]
        self.rounds.append(prompts)
        return [Reply(error="broken") if "bad" in p else Reply(text=f"<{p}>", n_tokens=1) for p in prompts]


def test_a_round_gathers_the_calls_of_all_programs() -> None:
    echo = Echo()
    ends = dict(run_programs([counting("a", 2), counting("b", 1, width=2), counting("c", 0)], echo))
    assert echo.rounds == [["a00", "b00", "b01"], ["a10"]]
    assert {i: end.result.text for i, end in ends.items() if end.result} == {
        0: "<a00> <a10>", 1: "<b00> <b01>", 2: ""
    }  # fmt: skip
    assert [prompt_of(one) for one, _ in ends[0].trace] == ["a00", "a10"]
    assert ends[2].trace == []


def test_ends_come_as_soon_as_they_are_known() -> None:
    order = [i for i, _ in run_programs([counting("a", 3), counting("b", 1), counting("c", 2)], Echo())]
    assert order == [1, 2, 0]


def test_a_failed_call_ends_its_own_program_only() -> None:
    ends = dict(run_programs([counting("bad", 2), counting("good", 2)], Echo()))
    assert ends[0] == FinishedProgram(None, "broken", ends[0].trace)
    assert len(ends[0].trace) == 1
    assert ends[1].error == ""


def test_a_users_mistake_before_the_first_call_is_that_programs_error() -> None:
    def wrong() -> Program:
        raise UserError("no choices to rate")
        yield

    ends = dict(run_programs([wrong(), counting("a", 1)], Echo()))
    assert ends[0].error == "no choices to rate"
    assert ends[1].result == ProgramResult(text="<a00>")


def test_other_exceptions_are_bugs_and_come_through() -> None:
    def broken() -> Program:
        yield (call("x"),)
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        dict(run_programs([broken()], Echo()))


def test_programs_side_by_side_are_one_program() -> None:
    def outer() -> Program:
        results = yield from run_side_by_side([counting("a", 1), counting("b", 3), counting("c", 0)])
        return ProgramResult(text="|".join(result.text for result in results))

    echo = Echo()
    ((_, end),) = run_programs([outer()], echo)
    assert end.result == ProgramResult(text="<a00>|<b00> <b10> <b20>|")
    assert echo.rounds == [["a00", "b00"], ["b10"], ["b20"]]


def test_a_failure_within_ends_the_outer_program() -> None:
    def outer() -> Program:
        results = yield from run_side_by_side([counting("good", 2), counting("bad", 1)])
        return ProgramResult(text=str(len(results)))

    ((_, end),) = run_programs([outer()], Echo())
    assert (end.result, end.error) == (None, "broken")
    assert issubclass(CallFailed, Exception)
