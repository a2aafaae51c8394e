"""A model as grader: is an answer right, and which of two is better; with what is known to go wrong measured.

Judges favour a position, length and their own words (Zheng et al., 2023, section 3.3). So

    graded      the judge's yes or no, and beside it how often it agrees with known truth: it is shown right answers and
                wrong ones of the task's demonstrations, blind, and Cohen's kappa with an interval is printed
    pairwise    both orders are asked; only a verdict that survives the swap counts, the rest are ties, and the share of
                verdicts that survive, and of those that go to the first place, are reported

Each judgement is one short greedy answer, kept in the cache as every call is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kaiwa.core.errors import UserError
from kaiwa.lab.cache import Asker
from kaiwa.lab.program import Wish
from kaiwa.lab.task import Item, Task
from kaiwa.stats.intervals import Interval, bootstrap, wilson
from kaiwa.stats.paired import WinRate, win_rate
from kaiwa.text.chat_model import Ask
from kaiwa.text.template import user

TOKENS = 12
GRADE = {
    "en": "Question:\n{question}\n\nRight answer: {right}\n\nAnswer to grade:\n{answer}\n\n{rubric}"
    "Does the answer to grade say the same as the right answer? Reply with one word, yes or no.",
    "ja": "質問:\n{question}\n\n正解: {right}\n\n採点する答え:\n{answer}\n\n{rubric}"
    "採点する答えは正解と同じ内容ですか。「はい」か「いいえ」の一語で答えてください。",
}
CHOOSE = {
    "en": "Question:\n{question}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n\n{rubric}"
    "Which answer is better? Reply with one letter, A or B, or with the word tie.",
    "ja": "質問:\n{question}\n\n答え A:\n{a}\n\n答え B:\n{b}\n\n{rubric}"
    "どちらの答えが良いですか。A か B の一文字、または「引き分け」で答えてください。",
}
YES = re.compile(r"\s*[\"'「*]*(yes|はい|correct|正しい)", re.IGNORECASE)
NO = re.compile(r"\s*[\"'「*]*(no|いいえ|incorrect|wrong|違)", re.IGNORECASE)
LETTER = re.compile(r"\s*[\"'「*(（]*(?:answer\s+|答え\s*)?([AB])(?![a-z])", re.IGNORECASE)
TIE = re.compile(r"\s*[\"'「*]*(tie|引き分け|同じ|equal)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What the judge is told besides ("Ignore spelling.")."""

    text: str = ""

    def lines(self) -> str:
        return f"{self.text.strip()}\n\n" if self.text.strip() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The judge against known truth: share that it gets right, Cohen's kappa, and how many it could not be read on."""

    n: int
    right: Interval
    kappa: Interval
    unread: int

    def told(self) -> str:
        return (
            f"judge against {self.n} answers of known truth: {self.right.mean:.0%} right"
            f" [{self.right.low:.0%}, {self.right.high:.0%}], kappa {self.kappa.mean:.2f}"
            f" [{self.kappa.low:.2f}, {self.kappa.high:.2f}], {self.unread} unreadable"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise:
    """B against A: ties are what the judge did not say twice. survived: verdicts that are the same after the swap.
    first: of the verdicts that chose, those for the answer that stood first (one half is no leaning)."""

    wins: WinRate
    scores: tuple[float, ...]
    survived: Interval
    first: Interval
    unread: int


def grade_all(
    asker: Asker, task: Task, answers: Sequence[tuple[Item, str]], rubric: Rubric = Rubric()
) -> list[bool | None]:
    """Yes, no, or None where the judge said neither (or failed)."""
    wishes = [_ask(_graded(task, item, answer, rubric)) for item, answer in answers]
    return [read_yes(reply.text) if not reply.error else None for reply in asker(wishes)]


def read_yes(text: str) -> bool | None:
    return True if YES.match(text) else False if NO.match(text) else None


def read_choice(text: str) -> str | None:
    """ "A", "B", "tie" or None."""
    if TIE.match(text):
        return "tie"
    found = LETTER.match(text)
    return found[1].upper() if found else None


def agreement(asker: Asker, task: Task, rubric: Rubric = Rubric(), seed: int = 0) -> Agreement:
    """On the task's demonstrations, each once with its own answer and once with another one's, in the words of a
    sentence; none of them is graded in the experiment."""
    cases = known_cases(task)
    if not cases:
        raise UserError(f"task {task.name}: no demonstrations with different answers; the judge cannot be checked")
    said = grade_all(asker, task, [(item, answer) for item, answer, _ in cases], rubric)
    truth = [right for _, _, right in cases]
    read = [(s, t) for s, t in zip(said, truth, strict=True) if s is not None]
    agreed = sum(s == t for s, t in zip(said, truth, strict=True))
    return Agreement(
        n=len(cases),
        right=wilson(agreed, len(cases)),
        kappa=kappa([s for s, _ in read], [t for _, t in read], seed=seed),
        unread=len(cases) - len(read),
    )


def known_cases(task: Task) -> list[tuple[Item, str, bool]]:
    """(item, answer, whether it is right): every demonstration with its own answer and with the next other one."""
    found: list[tuple[Item, str, bool]] = []
    demos = list(task.demos)
    for i, demo in enumerate(demos):
        others = [d.answer for d in demos[i + 1 :] + demos[:i] if d.answer != demo.answer]
        if others:
            found += [(demo, demo.answer, True), (demo, others[0], False)]
    return found


def kappa(a: Sequence[bool], b: Sequence[bool], resamples: int = 2000, seed: int = 0) -> Interval:
    """Cohen's kappa, (agreement - chance) / (1 - chance), with its percentile bootstrap interval. 0 without spread."""
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


def pairwise(
    asker: Asker,
    task: Task,
    pairs: Sequence[tuple[Item, str, str]],
    rubric: Rubric = Rubric(),
    clusters: Sequence[object] | None = None,
) -> Pairwise:
    """(item, A's answer, B's answer) -> B against A. Both orders of every pair are asked."""
    shown = [(item, a, b) for item, a, b in pairs] + [(item, b, a) for item, a, b in pairs]
    replies = asker([_ask(_chosen(task, item, a, b, rubric)) for item, a, b in shown])
    read = [read_choice(reply.text) if not reply.error else None for reply in replies]
    n = len(pairs)
    scores, survived, first = [], 0, [choice == "A" for choice in read if choice in ("A", "B")]
    for one, two in zip(read[:n], read[n:], strict=True):
        swapped = {"A": "B", "B": "A", "tie": "tie"}.get(two or "")
        survived += one is not None and one == swapped
        scores.append({"A": -1.0, "B": 1.0}.get(one or "", 0.0) if one == swapped else 0.0)
    return Pairwise(
        wins=win_rate(scores, [0.0] * n, clusters),
        scores=tuple(scores),
        survived=wilson(survived, n),
        first=wilson(sum(first), len(first)),
        unread=sum(choice is None for choice in read),
    )


def _ask(text: str) -> Wish:
    return Wish(call=Ask(prompt=user(text), max_tokens=TOKENS, temperature=0.0))


def _graded(task: Task, item: Item, answer: str, rubric: Rubric) -> str:
    words = GRADE.get(task.language, GRADE["en"])
    return words.format(question=item.input, right=item.answer, answer=answer.strip() or "…", rubric=rubric.lines())


def _chosen(task: Task, item: Item, a: str, b: str, rubric: Rubric) -> str:
    words = CHOOSE.get(task.language, CHOOSE["en"])
    return words.format(question=item.input, a=a.strip() or "…", b=b.strip() or "…", rubric=rubric.lines())
