"""Self-consistency (Wang et al. 2023): sample n answers, take the most frequent.

Answers that could not be read do not vote. All samples share one prompt, which is computed once. The log keeps every
vote; `majority_at` then gives the unbiased accuracy of any smaller k from the n samples of an item, ties split, instead
of "the first k". Controls: one sample at the same temperature (the gain of voting itself), the greedy answer (the usual
alternative), and one greedy answer with the tokens of all n.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.lab.asking.program import Program, ProgramResult, run_side_by_side
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import Decoding, Technique, with_max_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfConsistency:
    inner: Technique = field(default_factory=ZeroShot)
    n: int = 10
    temperature: float = 0.7

    def __post_init__(self) -> None:
        if self.n < 1 or self.temperature <= 0:
            raise UserError(f"SelfConsistency: n = {self.n}, temperature = {self.temperature}; at least 1, above 0")

    @property
    def name(self) -> str:
        return f"vote of {self.n}, {self.inner.name}" if self.n > 1 else f"one sample, {self.inner.name}"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return self.inner.demonstration_answer(task, demo)

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        first = decoding.sample * self.n
        decodings = [decoding.as_sample(self.temperature, first + i) for i in range(self.n)]
        results = yield from run_side_by_side([self.inner.run(task, item, h) for h in decodings])
        votes = [result.answer for result in results]
        winner = majority(votes)
        text = next((result.text for result in results if result.answer == winner), "")
        return ProgramResult(text=text, answer=winner, extracted=True, notes={"votes": votes})

    def controls(self) -> Mapping[str, Technique]:
        return {
            "one sample": SelfConsistency(inner=self.inner, n=1, temperature=self.temperature),
            "greedy": self.inner,
            "as many tokens, one answer": Longer(inner=self.inner, times=self.n),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer:
    """One answer that may use `times` as many tokens: the token-matched arm of a vote."""

    inner: Technique = field(default_factory=ZeroShot)
    times: int = 10

    @property
    def name(self) -> str:
        return f"{self.inner.name}, {self.times} x the tokens"

    def demonstration_answer(self, task: Task, demo: Item) -> str:
        return self.inner.demonstration_answer(task, demo)

    def run(self, task: Task, item: Item, decoding: Decoding) -> Program:
        return (yield from self.inner.run(with_max_tokens(task, task.max_tokens * self.times), item, decoding))

    def controls(self) -> Mapping[str, Technique]:
        return {"short": self.inner}


def majority(votes: Sequence[str | None]) -> str | None:
    """Return the most frequent answer, of equals the first; None if no vote is valid."""
    count = Counter(vote for vote in votes if vote is not None)
    return count.most_common(1)[0][0] if count else None


def majority_at(
    votes: Sequence[str | None], right: Callable[[str], float], k: int, draws: int = 200, seed: int = 0
) -> float:
    """Return the expected score of a majority of k of the n votes: the mean over random subsets, ties split.

    `right`: an answer's score. UserError unless 1 <= k <= n.
    """
    if not 1 <= k <= len(votes):
        raise UserError(f"maj@{k} of {len(votes)} votes; k must be from 1 to the number of votes")
    rng = python_rng(seed, "majority", k)
    total = 0.0
    for _ in range(1 if k == len(votes) else draws):
        count = Counter(vote for vote in rng.sample(list(votes), k) if vote is not None)
        top = [vote for vote, times in count.items() if times == max(count.values())]
        total += sum(map(right, top)) / len(top) if top else 0.0
    return total / (1 if k == len(votes) else draws)
