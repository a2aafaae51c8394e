"""What an experiment would send, looked at before the first call.

Every program of every arm is started: a prompt that cannot be filled, a missing demonstration, choices that a technique
needs and the task has not, are known then, and refused before anything is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.program import Call, CallFailed, Reply
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.tasks.prompt import prompt_as_text
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.variables import check_parts
from kaiwa.lab.techniques.by_name import reseed
from kaiwa.lab.techniques.technique import Decoding
from kaiwa.text.chat_model import ScoreCall

OVERHEAD, TOKENS_A_SECOND = 0.5, 50.0  # of a usual server's call, for the estimate of minutes
LONGEST_SHOWN = 20_000  # characters of a prompt in a plan
MOST_ROUNDS = 12  # of one program in a plan
MOST_WORDS = 400  # of an answer that stands in


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrompt:
    """The first prompt of an arm on a task's first item, whole."""

    task: str
    arm: str
    id: str
    text: str


def first_calls(experiment: Experiment, task: Task, arm: Arm, item: Item, seed: int = 0) -> Sequence[Call]:
    """Return the calls with which an arm begins an item. UserError, with arm and item, for what cannot be asked."""
    arm_task = replace(arm.own_task(task), form=experiment.form or "chat")
    technique = reseed(arm.technique, seed)
    try:
        if arm.prompt is not None:
            check_parts(arm.prompt.parts(), item.values(), f"task {task.name}, item {item.id}")
        return next(technique.run(arm_task, item, Decoding(sampling=arm.sampling or experiment.sampling)))
    except StopIteration:
        return ()
    except UserError as error:
        raise UserError(f"experiment {experiment.name}, arm {arm.name}: {error}", field=error.field) from None


def all_calls(experiment: Experiment, task: Task, arm: Arm, item: Item, seed: int = 0) -> list[Call]:
    """Return every call that an arm makes for an item if each answer is as long as allowed and ends in the right one.

    How many rounds a technique needs depends on the answers; these stand in for them, and a program that goes on for
    MOST_ROUNDS is cut.
    """
    first_calls(experiment, task, arm, item, seed)  # UserError with arm and item
    arm_task = replace(arm.own_task(task), form=experiment.form or "chat")
    program = reseed(arm.technique, seed).run(arm_task, item, Decoding(sampling=arm.sampling or experiment.sampling))
    calls: list[Call] = []
    try:
        waiting = next(program)
        for _ in range(MOST_ROUNDS):
            calls += waiting
            waiting = program.send([_stand_in(call, item) for call in waiting])
    except (StopIteration, UserError, CallFailed):
        pass
    return calls


def _stand_in(call: Call, item: Item) -> Reply:
    """Return an answer as long as the call allows, with the item's right answer at its end."""
    if isinstance(call.request, ScoreCall):
        return Reply(logprob=-1.0, n_scored=1)
    filler = "word " * min(MOST_WORDS, call.request.sampling.max_tokens)
    return Reply(text=f"{filler}\n{item.answer}", n_tokens=call.request.sampling.max_tokens)


def check_first_calls(experiment: Experiment) -> None:
    """Start every program of the experiment and send nothing. UserError for the first that cannot be asked."""
    for task in experiment.tasks:
        for arm in experiment.arms_of(task):
            for seed in experiment.seeds:
                for item in task.items:
                    first_calls(experiment, task, arm, item, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCost:
    """What an experiment sends over all rounds of its programs: calls, estimated prompt tokens, the most answer tokens,
    and the money for both."""

    calls: int
    prompt_tokens: int
    answer_tokens: int
    money: float

    def minutes(self, concurrency: int, per_minute: float = 0.0) -> float:
        """Return the time at so many calls side by side, by the answers' length, or by the most calls a minute."""
        if not self.calls:
            return 0.0
        seconds = OVERHEAD + self.answer_tokens / self.calls / TOKENS_A_SECOND
        paced = self.calls / per_minute if per_minute > 0 else 0.0
        return max(self.calls * seconds / max(1, concurrency) / 60, paced)


def planned_cost(experiment: Experiment) -> PlannedCost:
    """Estimate all rounds of every program with answers that stand in, each distinct call once, as the cache will."""
    calls, n_prompt, n_answer, money = 0, 0, 0, 0.0
    sent: set[tuple[str, str, int]] = set()
    for task in experiment.tasks:
        for arm in experiment.arms_of(task):
            model = arm.model or experiment.model
            for seed in experiment.seeds:
                for item in task.items:
                    for call in all_calls(experiment, task, arm, item, seed):
                        text = _call_text(call)
                        if (model, text, call.sample) in sent:
                            continue
                        sent.add((model, text, call.sample))
                        answer = 0 if isinstance(call.request, ScoreCall) else call.request.sampling.max_tokens
                        prompt = estimate_tokens(text)
                        calls, n_prompt, n_answer = calls + 1, n_prompt + prompt, n_answer + answer
                        money += experiment.prices_of(model).cost(prompt, 0, answer)
    return PlannedCost(calls=calls, prompt_tokens=n_prompt, answer_tokens=n_answer, money=money)


def estimate_tokens(text: str) -> int:
    """Estimate tokens without a tokenizer: four ASCII characters or one other character each."""
    ascii_characters = sum(c < "\x80" for c in text)
    return max(1, ascii_characters // 4 + len(text) - ascii_characters)


def planned_prompts(experiment: Experiment) -> list[PlannedPrompt]:
    """Return one whole prompt per task and arm; arms that differ in the model only are shown once."""
    planned: list[PlannedPrompt] = []
    texts: set[tuple[str, str]] = set()
    for task in experiment.tasks:
        for arm in experiment.arms_of(task):
            calls = first_calls(experiment, task, arm, task.items[0], experiment.seeds[0])
            text = _call_text(calls[0]) if calls else ""
            if (arm.name.rpartition(" @ ")[0] or arm.name, text) not in texts:
                planned.append(PlannedPrompt(task=task.name, arm=arm.name, id=task.items[0].id, text=text))
            texts.add((arm.name.rpartition(" @ ")[0] or arm.name, text))
    return planned


def _call_text(call: Call) -> str:
    request = call.request
    if isinstance(request, ScoreCall):
        return f"{prompt_as_text(request.context)}\n[rated] {request.continuation.strip()}"
    return prompt_as_text(request.prompt)


def describe_prompts(planned: Sequence[PlannedPrompt]) -> str:
    """Describe planned prompts as Markdown, one heading an arm."""
    parts = []
    for prompt in planned:
        text = prompt.text
        if len(text) > LONGEST_SHOWN:
            text = f"{text[:LONGEST_SHOWN]}\n… ({len(prompt.text):,} characters in all)"
        parts.append(f"## {prompt.arm} on {prompt.task}, item {prompt.id}\n\n{text}\n")
    return "\n".join(parts)
