"""Lint: known mistakes in a prompt or an experiment, reported before any model call.

Each finding names a rule, the place, the mistake and the fix. "error" makes a measurement wrong, "warn" usually costs
accuracy. The rules are the lecture's good practices, turned round, and the traps of few-shot prompts (Zhao et al.,
2021: majority and recency of labels).
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kaiwa.lab.experiments.experiment import Experiment, detectable_differences
from kaiwa.lab.experiments.lint_places import NOWHERE, FilePlace, place_in
from kaiwa.lab.experiments.lint_text import LONGEST, STEPS, PromptFault, text_faults
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.task import Task
from kaiwa.lab.techniques.shots import FewShot
from kaiwa.lab.techniques.technique import Technique

VAGUE = re.compile(
    r"\b(?:short|brief|long|several|some|a few|good|nice|proper|appropriate|as needed|etc)\b\.?"
    r"|短く|簡潔に|適切に|いくつか|など",
    re.IGNORECASE,
)
NOT_TO = re.compile(r"\b(?:do not|don't|never|avoid|must not)\b|しないで|してはいけ|禁止|避けて", re.IGNORECASE)
INSTEAD = re.compile(
    r"\b(?:instead|rather|only|use|write|reply|answer with|say)\b|代わりに|だけ|のみ|答えて|書いて", re.IGNORECASE
)
FORMAT = re.compile(r"answer|reply|json|format|答|形式|出力", re.IGNORECASE)
FLUFF = re.compile(
    r"\b(?:please|kindly|i would like you to|could you|very|really|basically)\b|お願いできますでしょうか|できれば",
    re.IGNORECASE,
)
JAPANESE = re.compile(r"[぀-ヿ一-鿿]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    level: str  # "error" or "warn"
    rule: str
    where: str
    text: str
    file: str = ""  # the file that was checked, where known
    match: str = ""  # the words that the rule speaks of
    element: str = ""  # or the part of the prompt
    place: FilePlace = NOWHERE

    def __str__(self) -> str:
        where = self.where.removeprefix(self.file).lstrip(", ")
        at = f"{self.file}:{self.place.line}" + (f", {where}" if where else "") if self.file else self.where
        return f"{at}: {self.level}: {self.text} [{self.rule}]"

    def placed(self, file: str, text: str) -> Remark:
        """Return the remark with its file and its place in the file's text."""
        return dataclasses.replace(self, file=file, place=place_in(text, self.where, self.match, self.element))


def lint_prompt(prompt: Prompt, where: str = "prompt") -> list[Remark]:
    return [_remark(fault, where) for fault in _prompt_faults(prompt)]


def _remark(fault: PromptFault, where: str) -> Remark:
    return Remark(where=where, **fault._asdict())


def _prompt_faults(p: Prompt) -> Iterator[PromptFault]:
    instruction = p.instruction
    if not p.variables():
        text = "nothing in it changes from item to item; put {input} where the item goes"
        yield PromptFault("error", "no-variable", text, element="input")
    if instruction and p.order[0] != "instruction" and p.order.index("instruction") > p.order.index("input"):
        text = "the instruction comes after the input; begin with it"
        yield PromptFault("warn", "instruction-last", text, element="order")
    data = p.context or instruction
    if p.delimiters == "none" and instruction and data and p.variables() and not p.output_indicator:
        text = "nothing tells instruction and data apart; set delimiters, such as tags"
        yield PromptFault("warn", "no-delimiters", text, element="instruction")
    yield from _word_faults(instruction)
    if (
        not p.output_indicator
        and not p.examples
        and not re.search(r"answer|reply|json|format|答|形式|出力", instruction, re.I)
    ):
        text = "nothing says what the answer looks like; add an output_indicator or an example"
        yield PromptFault("warn", "no-format", text, element="instruction")
    for name in ("output_indicator", "leading_words"):
        if getattr(p, name) != getattr(p, name).rstrip():
            text = f"{name} ends with a space, which splits tokens differently; cut it off"
            yield PromptFault("warn", "trailing-space", text, element=name)
    if instruction and bool(JAPANESE.search(instruction)) != (p.language == "ja"):
        text = f"the instruction is not in the prompt's language {p.language!r}"
        yield PromptFault("warn", "language", text, element="instruction")
    yield from text_faults("\n".join(part for part in p.parts() if part))
    yield from _example_faults(p.examples)


def _word_faults(text: str) -> Iterator[PromptFault]:
    """Yield the faults of wording that are looked for in instructions and in plain text."""
    if match := VAGUE.search(text):
        yield PromptFault("warn", "vague", f"{match[0]!r} says no number; say how many words, lines or items", match[0])
    if (match := NOT_TO.search(text)) and not INSTEAD.search(text):
        yield PromptFault("warn", "only-not", "it says what not to do only; say what to do instead", match[0])
    if match := FLUFF.search(text):
        yield PromptFault("warn", "fluff", f"{match[0]!r} adds tokens and no meaning; leave it out", match[0])


def lint_text(text: str, where: str) -> list[Remark]:
    """Check a plain text or one chat message by the rules over words."""
    return [_remark(fault, where) for fault in (*text_faults(text), *_word_faults(text[:LONGEST]))]


def _example_faults(examples: Sequence[Example]) -> Iterator[PromptFault]:
    inputs = [e.input for e in examples]
    if len(set(inputs)) < len(inputs):
        again = next(text for i, text in enumerate(inputs) if text in inputs[:i])
        yield PromptFault("warn", "same-example", "two examples have the same input", again, "examples")
    labels = [e.output for e in examples]
    counted = Counter(labels)
    if len(counted) > 1 and len(counted) < len(labels):
        label, n = counted.most_common(1)[0]
        if n > 0.7 * len(labels):
            yield PromptFault(
                "warn",
                "majority-label",
                f"{n} of {len(labels)} examples say {label[:30]!r}; balance them",
                element="examples",
            )
        if len(set(labels[-2:])) == 1 and len(labels) > 3 and len(set(labels[:-2])) > 1 and labels[-3] == labels[-1]:
            yield PromptFault(
                "warn",
                "recent-label",
                f"the last three examples all say {labels[-1][:30]!r}; mix their order",
                element="examples",
            )
    elif len(counted) == 1 and len(labels) > 1:
        yield PromptFault(
            "warn", "one-label", f"all examples say {labels[0][:30]!r}; show every answer there is", element="examples"
        )


def lint_task(task: Task) -> list[Remark]:
    """Check the task's prompt, and look for demonstrations among the graded items."""
    where = f"task {task.name}"
    remarks = lint_prompt(task.prompt, where)
    remarks += _answer_remarks(task, where)
    inputs = {item.input for item in task.items if item.input}
    leaked = [d.id for d in task.demos if d.input in inputs]
    leaked += [f"example {i + 1}" for i, e in enumerate(task.prompt.examples) if e.input in inputs]
    if leaked:
        text = f"{len(leaked)} demonstrations are graded items too ({leaked[0]}); what they gain is memory"
        remarks.append(Remark(level="error", rule="leak", where=where, text=text))
    repeated = sum(n - 1 for n in Counter(i.input for i in task.items if i.input).values())
    if repeated:
        text = f"{repeated} of {len(task.items)} items repeat another one's input; give them a cluster"
        clustered = all(item.cluster for item in task.items)
        remarks += [] if clustered else [Remark(level="warn", rule="repeated", where=where, text=text)]
    share = Counter(item.answer for item in task.items).most_common(1)[0][1] / len(task.items)
    if task.kind == "choice" and share > 0.8 and len(task.items) >= 10:
        text = f"{share:.0%} of the answers are the same; always saying it scores as much"
        remarks.append(Remark(level="warn", rule="one-answer", where=where, text=text))
    return remarks


def _answer_remarks(task: Task, where: str) -> list[Remark]:
    """Check that the prompt names the choices, and leaves room for the working that it asks for."""
    remarks = []
    prompt = task.prompt
    text = "\n".join((*prompt.parts(), *(e.output for e in prompt.examples), task.items[0].input)).lower()
    choices = task.items[0].choices
    unnamed = [c for c in choices if c.lower() not in text] if all(i.choices == choices for i in task.items) else []
    if unnamed and len(unnamed) < 20:
        line = (
            f"the prompt does not name {unnamed[0][:30]!r}, which is a right answer; list the choices or show examples"
        )
        remarks.append(Remark(level="warn", rule="choices-unnamed", where=where, text=line))
    if STEPS.search(prompt.instruction) and task.max_tokens < 64:
        line = f"it asks for steps and leaves {task.max_tokens} tokens for them; raise max_tokens"
        remarks.append(Remark(level="warn", rule="steps-cut", where=where, text=line))
    return remarks


def lint_experiment(experiment: Experiment) -> list[Remark]:
    """Check all tasks, and whether the arms can show anything."""
    remarks = [remark for task in experiment.tasks for remark in lint_task(task)]
    for arm in experiment.arms:
        remarks += lint_prompt(arm.prompt, f"arm {arm.name}") if arm.prompt is not None else []
    for planned in detectable_differences(experiment):
        if planned.detectable > 0.2:
            limit = f"only differences of {planned.detectable * 100:.0f} points or more"
            finds = "no difference" if planned.detectable >= 1 else limit
            text = f"{planned.contrast.b} against {planned.contrast.a}: n = {planned.n} finds {finds}; raise n"
            remarks.append(Remark(level="warn", rule="small-n", where=f"task {planned.task}", text=text))
    for task in experiment.tasks:
        arms = experiment.arms_of(task)
        if len(arms) > 1 and not experiment.contrasts_of(task):
            text = "several arms and no contrast: nothing will be compared"
            remarks.append(Remark(level="error", rule="no-contrast", where=f"task {task.name}", text=text))
        techniques = [arm.technique for arm in arms]
        controls = [control for technique in techniques for control in technique.controls().values()]
        for arm in (arm for arm in arms if arm.technique not in controls):
            missing = _missing_control(arm.technique, techniques)
            if missing:
                text = (
                    f"arm {arm.name}: no arm {missing}, so its effect is not told from its tokens'; set controls = true"
                )
                remarks.append(Remark(level="warn", rule="no-control", where=f"task {task.name}", text=text))
    return remarks


def _missing_control(technique: Technique, others: Sequence[Technique]) -> str:
    """Return the control that an arm lacks, or "".

    Few-shot needs its inner technique without demonstrations beside it; other techniques need any of their controls.
    """
    controls = technique.controls()
    if not controls or any(control in others for control in controls.values()):
        return ""
    return "without demonstrations" if isinstance(technique, FewShot) else f"such as {next(iter(controls))!r}"
