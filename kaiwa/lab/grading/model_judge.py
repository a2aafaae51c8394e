"""A model as judge of whether an answer is right and which of two is better, with known weaknesses measured.

Judges favour a position, length and their own words (Zheng et al., 2023, section 3.3). So every question is asked
twice, with the two texts in both orders, and

    grade_answers      the right answer and the answer to grade: yes, no, or one half where the orders disagree
    compare_answers    A's answer and B's: B, A, or one half for a tie or where the orders disagree
    measure_agreement  the same judge on cases whose truth is known, blind: sensitivity, specificity, Cohen's kappa, and
                       faults: unreadable, always the same verdict, whatever stands first, a coin

Each judgement is one short greedy answer, kept in the call cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker
from kaiwa.lab.asking.program import Call
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.stats.intervals import Interval, bootstrap, wilson
from kaiwa.stats.judged import JudgeRate, youden
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import user

TOKENS = 12
UNREAD = 0.2  # more unreadable verdicts than this are a fault
LEANS = 0.9  # as is a judge that says one thing, or what stands first, more often than this
GRADE = {
    "en": (
        "Question:\n{question}\n\nRight answer: {right}\n\nAnswer to grade:\n{answer}\n\n{rubric}"
        "Does the answer to grade say the same as the right answer? Reply with one word, yes or no.",
        "Question:\n{question}\n\nAnswer to grade:\n{answer}\n\nRight answer: {right}\n\n{rubric}"
        "Does the answer to grade say the same as the right answer? Reply with one word, yes or no.",
    ),
    "ja": (
        "質問:\n{question}\n\n正解: {right}\n\n採点する答え:\n{answer}\n\n{rubric}"
        "採点する答えは正解と同じ内容ですか。「はい」か「いいえ」の一語で答えてください。",
        "質問:\n{question}\n\n採点する答え:\n{answer}\n\n正解: {right}\n\n{rubric}"
        "採点する答えは正解と同じ内容ですか。「はい」か「いいえ」の一語で答えてください。",
    ),
}
CHOOSE = {
    "en": "Question:\n{question}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n\n{rubric}"
    "Which answer is better? Reply with one letter, A or B, or with the word tie.",
    "ja": "質問:\n{question}\n\n答え A:\n{a}\n\n答え B:\n{b}\n\n{rubric}"
    "どちらの答えが良いですか。A か B の一文字、または「引き分け」で答えてください。",
}
# A verdict is a whole word that ends there ("No." but not "Not sure", 「正しい」 but not 「正しいとは言えない」).
OPENS, ENDS = r"\s*[\"'「*(（]*", r"(?=[ \t]*(?:[.,:;!\"'*)\n。、，．！」）]|$))"
YES = re.compile(rf"{OPENS}(?:yes|correct|はい|正しい(?:です)?){ENDS}", re.IGNORECASE)
NO = re.compile(rf"{OPENS}(?:no|incorrect|wrong|いいえ|違う|違います){ENDS}", re.IGNORECASE)
TIE = re.compile(rf"{OPENS}(?:(?:a\s+)?tie|equal|引き分け(?:です)?|同じ(?:です)?){ENDS}", re.IGNORECASE)
BETTER = r"(?:\s+is\s+better(?!\w)|(?:です|(?:の(?:ほう|方))?が(?:良い|いい)(?:です)?)?" + ENDS + ")"
LETTER = re.compile(rf"{OPENS}(?:answer\s+|答え\s*)?([AB]){BETTER}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """Further instructions for the judge ("Ignore spelling.")."""

    text: str = ""

    def lines(self) -> str:
        return f"{self.text.strip()}\n\n" if self.text.strip() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The judge's verdicts on n cases.

    scores: 1 yes (or B), 0 no (or A), one half for a tie or where the orders disagree, None where one of the two could
    not be read. survived: share of the readable cases with the same verdict after the swap. yes: share of all single
    judgements. first: of the judgements that chose between A and B, the share that chose the first answer (one half is
    no leaning; NaN for grade_answers). unread: number of cases.
    """

    scores: tuple[float | None, ...]
    survived: Interval
    yes: Interval
    first: Interval
    unread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledAnswer:
    """An answer of known truth, or (with `other`) a pair of A = other and B = answer; right: yes, or B is better."""

    item: Item
    answer: str
    right: bool
    other: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """The judge against n cases of known truth, readable verdicts only. sensitivity: on the right (B better) cases."""

    n: int
    sensitivity: JudgeRate
    specificity: JudgeRate
    kappa: Interval
    verdicts: Verdicts

    @property
    def youden_j(self) -> Interval:
        """Sensitivity + specificity - 1: the share of a true difference that the judge lets through."""
        return youden(self.sensitivity, self.specificity)

    def rates(self) -> tuple[Interval, Interval]:
        """Return sensitivity and specificity with Wilson's intervals."""
        a, b = self.sensitivity, self.specificity
        return wilson(a.right, a.n), wilson(b.right, b.n)

    def faults(self) -> tuple[str, ...]:
        """Return the judge's faults: unread, first, yes, no, chance (in words: `lab.judge.fault.*`)."""
        verdicts, faults = self.verdicts, []
        if verdicts.unread > UNREAD * self.n:
            faults.append("unread")
        if verdicts.first.n and not 1 - LEANS < verdicts.first.mean < LEANS:
            faults.append("first")
        if not verdicts.first.n and verdicts.yes.n and not 1 - LEANS < verdicts.yes.mean < LEANS:
            faults.append("yes" if verdicts.yes.mean > 0.5 else "no")
        if not self.youden_j.low > 0:
            faults.append("chance")
        return tuple(faults)


def grade_answers(asker: Asker, task: Task, answers: Sequence[tuple[Item, str]], rubric: Rubric = Rubric()) -> Verdicts:
    """Ask whether each answer is right, in both orders of the right answer and the answer to grade."""
    wishes = [_ask(_grading_prompt(task, item, answer, rubric, order)) for order in (0, 1) for item, answer in answers]
    readings = [read_yes(reply.text) if not reply.error else None for reply in asker(wishes)]
    values = [None if s is None else float(s) for s in readings]
    read = [v for v in values if v is not None]
    return _verdicts(values, wilson(sum(read), len(read)), wilson(0, 0))


def compare_answers(
    asker: Asker, task: Task, pairs: Sequence[tuple[Item, str, str]], rubric: Rubric = Rubric()
) -> Verdicts:
    """Ask of each (item, A's answer, B's answer) whether B is better, in both orders."""
    n = len(pairs)
    ordered = [(item, a, b) for item, a, b in pairs] + [(item, b, a) for item, a, b in pairs]
    replies = asker([_ask(_choice_prompt(task, item, a, b, rubric)) for item, a, b in ordered])
    read = [read_choice(reply.text) if not reply.error else None for reply in replies]
    second = {"A": 0.0, "tie": 0.5, "B": 1.0, None: None}
    values = [second[choice] for choice in read]
    forB = values[:n] + [None if v is None else 1 - v for v in values[n:]]
    chose = [choice for choice in read if choice in ("A", "B")]
    yes = [v for v in forB if v is not None]
    return _verdicts(forB, wilson(sum(yes), len(yes)), wilson(chose.count("A"), len(chose)))


def _verdicts(values: Sequence[float | None], yes: Interval, first: Interval) -> Verdicts:
    """Combine single judgements [2n] of both orders, the second order after the first."""
    n = len(values) // 2
    scores: list[float | None] = []
    survived = 0
    for one, two in zip(values[:n], values[n:], strict=True):
        survived += one is not None and one == two
        scores.append(None if one is None or two is None else one if one == two else 0.5)
    unread = scores.count(None)
    return Verdicts(scores=tuple(scores), survived=wilson(survived, n - unread), yes=yes, first=first, unread=unread)


def read_yes(text: str) -> bool | None:
    """Return True for yes, False for no, None where the text begins with neither."""
    return True if YES.match(text) else False if NO.match(text) else None


def read_choice(text: str) -> str | None:
    """Return "A", "B" or "tie", or None where the text begins with none of the three."""
    if TIE.match(text):
        return "tie"
    match = LETTER.match(text)
    return match[1].upper() if match else None


def measure_agreement(
    asker: Asker, task: Task, cases: Sequence[LabelledAnswer], rubric: Rubric = Rubric(), seed: int = 0
) -> JudgeAgreement:
    """Measure the judge on cases of known truth. UserError unless there are right and wrong cases."""
    for right, kind in ((True, "right"), (False, "wrong")):
        if not any(case.right is right for case in cases):
            raise UserError(f"task {task.name}: no {kind} answer among the labelled cases; the judge cannot be checked")
    if cases[0].other is None:
        verdicts = grade_answers(asker, task, [(c.item, c.answer) for c in cases], rubric)
    else:
        verdicts = compare_answers(asker, task, [(c.item, c.other or "", c.answer) for c in cases], rubric)
    read = [(score, c.right) for score, c in zip(verdicts.scores, cases, strict=True) if score is not None]
    yes = [s for s, right in read if right]
    no = [1 - s for s, right in read if not right]
    decided = [(s > 0.5, right) for s, right in read if s != 0.5]
    return JudgeAgreement(
        n=len(cases),
        sensitivity=JudgeRate(right=sum(yes), n=len(yes)),
        specificity=JudgeRate(right=sum(no), n=len(no)),
        kappa=kappa([s for s, _ in decided], [t for _, t in decided], seed=seed),
        verdicts=verdicts,
    )


def cases_from_demonstrations(task: Task, pairs: bool = False) -> list[LabelledAnswer]:
    """Build cases from the demonstrations, none of which is graded: each with the right answer, and with another's.

    As pairs: the own answer against the other, the right answer being B in every second pair. UserError where all
    answers are equal.
    """
    cases: list[LabelledAnswer] = []
    demos = list(task.demos)
    for i, demo in enumerate(demos):
        others = [d.answer for d in demos[i + 1 :] + demos[:i] if d.answer != demo.answer]
        if others and pairs:
            b_right = i % 2 == 0
            b, a = (demo.answer, others[0]) if b_right else (others[0], demo.answer)
            cases.append(LabelledAnswer(item=demo, answer=b, other=a, right=b_right))
        elif others:
            cases += [
                LabelledAnswer(item=demo, answer=demo.answer, right=True),
                LabelledAnswer(item=demo, answer=others[0], right=False),
            ]
    if not cases:
        raise UserError(f"task {task.name}: no demonstrations with different answers; the judge cannot be checked")
    return cases


def kappa(a: Sequence[bool], b: Sequence[bool], resamples: int = 2000, seed: int = 0) -> Interval:
    """Return Cohen's kappa of a, b [n], (agreement - chance) / (1 - chance), with its percentile bootstrap interval.

    0 where one of the two never varies.
    """
    x, y = np.asarray(a, bool), np.asarray(b, bool)
    if not len(x):
        return bootstrap([])
    rng = np.random.default_rng(seed)
    drawn = [_kappa(x[i], y[i]) for i in (rng.integers(0, len(x), len(x)) for _ in range(resamples))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(_kappa(x, y), float(low), float(high), len(x))


def _kappa(x: np.ndarray, y: np.ndarray) -> float:
    observed, p, q = float((x == y).mean()), float(x.mean()), float(y.mean())
    chance = p * q + (1 - p) * (1 - q)
    return (observed - chance) / (1 - chance) if chance < 1 else 0.0


def _ask(text: str) -> Call:
    return Call(request=GenerateCall(prompt=user(text), sampling=Sampling(max_tokens=TOKENS, temperature=0.0)))


def _grading_prompt(task: Task, item: Item, answer: str, rubric: Rubric, order: int) -> str:
    words = GRADE.get(task.language, GRADE["en"])[order]
    return words.format(question=item.input, right=item.answer, answer=answer.strip() or "…", rubric=rubric.lines())


def _choice_prompt(task: Task, item: Item, a: str, b: str, rubric: Rubric) -> str:
    words = CHOOSE.get(task.language, CHOOSE["en"])
    return words.format(question=item.input, a=a.strip() or "…", b=b.strip() or "…", rubric=rubric.lines())
