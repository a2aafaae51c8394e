"""The analysis of outcomes made by hand."""

import dataclasses
import math

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import Prices
from kaiwa.lab.experiments.analysis import (
    analyse,
    apply_holm,
    compare_arms,
    finding_rows,
    mean_scores_by_item,
    summarise_arm,
)
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.experiments.verdicts import verdict_text
from kaiwa.lab.tasks.task import Grader, Item, Judge, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.stats.comparison import compare
from kaiwa.stats.intervals import wilson
from kaiwa.stats.multiple import holm

ITEMS = tuple(Item(id=str(i), input=f"q{i}", answer="a") for i in range(12))
TASK = Task(name="t", items=ITEMS)


def outcomes(arm: str, scores: str, seed: int = 0, **changes: object) -> list[ItemOutcome]:
    """Return outcomes by one letter each: 1 right, 0 wrong, x not valid, ! failed."""
    return [
        ItemOutcome(
            **{
                "task": "t",
                "arm": arm,
                "seed": seed,
                "id": str(i),
                "answer": None if letter in "x!" else "ab"[letter == "0"],
                "valid": letter in "01",
                "score": float(letter == "1"),
                "error": "broken" if letter == "!" else "",
                "n_prompt": 10,
                "n_tokens": 2,
                "calls": 1,
                **changes,
            }  # type: ignore[arg-type]
        )
        for i, letter in enumerate(scores)
    ]


def test_three_numbers_of_an_arm() -> None:
    arm = summarise_arm(TASK, "a", outcomes("a", "1110xx!!"))
    assert (arm.n, arm.failed) == (6, 2)
    assert arm.valid == wilson(4, 6)
    assert arm.when_valid == wilson(3, 4)
    assert arm.accuracy == wilson(3, 6)
    assert arm.histogram == (("a", 3), ("—", 2), ("b", 1))


def test_costs_and_notes() -> None:
    some = outcomes("a", "11!", notes={"actions": 2, "votes": ["x"], "maj@3": 0.5}, n_reused=4, seconds=0.5)
    arm = summarise_arm(TASK, "a", some, Prices(prompt=1e6, answer=2e6))
    assert (arm.n_prompt, arm.n_reused, arm.n_tokens, arm.calls) == (30, 12, 6, 3)
    assert arm.seconds == pytest.approx(1.5)
    assert arm.cost == pytest.approx(30 * 1 + 6 * 2)
    assert arm.notes == {"actions": 2.0, "maj@3": 0.5}, "numbers only, per answer that did not fail"


def test_seeds_are_averaged_and_a_failed_seed_takes_the_item_out() -> None:
    some = [*outcomes("a", "110"), *outcomes("a", "10!", seed=1)]
    assert mean_scores_by_item(some) == {"0": 1.0, "1": 0.5}


def test_a_contrast_pairs_items_that_went_through_under_both() -> None:
    contrast = Contrast(a="a", b="b")
    finding = compare_arms(TASK, contrast, outcomes("a", "0011!0"), outcomes("b", "101!11"), margin=0.05)
    assert finding.comparison.n == 4
    assert (finding.won, finding.lost) == (("0", "5"), ())
    assert finding.comparison == dataclasses.replace(compare([0, 0, 1, 0], [1, 0, 1, 1], margin=0.05), n_failed=8)


def test_items_of_one_cluster_are_not_independent() -> None:
    items = tuple(dataclasses.replace(item, cluster=str(i // 6)) for i, item in enumerate(ITEMS))
    task = dataclasses.replace(TASK, items=items)
    a, b = outcomes("a", "0" * 12), outcomes("b", "1" * 12)
    free = compare_arms(TASK, Contrast(a="a", b="b"), a, b, margin=0.05)
    clustered = compare_arms(task, Contrast(a="a", b="b"), a, b, margin=0.05)
    assert free.comparison.verdict == "better"
    assert clustered.comparison.p == pytest.approx(0.5), "two clusters: four sign patterns, two of them as extreme"
    assert clustered.comparison.verdict == "few"
    assert verdict_text(clustered.comparison) == "cannot tell: 2 clusters, at least 6 are needed"


def test_holm_takes_back_what_it_does_not_confirm() -> None:
    found = compare([0] * 8, [1, 1, 1, 1, 1, 1, 0, 0])
    assert found.verdict == "better"
    assert apply_holm(found, 0.049) == found
    held = apply_holm(found, found.p * 5)
    assert held.verdict == "unknown"
    assert held.n_needed is not None
    assert held.n_needed > found.n
    same = compare([1] * 300, [1] * 300, margin=0.1)
    assert same.verdict == "same"
    assert apply_holm(same, 0.9) == same, "only differences are withdrawn"


def experiment(n_arms: int) -> Experiment:
    arms = tuple(Arm(name=f"b{i}", technique=ZeroShot()) for i in range(n_arms))
    return Experiment(name="e", tasks=(TASK,), arms=(Arm(name="a", technique=ZeroShot()), *arms), margin=10)


def test_all_contrasts_are_adjusted_together() -> None:
    some = outcomes("a", "0" * 12)
    for i, n in enumerate((12, 6, 5, 2)):
        some += outcomes(f"b{i}", "1" * n + "0" * (12 - n))
    analysis = analyse(experiment(4), some, "m")
    raw = [f.comparison.p for f in analysis.findings]
    assert [f.p_holm for f in analysis.findings] == pytest.approx(holm(raw).tolist())
    assert [f.comparison.verdict for f in analysis.findings][:2] == ["better", "unknown"]
    assert raw[1] == pytest.approx(2 / 2**6), "six pairs that all go one way, found alone"
    assert analysis.findings[0].comparison.margin == 0.1
    rows = finding_rows(analysis)
    assert rows[0]["verdict"] == "better by 100.0 points"
    assert rows[1]["verdict"].startswith("cannot tell, need n = ")
    assert {row["judge"] for row in rows} == {""}


def test_fractional_scores_have_a_t_interval() -> None:
    some = outcomes("a", "1" * 4)
    some = [dataclasses.replace(o, score=s) for o, s in zip(some, (0.2, 0.4, 0.6, 0.8), strict=True)]
    arm = summarise_arm(TASK, "a", some)
    assert arm.accuracy.mean == pytest.approx(0.5)
    assert 0 < arm.accuracy.low < 0.5 < arm.accuracy.high < 1


def test_a_judged_task_needs_its_judges_check() -> None:
    task = dataclasses.replace(TASK, grader=Grader(name="model", judge=Judge(model="m")))
    with pytest.raises(UserError, match="graded by a model"):
        summarise_arm(task, "a", outcomes("a", "10"))


def test_outcomes_in_files_have_null_for_no_score() -> None:
    (one,) = outcomes("a", "1", score=math.nan)
    assert one.to_json()["score"] is None
    assert one.to_json()["id"] == "0"
