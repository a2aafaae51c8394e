"""The ladder: what is graded and what is trained on share no input."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.ladder import (
    FEW,
    METHODS,
    SOFT,
    TUNED,
    ZERO,
    ladder_experiment,
    run_ladder,
    rung_rows,
    split_task,
)
from kaiwa.lab.experiments.training_api import TrainedModel
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.text.chat_model import OpenedModel

from .fakes import RuleModel

ITEMS = tuple(Item(id=str(i), input=f"q{i % 30}", answer="yes", choices=("yes", "no")) for i in range(40))
DEMOS = tuple(
    Item(id=f"d{i}", input=f"q{20 + i}", answer=["yes", "no"][i % 2], choices=("yes", "no")) for i in range(4)
)
TASK = Task(name="t", kind="choice", items=ITEMS, demos=DEMOS)


def test_training_examples_are_new_inputs_each_once() -> None:
    graded, training = split_task(TASK, 10, 16)
    assert [item.id for item in graded.items] == [str(i) for i in range(10)]
    inputs = [item.input for item in training]
    assert len(set(inputs)) == len(inputs) == 16
    assert not set(inputs) & {item.input for item in (*graded.items, *graded.demos)}
    with pytest.raises(UserError, match="16 of 17 training examples"):
        split_task(TASK, 10, 17)


def test_four_arms_the_trained_ones_on_models_of_their_own() -> None:
    one = ladder_experiment(TASK, "base", 3)
    assert [(arm.name, arm.model) for arm in one.arms] == [(ZERO, ""), (FEW, ""), (SOFT, SOFT), (TUNED, TUNED)]
    assert one.models() == ["base", SOFT, TUNED]
    assert ("3 demonstrations help", ZERO, FEW) in [(c.claim, c.a, c.b) for c in one.contrasts]


class Server:
    """Trains at once; counts the jobs."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def upload(self, rows: list[object], name: str) -> str:
        return f"{name} {len(rows)}"

    def start(self, model: str, file: str, method: str, **options: object) -> str:
        self.jobs.append(f"{model} {file} {method} {options['suffix']} {options['hyperparameters']}")
        return f"job-{method}"

    def wait(self, job: str, show: object) -> TrainedModel:
        return TrainedModel(job=job, model=f"ft:{job}", tokens=120, seconds=36.0)


def test_climbing_trains_once_and_prices_every_rung(tmp_path: Path) -> None:
    server = Server()
    opened: list[str] = []

    def open_model(name: str) -> OpenedModel:
        opened.append(name)
        return OpenedModel(RuleModel(lambda text, t, s: "yes" if name.startswith("ft") else "no"), name)

    graded, training = split_task(TASK, 10, 8)
    options = {"hyperparameters": {"supervised": {"n_epochs": 3}}, "per_hour": 100.0, "k": 2}
    for _ in range(2):
        _, rungs = run_ladder(
            graded,
            training,
            "base",
            server,
            open_model=open_model,
            out=tmp_path,
            **options,  # type: ignore[arg-type]
        )
    assert server.jobs == [
        "base t.jsonl 8 soft_prompt soft-prompt {}",
        "base t.jsonl 8 supervised supervised {'n_epochs': 3}",
    ]
    assert set(opened) == {"base", "ft:job-soft_prompt", "ft:job-supervised"}
    by_name = {rung.name: rung for rung in rungs}
    assert [by_name[name].accuracy for name in (ZERO, FEW, SOFT, TUNED)] == [0.0, 0.0, 1.0, 1.0]
    assert by_name[TUNED].training_cost == pytest.approx(1.0)
    assert by_name[TUNED].minutes == pytest.approx(0.6)
    assert by_name[ZERO].trained_tokens == 0
    assert by_name[FEW].prompt_tokens > by_name[ZERO].prompt_tokens
    assert (tmp_path / "ladder.json").is_file()
    rows = rung_rows(rungs)
    assert rows[0][0] == "rung"
    assert rows[4][:2] == [TUNED, "100%"]
    assert rows[4][4:7] == ["120", "0.6", "1.0000"]
    assert set(METHODS) == {SOFT, TUNED}
    assert dataclasses.asdict(rungs[0])["name"] == ZERO
