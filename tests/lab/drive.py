"""Runs one technique on one item with replies given in advance."""

from collections.abc import Callable

from kaiwa.lab.asking.program import Call, ProgramResult, Reply
from kaiwa.lab.tasks.prompt import prompt_as_text
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.technique import Decoding, Technique
from kaiwa.text.chat_model import GenerateCall, ScoreCall

Answer = Callable[[str], str]


def drive(
    technique: Technique, task: Task, item: Item, answer: Answer, decoding: Decoding | None = None
) -> tuple[ProgramResult, list[list[Call]]]:
    """Return the technique's result, and its calls round by round.

    `answer` maps a prompt's text to the reply's; for a ScoreCall it maps "context|continuation" to a number as text.
    """
    program = technique.run(task, item, decoding or Decoding())
    rounds: list[list[Call]] = []
    try:
        calls = list(next(program))
        while True:
            rounds.append(calls)
            calls = list(program.send([_reply(call, answer) for call in calls]))
    except StopIteration as end:
        return end.value, rounds


def _reply(call: Call, answer: Answer) -> Reply:
    if isinstance(call.request, ScoreCall):
        key = f"{prompt_as_text(call.request.context)}|{call.request.continuation}"
        return Reply(logprob=float(answer(key)), n_scored=len(call.request.continuation.split()))
    return Reply(text=answer(prompt_as_text(call.request.prompt)))


def prompts(rounds: list[list[Call]]) -> list[list[str]]:
    """Return the calls' prompts as text, round by round."""
    return [
        [prompt_as_text(c.request.prompt if isinstance(c.request, GenerateCall) else c.request.context) for c in calls]
        for calls in rounds
    ]
