"""The homework of the lecture, "do prompt engineering and confirm its effect", as one registered experiment.

For each technique the experiment tests the paper's claim, on a task where a small model can show the effect, with
control arms, in English and Japanese. A planted effect and a planted null are included, so that the reader sees the
harness tell the two apart. `scale` 1 is about n = 60 per arm on the bundled SmolLM2.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from kaiwa.lab.asking.program import Program
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.tasks.practices import PRACTICES
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.village import fact_texts
from kaiwa.lab.techniques.knowledge import GeneratedKnowledge
from kaiwa.lab.techniques.react import ReAct
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.steps import LeastToMost, SelfAsk
from kaiwa.lab.techniques.technique import Decoding, Technique
from kaiwa.lab.techniques.thought import ChainOfThought, ZeroShotCoT
from kaiwa.lab.techniques.votes import SelfConsistency

MARGIN = 10.0
LIMITS = {
    "en": "Reasoning in words does not show below about half a billion weights: in the papers' own tables models of"
    " 350 to 420 million weights get worse with a chain of thought. Where this report says “cannot tell” or “worse” for"
    " chain of thought, self-consistency, least-to-most or self-ask, that is a finding about this model, not about the"
    " technique. Format, labels, given knowledge and tools are what a small model can show. “kaiwa study cot” trains a"
    " model to work sums out, and shows what a chain of thought does there.",
    "ja": "言葉による推論の効果は、およそ 5 億パラメータより小さいモデルには現れません。論文の表でも 3.5〜4.2 億の"
    "モデルは思考の連鎖で悪くなっています。思考の連鎖、自己整合性、最小から最大へ、自問自答が「判定できない」「悪い」に"
    "なっても、それはこのモデルについての結果であり、手法についての結果ではありません。小さなモデルで確かめられるのは"
    "形式、ラベル、与えられた知識、道具の効果です。「kaiwa study cot」は計算を途中まで書くモデルを訓練し、そこでの"
    "思考の連鎖の効果を示します。",
}


@dataclass(frozen=True, slots=True)
class Lesson:
    """One technique's part: a task, its arms, and (a, b, claim) of each comparison."""

    task: Task
    arms: dict[str, Technique]
    contrasts: tuple[tuple[str, str, str], ...]


def assignment(scale: float = 1.0, languages: tuple[str, ...] = ("en", "ja"), seed: int = 0) -> Experiment:
    """Build all lessons as one experiment. Arms belong to their own task."""
    lessons = [lesson for language in languages for lesson in lessons_of(language, scale, seed)]
    arms: list[Arm] = []
    contrasts: list[Contrast] = []
    for lesson in lessons:
        arms += [Arm(name=name, technique=technique, task=lesson.task.name) for name, technique in lesson.arms.items()]
        contrasts += [Contrast(a=a, b=b, claim=claim, task=lesson.task.name) for a, b, claim in lesson.contrasts]
    return Experiment(
        name="assignment",
        tasks=tuple(lesson.task for lesson in lessons),
        arms=tuple(arms),
        contrasts=tuple(contrasts),
        margin=MARGIN,
    )


def lessons_of(language: str, scale: float, seed: int = 0) -> list[Lesson]:
    def n(usual: int) -> int:
        return max(2, round(usual * scale))

    return [
        elements(generate_task(f"sentiment-{language}", n(60), seed)),
        labels(_with_name(generate_task(f"sentiment-{language}", n(60), seed + 1), "labels", language)),
        form(generate_task(f"extraction-{language}", n(40), seed)),
        knowledge(generate_task(f"facts-{language}", n(60), seed)),
        thought(generate_task(f"word-sums-{language}", n(36), seed)),
        tools(_with_name(generate_task(f"facts-{language}", n(24), seed + 1), "look-up", language), language, seed + 1),
        *practices(language, n(40), seed),
    ]


def _with_name(task: Task, name: str, language: str) -> Task:
    return dataclasses.replace(task, name=f"{name}-{language}")


def elements(task: Task) -> Lesson:
    """Build the lesson on a prompt's elements, leaving out one element at a time."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Without(ZeroShot):
        element: str = ""

        def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
            return (
                yield from ZeroShot.run(self, task.with_prompt(task.prompt.drop_element(self.element)), item, decoding)
            )

    arms: dict[str, Technique] = {
        "zero-shot": ZeroShot(),
        "no instruction": Without(element="instruction"),
        "no output indicator": Without(element="output_indicator"),
        "4-shot": FewShot(k=4),
    }
    return Lesson(
        task,
        arms,
        (
            ("no instruction", "zero-shot", "an instruction helps"),
            ("no output indicator", "zero-shot", "an output indicator helps"),
            ("zero-shot", "4-shot", "demonstrations help (Brown 2020)"),
        ),
    )


def labels(task: Task) -> Lesson:
    """Build the lesson on gold, random and flipped labels, answers rated by likelihood."""
    rated = ZeroShot(by="likelihood")
    arms: dict[str, Technique] = {
        "zero-shot, rated": rated,
        "gold labels": FewShot(inner=rated, k=8),
        "random labels": FewShot(inner=rated, k=8, labels="random"),
        "flipped labels": FewShot(inner=rated, k=8, labels="flipped"),
    }
    return Lesson(
        task,
        arms,
        (
            ("zero-shot, rated", "gold labels", "demonstrations help (Brown 2020)"),
            ("gold labels", "random labels", "random labels cost little (Min 2022)"),
            ("gold labels", "flipped labels", "small models ignore flipped labels (Wei 2023)"),
        ),
    )


def form(task: Task) -> Lesson:
    arms: dict[str, Technique] = {"zero-shot": ZeroShot(), "2-shot": FewShot(k=2)}
    return Lesson(task, arms, (("zero-shot", "2-shot", "show the format by example"),))


def knowledge(task: Task) -> Lesson:
    """Build the lesson on generated knowledge.

    Choices are rated and not listed: a small model takes the first of a list, whatever the prompt says before the list.
    """
    prompt = dataclasses.replace(task.prompt, input=task.prompt.input.replace("{input}", "{asked}"))
    task = task.with_prompt(prompt)
    arms: dict[str, Technique] = {
        "no knowledge": ZeroShot(by="likelihood"),
        "own knowledge": GeneratedKnowledge(n=2, max_tokens=24),
        "shuffled knowledge": GeneratedKnowledge(source="shuffled"),
        "gold knowledge": GeneratedKnowledge(source="gold"),
    }
    return Lesson(
        task,
        arms,
        (
            ("no knowledge", "own knowledge", "generated knowledge helps (Liu 2022)"),
            ("no knowledge", "gold knowledge", "true knowledge helps"),
            ("no knowledge", "shuffled knowledge", "any text before the question helps"),
        ),
    )


def thought(task: Task) -> Lesson:
    shot = FewShot(inner=ChainOfThought(max_tokens=64), k=4)
    arms: dict[str, Technique] = {
        "4-shot": FewShot(k=4),
        "4-shot chain of thought": shot,
        "4-shot, equation": FewShot(inner=ChainOfThought(style="equation", max_tokens=64), k=4),
        "4-shot, dots": FewShot(inner=ChainOfThought(style="dots", max_tokens=64), k=4),
        "4-shot, answer first": FewShot(inner=ChainOfThought(style="after", max_tokens=64), k=4),
        "two calls": ZeroShotCoT(trigger="", max_tokens=64),
        "zero-shot CoT": ZeroShotCoT(max_tokens=64),
        "one sample": SelfConsistency(inner=shot, n=1),
        "vote of 5": SelfConsistency(inner=shot, n=5),
        "self-ask": SelfAsk(max_tokens=80),
        "least-to-most": LeastToMost(max_tokens=40),
    }
    return Lesson(
        task,
        arms,
        (
            ("4-shot", "4-shot chain of thought", "a chain of thought helps (Wei 2022)"),
            ("4-shot, equation", "4-shot chain of thought", "… more than the equation"),
            ("4-shot, dots", "4-shot chain of thought", "… more than as many dots"),
            ("4-shot, answer first", "4-shot chain of thought", "… more than the answer first"),
            ("two calls", "zero-shot CoT", "'step by step' helps (Kojima 2022)"),
            ("one sample", "vote of 5", "a vote beats one sample (Wang 2022)"),
            ("4-shot chain of thought", "vote of 5", "a vote beats the greedy answer"),
            ("two calls", "self-ask", "asking oneself helps (Press 2023)"),
            ("two calls", "least-to-most", "simpler questions first help (Zhou 2023)"),
        ),
    )


def tools(task: Task, language: str, seed: int) -> Lesson:
    """Build the lesson on ReAct. `seed`: of the task, whose villagers the texts must be about."""
    texts = fact_texts(language, seed)
    arms: dict[str, Technique] = {
        "no tools": ZeroShot(),
        "ReAct": ReAct(texts=texts, steps=3, max_tokens=40, form="text"),
        "act only": ReAct(texts=texts, thoughts=False, steps=3, max_tokens=40, form="text"),
    }
    return Lesson(
        task,
        arms,
        (("no tools", "ReAct", "tools help (Yao 2023)"), ("act only", "ReAct", "thoughts help the actions (Yao 2023)")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPrompt(ZeroShot):
    """Zero-shot with its own prompt: the BAD or GOOD side of a practice."""

    prompt: Prompt
    label: str

    @property
    def name(self) -> str:
        return self.label

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        return (yield from ZeroShot.run(self, task.with_prompt(self.prompt), item, decoding))


def practices(language: str, n: int, seed: int = 0) -> list[Lesson]:
    """Build the lecture's best practices as BAD and GOOD prompts, one lesson each."""
    lessons = []
    for practice in PRACTICES:
        if language not in practice.bad:
            continue
        task = _with_name(generate_task(f"{practice.task}-{language}", n, seed + 2), practice.id, language)
        if practice.grader is not None:
            task = dataclasses.replace(task, grader=practice.grader, kind=practice.kind or task.kind)
        arms: dict[str, Technique] = {
            "BAD": FixedPrompt(prompt=practice.bad[language], label="BAD"),
            "GOOD": FixedPrompt(prompt=practice.good[language], label="GOOD"),
        }
        lessons.append(Lesson(task, arms, (("BAD", "GOOD", practice.claim),)))
    return lessons
