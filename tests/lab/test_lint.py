"""Lint: each rule on the smallest prompt or task that breaks it, and on one that does not."""

import dataclasses

import pytest

from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt, lint_task
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.votes import SelfConsistency

GOOD = Prompt("Write one word, the answer.", input="Q: {input}", output_indicator="A:", delimiters="tags")
ITEMS = tuple(Item(id=str(i), input=f"q{i}", answer="ab"[i % 2], choices=("a", "b")) for i in range(200))
DEMOS = tuple(Item(id=f"d{i}", input=f"d{i}", answer="ab"[i % 2], choices=("a", "b")) for i in range(8))
TASK = Task(name="t", kind="choice", items=ITEMS, demos=DEMOS, prompt=GOOD)


def rules(prompt: Prompt) -> set[str]:
    return {remark.rule for remark in lint_prompt(prompt)}


def examples(*labels: str) -> tuple[Example, ...]:
    return tuple(Example(f"e{i}", label) for i, label in enumerate(labels))


def test_a_good_prompt_has_no_remarks() -> None:
    assert lint_prompt(GOOD) == []
    assert lint_task(TASK) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"input": "no place"}, "no-variable"),
        ({"order": ("input", "instruction", "context", "examples")}, "instruction-last"),
        ({"delimiters": "none", "output_indicator": ""}, "no-delimiters"),
        ({"instruction": "Write a short answer."}, "vague"),
        ({"instruction": "短く答えてください。", "language": "ja"}, "vague"),
        ({"instruction": "Do not explain the answer."}, "only-not"),
        ({"instruction": "Please write the answer."}, "fluff"),
        ({"instruction": "Translate it.", "output_indicator": ""}, "no-format"),
        ({"output_indicator": "A: "}, "trailing-space"),
        ({"leading_words": "import "}, "trailing-space"),
        ({"language": "ja"}, "language"),
        ({"instruction": "答えを書いてください。"}, "language"),
        ({"examples": (Example("x", "a"), Example("x", "b"))}, "same-example"),
        ({"examples": examples("a", "a", "a", "a", "b")}, "majority-label"),
        ({"examples": examples("b", "b", "a", "b", "a", "a", "a")}, "recent-label"),
        ({"examples": examples("a", "a")}, "one-label"),
    ],
)
def test_each_rule(changes: dict[str, object], rule: str) -> None:
    assert rules(dataclasses.replace(GOOD, **changes)) == {rule}  # type: ignore[arg-type]


def test_what_to_do_beside_what_not_to_do_is_fine() -> None:
    assert "only-not" not in rules(dataclasses.replace(GOOD, instruction="Do not explain. Write the answer only."))
    assert rules(dataclasses.replace(GOOD, examples=examples("a", "b", "a", "b"))) == set()


def test_remarks_are_lines() -> None:
    (remark,) = lint_prompt(dataclasses.replace(GOOD, input="x"), "p.toml")
    assert str(remark).startswith("p.toml: error: nothing in it changes")
    assert str(remark).endswith("[no-variable]")


def test_demonstrations_among_the_items() -> None:
    leaking = dataclasses.replace(TASK, demos=(dataclasses.replace(DEMOS[0], input="q3"),))
    (remark,) = lint_task(leaking)
    assert (remark.level, remark.rule) == ("error", "leak")
    assert "(d0)" in remark.text
    shown = TASK.with_examples([Example("q5", "a"), Example("z", "b")])
    assert [r.rule for r in lint_task(shown)] == ["leak"]


def test_repeated_inputs_need_a_cluster() -> None:
    twice = tuple(dataclasses.replace(item, input=f"q{i // 2}") for i, item in enumerate(ITEMS))
    (remark,) = lint_task(dataclasses.replace(TASK, items=twice))
    assert remark.rule == "repeated"
    assert remark.text.startswith("100 of 200 items")
    clustered = tuple(dataclasses.replace(item, cluster=item.input) for item in twice)
    assert lint_task(dataclasses.replace(TASK, items=clustered)) == []


def test_one_answer_for_all() -> None:
    same = tuple(dataclasses.replace(item, answer="a") for item in ITEMS)
    assert [r.rule for r in lint_task(dataclasses.replace(TASK, items=same))] == ["one-answer"]


def experiment(*arms: Arm, task: Task = TASK, **changes: object) -> Experiment:
    return Experiment(name="e", tasks=(task,), arms=arms, **changes)  # type: ignore[arg-type]


ZERO, FEW = Arm(name="zero", technique=ZeroShot()), Arm(name="few", technique=FewShot(k=2))


def test_few_items_find_nothing() -> None:
    small = dataclasses.replace(TASK, items=ITEMS[:12])
    assert {r.rule for r in lint_experiment(experiment(ZERO, FEW, task=small))} == {"small-n"}
    assert lint_experiment(experiment(ZERO, FEW)) == []


def test_an_arm_needs_a_control() -> None:
    vote = Arm(name="vote", technique=SelfConsistency(n=3))
    one = Arm(name="one", technique=SelfConsistency(n=1))
    (remark,) = lint_experiment(experiment(one, FEW, contrasts=(Contrast(a="one", b="few"),)))
    assert (remark.rule, "without demonstrations" in remark.text) == ("no-control", True)
    assert lint_experiment(experiment(one, vote)) == [], "one sample is a control of the vote"
    (remark,) = lint_experiment(experiment(Arm(name="vote 5", technique=SelfConsistency(n=5)), vote))[:1]
    assert remark.rule == "no-control"


def test_arms_that_are_compared_with_nothing() -> None:
    other = dataclasses.replace(TASK, name="u")
    only_u = Contrast(a="zero", b="few", task="u")
    found = lint_experiment(Experiment(name="e", tasks=(TASK, other), arms=(ZERO, FEW), contrasts=(only_u,)))
    assert [(r.level, r.rule, r.where) for r in found] == [("error", "no-contrast", "task t")]
