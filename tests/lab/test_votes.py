"""Votes: the majority, and what fewer samples would have reached."""

from itertools import combinations

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import Decoding
from kaiwa.lab.techniques.thought import ZeroShotCoT
from kaiwa.lab.techniques.votes import Longer, SelfConsistency, majority, majority_at
from kaiwa.text.sampling import Sampling

from .drive import drive

ITEM = Item(id="1", input="q", answer="7")
TASK = Task(name="t", kind="number", items=(ITEM,), max_tokens=8)


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        (("7", "8", "7"), "7"), (("8", "7", "7", "8"), "8"), ((None, "7", None), "7"), ((None,), None), ((), None),
    ],
)  # fmt: skip
def test_majorities(votes: tuple[str | None, ...], winner: str | None) -> None:
    assert majority(votes) == winner


def exact(votes: tuple[str | None, ...], k: int, right: str) -> float:
    """Return maj@k by enumerating all subsets, ties split."""
    scores = []
    for subset in combinations(votes, k):
        valid = [vote for vote in subset if vote is not None]
        best = max((valid.count(vote) for vote in valid), default=0)
        top = {vote for vote in valid if valid.count(vote) == best}
        scores.append((right in top) / len(top) if top else 0.0)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_maj_at_k_is_the_mean_over_subsets(k: int) -> None:
    votes = ("7", "7", "8", None, "9")
    found = majority_at(votes, lambda vote: float(vote == "7"), k, draws=3000)
    assert found == pytest.approx(exact(votes, k, "7"), abs=0.03)


def test_maj_at_all_is_exact() -> None:
    assert majority_at(("7", "8"), lambda vote: float(vote == "7"), 2) == 0.5
    for k in (0, 3):
        with pytest.raises(UserError, match="k must be from 1"):
            majority_at(("7", "8"), lambda vote: 0.0, k)


def test_samples_are_asked_side_by_side_with_their_own_numbers() -> None:
    replies = iter(("7", "8", "none", "7"))
    technique = SelfConsistency(n=4, temperature=0.9)
    decoding = Decoding(sampling=Sampling(temperature=0.0, top_k=5, seed=3), sample=2)
    result, rounds = drive(technique, TASK, ITEM, lambda text: next(replies), decoding)
    assert [len(calls) for calls in rounds] == [4]
    assert [call.sample for call in rounds[0]] == [8, 9, 10, 11]
    samplings = {call.request.sampling for call in rounds[0]}  # type: ignore[union-attr]
    assert samplings == {Sampling(max_tokens=8, temperature=0.9, top_k=5, seed=3)}
    assert result.answer == "7"
    assert result.notes == {"votes": ["7", "8", None, "7"]}


def test_inner_techniques_of_several_rounds_stay_in_step() -> None:
    result, rounds = drive(SelfConsistency(inner=ZeroShotCoT(), n=3), TASK, ITEM, lambda text: "7")
    assert [len(calls) for calls in rounds] == [3, 3]
    assert result.answer == "7"


def test_names_and_controls() -> None:
    assert SelfConsistency(n=5).name == "vote of 5, zero-shot"
    assert SelfConsistency(n=1).name == "one sample, zero-shot"
    assert SelfConsistency(n=5).controls() == {
        "one sample": SelfConsistency(n=1),
        "greedy": ZeroShot(),
        "as many tokens, one answer": Longer(times=5),
    }
    assert Longer(times=5).name == "zero-shot, 5 x the tokens"
    assert Longer().controls() == {"short": ZeroShot()}
    for options in ({"n": 0}, {"temperature": 0.0}):
        with pytest.raises(UserError, match="at least 1, above 0"):
            SelfConsistency(**options)  # type: ignore[arg-type]


def test_demonstrations_are_worded_by_the_inner_technique() -> None:
    demo = Item(id="d", input="How many?", answer="3", reasoning="One and two are three.")
    inner = ZeroShotCoT()
    worded = inner.demonstration_answer(TASK, demo)
    assert worded == SelfConsistency(inner=inner).demonstration_answer(TASK, demo)
    assert worded == Longer(inner=inner).demonstration_answer(TASK, demo)
    assert worded != ZeroShot().demonstration_answer(TASK, demo)
