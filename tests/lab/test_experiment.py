"""Experiments: what is registered, and what they can find."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, detectable_differences, register
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.stats.power import smallest_difference
from kaiwa.text.sampling import Sampling

TASKS = tuple(
    Task(name=name, items=tuple(Item(id=str(i), input=str(i), answer="x") for i in range(30))) for name in ("t", "u")
)
ARMS = (
    Arm(name="zero", technique=ZeroShot()),
    Arm(name="few", technique=FewShot(k=2)),
    Arm(name="own", technique=ZeroShot(), task="u", model="big"),
)


def experiment(**changes: object) -> Experiment:
    values: dict[str, object] = {"name": "e", "tasks": TASKS, "arms": ARMS, "model": "small"} | changes
    return Experiment(**values)  # type: ignore[arg-type]


def test_arms_belong_to_tasks_and_models() -> None:
    one = experiment()
    assert [arm.name for arm in one.arms_of(TASKS[0])] == ["zero", "few"]
    assert [arm.name for arm in one.arms_of(TASKS[1])] == ["zero", "few", "own"]
    assert one.models() == ["small", "big"]
    assert [len(task.items) for task in one.with_first_items(4).tasks] == [4, 4]


def test_without_contrasts_each_arm_meets_the_first() -> None:
    assert experiment().contrasts_of(TASKS[1]) == [
        Contrast(a="zero", b="few", task="u"), Contrast(a="zero", b="own", task="u")
    ]  # fmt: skip


def test_registered_contrasts_are_those_whose_arms_the_task_has() -> None:
    contrasts = (Contrast(a="few", b="own"), Contrast(a="zero", b="few", task="t", claim="helps"))
    one = experiment(contrasts=contrasts)
    assert one.contrasts_of(TASKS[0]) == [contrasts[1]]
    assert one.contrasts_of(TASKS[1]) == [contrasts[0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "at least one task"),
        ({"arms": ()}, "at least one task, one arm"),
        ({"seeds": ()}, "one seed"),
        ({"arms": (*ARMS, ARMS[0])}, "the arm 'zero' occurs twice for t"),
        ({"contrasts": (Contrast(a="zero", b="fewer"),)}, "did you mean 'few'"),
    ],
)
def test_an_experiment_that_makes_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        experiment(**changes)


def test_the_plan_is_written_once_and_a_changed_one_needs_another_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    register(experiment(), out)
    plan = (out / "plan.json").read_text()
    register(experiment(), out)
    assert (out / "plan.json").read_text() == plan
    for changes in (
        {"arms": ARMS[:2]},
        {"margin": 3.0},
        {"seeds": (0, 1)},
        {"sampling": Sampling(temperature=0.5)},
        {"tasks": TASKS[:1], "arms": ARMS[:2]},
    ):
        with pytest.raises(UserError, match="another experiment is registered here"):
            register(experiment(**changes), out)
    assert (out / "plan.json").read_text() == plan


def changed_item(**changes: object) -> dict[str, object]:
    first = dataclasses.replace(TASKS[0].items[0], **changes)  # type: ignore[arg-type]
    return {"tasks": (dataclasses.replace(TASKS[0], items=(first, *TASKS[0].items[1:])), TASKS[1])}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (changed_item(answer="y"), r"tasks\.0\.items\.0"),
        (changed_item(input="other"), r"tasks\.0\.items\.0"),
        (changed_item(columns={"c": "1"}), r"tasks\.0\.items\.0"),
        ({"tasks": (TASKS[0].with_prompt(Prompt("New.")), TASKS[1])}, r"tasks\.0\.prompt\.instruction"),
        ({"tasks": (dataclasses.replace(TASKS[0], grader=Grader(name="contains")), TASKS[1])}, r"grader\.name"),
        ({"tasks": (dataclasses.replace(TASKS[0], max_tokens=9), TASKS[1])}, "max_tokens"),
        ({"arms": (dataclasses.replace(ARMS[0], prompt=Prompt("Own.")), *ARMS[1:])}, r"arms\.0\.prompt"),
        ({"arms": (dataclasses.replace(ARMS[0], sampling=Sampling(top_k=2)), *ARMS[1:])}, r"arms\.0\.sampling"),
    ],
)
def test_nothing_that_decides_a_result_changes_after_the_first_look(
    tmp_path: Path, changes: dict[str, object], place: str
) -> None:
    register(experiment(), tmp_path)
    with pytest.raises(UserError, match=place):
        register(experiment(**changes), tmp_path)


def test_a_plan_of_the_first_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"name": "e"}')
    with pytest.raises(UserError, match="earlier kaiwa"):
        register(experiment(), tmp_path)


def test_what_the_items_can_find() -> None:
    planned = detectable_differences(experiment())
    assert [(p.task, p.contrast.b, p.n) for p in planned] == [("t", "few", 30), ("u", "few", 30), ("u", "own", 30)]
    assert planned[0].detectable == smallest_difference(30, 0.3)
    assert dataclasses.replace(planned[0], n=1).n == 1
