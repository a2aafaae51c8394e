"""The ledger over experiments on the same items, and the lines that need no model."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.baselines import baselines_text, task_baselines
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.ledger import FILE, LedgerLine, enter_ledger, read_ledger, view_ledger
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.reports.experiment_report import body, markdown
from kaiwa.lab.tasks.task import Grader, Item, Task
from kaiwa.lab.techniques.shots import ZeroShot

ITEMS = tuple(Item(id=str(i), input=f"q{i}", answer="ab"[i % 4 == 0], choices=("a", "b")) for i in range(40))
TASK = Task(name="t", kind="choice", items=ITEMS)
ARMS = (Arm(name="x", technique=ZeroShot()), Arm(name="y", technique=ZeroShot()))
EXPERIMENT = Experiment(name="e", tasks=(TASK,), arms=ARMS)


def outcomes(won: int, both: int = 10, failed: int = 0) -> list[ItemOutcome]:
    """Arm y wins the first `won` items, both arms are right on the next `both`."""
    return [
        ItemOutcome(
            task="t", arm=arm, seed=0, id=item.id, valid=True, answer="a", error="lost" * (i >= 40 - failed),
            score=float((i < won and arm == "y") or won <= i < won + both),
        )
        for arm in ("x", "y") for i, item in enumerate(ITEMS)
    ]  # fmt: skip


def line(run: str, p: float, verdict: str = "better", items: tuple[str, ...] = ("i", "j", "k", "l")) -> LedgerLine:
    return LedgerLine(run=run, experiment="e", task="t", items=items, comparisons=(("y − x", p, verdict),))


def test_a_verdict_must_survive_all_looks() -> None:
    one = line("1", 0.02)
    alone = view_ledger(one, [])
    assert (alone.n_experiments, alone.n_comparisons, alone.confirmed) == (1, 1, ("y − x",))
    many = view_ledger(one, [line(str(i), 0.5, "unknown") for i in range(2, 6)])
    assert (many.n_experiments, many.n_comparisons, many.confirmed) == (5, 5, ())
    assert many.text().endswith("Holm over all leaves 0 of 1 verdicts; not confirmed: y − x")
    strong = view_ledger(line("1", 0.001), [line(str(i), 0.5, "unknown") for i in range(2, 6)])
    assert strong.confirmed == ("y − x",)


@pytest.mark.parametrize(
    ("items", "n"), [(("i", "j"), 2), (("i", "x"), 2), (("i", "x", "y"), 1), (("x", "y"), 1), (tuple("ijklmnop"), 2)]
)
def test_experiments_belong_together_by_half_of_the_smaller_ones_items(items: tuple[str, ...], n: int) -> None:
    assert view_ledger(line("1", 0.02), [line("2", 0.5, items=items)]).n_experiments == n


def test_the_same_run_is_entered_once_and_renamed_items_are_known(tmp_path: Path) -> None:
    first = analyse(EXPERIMENT, outcomes(12))
    for _ in range(2):
        (view,) = enter_ledger(first, "/runs/one", tmp_path / FILE)
    assert (view.n_experiments, view.n_comparisons) == (1, 1)
    renamed = dataclasses.replace(TASK, items=tuple(dataclasses.replace(i, id=f"n{i.id}") for i in ITEMS))
    again = [dataclasses.replace(o, id=f"n{o.id}") for o in outcomes(3)]
    second = analyse(dataclasses.replace(EXPERIMENT, tasks=(renamed,)), again)
    (view,) = enter_ledger(second, "/runs/two", tmp_path / FILE)
    assert (view.n_experiments, view.n_comparisons, view.claimed) == (2, 2, ())


def test_a_torn_line_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enter_ledger(analyse(EXPERIMENT, outcomes(12)), "/runs/one", tmp_path / FILE)
    with open(tmp_path / FILE, "a") as f:
        f.write('{"run": "x"}\n{"run": ')
    assert len(read_ledger(tmp_path / FILE)) == 1
    assert "2 lines cannot be read" in capsys.readouterr().err


def test_informative_items_chance_and_majority_stand_in_every_table() -> None:
    analysis = analyse(EXPERIMENT, outcomes(12, failed=4))
    one = analysis.baselines["t"]
    assert (one.informative, one.ceiling, one.floor, one.n) == (12, 10, 14, 36)
    assert (one.chance, one.majority, one.answer) == (0.5, 0.75, "a")
    assert baselines_text(one).startswith("t: chance 50.0%, always 'a' 75.0%; informative items 12 of 36")
    for text in (markdown(analysis), body(analysis, "en")):
        assert "chance" in text
        assert "always “a”" in text
        assert "12 / 36" in text


def test_without_choices_there_is_no_chance() -> None:
    items = tuple(dataclasses.replace(item, choices=(), answer=f"{i}.0") for i, item in enumerate(ITEMS))
    one = task_baselines(Task(name="n", kind="number", items=items, grader=Grader(name="number")))
    assert one.chance is None
    assert one.majority == 1 / 40
