"""Prompt search: sides that never mix, a winner that is graded on other items."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.assignment import FixedPrompt
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.prompt_search import describe_search, search_prompt, split_dev_test
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Grader, Item, Judge, Task
from kaiwa.text.chat_model import OpenedModel

from .fakes import RuleModel

ITEMS = tuple(Item(id=f"i{i}", input=str(i), answer="yes", choices=("yes", "no")) for i in range(80))
TASK = Task(name="t", kind="choice", items=ITEMS)


def arm(name: str) -> Arm:
    return Arm(name=name, technique=FixedPrompt(prompt=Prompt(input=f"{name} {{input}}"), label=name))


def experiment(*names: str, **changes: object) -> Experiment:
    values: dict[str, object] = {"name": "e", "tasks": (TASK,), "arms": tuple(arm(name) for name in names)} | changes
    return Experiment(**values)  # type: ignore[arg-type]


def model(text: str, temperature: float, seed: int) -> str:
    """The prompt "good" is always right, the others for every third item."""
    name, number = text.removeprefix("[user] ").split()
    return "yes" if name == "good" or int(number) % 3 == 0 else "no"


def test_a_side_depends_on_the_id_alone() -> None:
    dev, test = split_dev_test(TASK)
    assert {i.id for i in dev.items} | {i.id for i in test.items} == {i.id for i in ITEMS}
    assert not {i.id for i in dev.items} & {i.id for i in test.items}
    half = dataclasses.replace(TASK, items=ITEMS[:60])
    smaller, _ = split_dev_test(half)
    assert {i.id for i in smaller.items} == {i.id for i in dev.items} & {i.id for i in half.items}
    more, _ = split_dev_test(TASK, 0.7)
    assert {i.id for i in dev.items} < {i.id for i in more.items}


def test_clusters_stay_on_one_side() -> None:
    items = tuple(dataclasses.replace(item, cluster=str(i // 4)) for i, item in enumerate(ITEMS))
    dev, test = split_dev_test(dataclasses.replace(TASK, items=items))
    assert not {i.cluster for i in dev.items} & {i.cluster for i in test.items}
    with pytest.raises(UserError, match="at least 10 of each"):
        split_dev_test(dataclasses.replace(TASK, items=ITEMS[:12]))


def test_the_winner_meets_the_baseline_on_items_nothing_was_chosen_by(tmp_path: Path) -> None:
    opened = OpenedModel(RuleModel(model), "m")
    found = search_prompt(experiment("base", "good", "other"), lambda name: opened, tmp_path)
    assert (found.winner, found.baseline) == ("good", "base")
    assert found.dev.observed == 1.0
    (finding,) = found.test.findings
    assert finding.comparison.verdict == "better"
    assert finding.comparison.n == len(split_dev_test(TASK)[1].items)
    asked = (tmp_path / "test" / "calls.jsonl").read_text()
    assert "other" not in asked, "only two arms ever see the test items"
    text = describe_search(found)
    assert text.startswith("dev: 'good' is the best of the candidates with 100.0% of")
    assert "better by" in text


def test_a_baseline_that_wins_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    opened = OpenedModel(RuleModel(model), "m")
    found = search_prompt(experiment("good", "base"), lambda name: opened, tmp_path)
    assert found.test.findings == ()
    assert "there is nothing to compare" in describe_search(found)


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    def no_model(name: str) -> OpenedModel:
        raise AssertionError

    judged = dataclasses.replace(TASK, grader=Grader(name="model", judge=Judge(model="j")))
    for one, message in (
        (experiment("base"), "candidate arms"),
        (experiment("base", "good", tasks=(TASK, dataclasses.replace(TASK, name="u"))), "one task"),
        (experiment("base", "good", tasks=(judged,)), "graded by a rule"),
    ):
        with pytest.raises(UserError, match=message):
            search_prompt(one, no_model, tmp_path)
    failing = OpenedModel(RuleModel(model, fail="good"), "m")
    with pytest.raises(UserError, match="no dev item went through under every arm"):
        search_prompt(experiment("base", "good"), lambda name: failing, tmp_path)
