"""In-context learning by size: slopes, losses and items by hand."""

import json
import math
from pathlib import Path

import pytest

from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.studies.icl import KS, _loss, icl_experiment, measure, slope, steeper, study
from kaiwa.studies.icl_report import WORDS, cells, markdown, write_icl_report
from kaiwa.studies.icl_tasks import CATEGORIES, COLOURS, MOST, FirstDemonstrations, category, recall
from kaiwa.text.chat_model import OpenedModel
from tests.lab.drive import drive, prompts
from tests.lab.fakes import RuleModel


def outcome(id: str, k: int, score: float, scores: dict[str, float], error: str = "") -> ItemOutcome:
    return ItemOutcome(
        task="t", arm=f"k = {k} @ m", seed=0, id=id, score=score, error=error, notes={"logprobs": scores, "right": "a"}
    )


@pytest.mark.parametrize("gain", [0.0, 0.1, -0.25])
def test_a_line_over_log2_has_its_slope(gain: float) -> None:
    assert slope({k: 0.3 + gain * math.log2(k + 1) for k in KS}) == pytest.approx(gain)


def test_the_loss_is_of_the_labels_shares() -> None:
    one = outcome("1", 0, 1.0, {"a": math.log(0.3), "b": math.log(0.1)})
    assert _loss(one) == pytest.approx(-math.log(0.75))
    assert _loss(outcome("1", 0, 1.0, {"a": -1000.0, "b": -1000.0})) == pytest.approx(math.log(2))


def test_an_items_slope_counts_only_if_every_k_went_through() -> None:
    some = [outcome("1", k, float(k >= 4), {"a": 0.0, "b": -1.0}) for k in KS]
    some += [outcome("2", k, 0.0, {"a": 0.0, "b": 0.0}, error="down" if k == 8 else "") for k in KS]
    curve = measure("m", 7, "t", some)
    assert (curve.n, curve.failed, curve.parameters) == (1, 1, 7)
    assert list(curve.slopes) == ["1"]
    assert curve.slope.mean == pytest.approx(slope({k: float(k >= 4) for k in KS}))
    assert curve.loss[0].mean == pytest.approx(math.log(1 + math.exp(-1)))
    value = json.loads(json.dumps(curve.to_json()))
    assert value["accuracy"]["16"]["mean"] == 1.0
    assert value["slope"]["low"] is None, "one item has no interval"


def test_two_models_are_compared_on_the_items_of_both() -> None:
    flat = measure("m", 1, "t", [outcome(i, k, 0.0, {"a": 0.0, "b": 0.0}) for i in "123" for k in KS])
    rising = [outcome(i, k, float(k > 0), {"a": 0.0, "b": 0.0}) for i in "234" for k in KS]
    steep = measure("m", 1, "t", rising)
    difference = steeper(flat, steep)
    assert difference.n == 2
    assert difference.mean == pytest.approx(slope({k: float(k > 0) for k in KS}))


def test_items_bring_their_own_demonstrations() -> None:
    for task, choices in ((category(20), CATEGORIES), (recall(20), COLOURS)):
        for item in task.items:
            lines = item.columns["demos"].splitlines()
            assert len(lines) == MOST
            assert item.choices == choices
            assert item.answer in choices
            assert all(line.split(": ")[1] in choices for line in lines)
    assert category(3) == category(3) != category(3, seed=1)
    for item in category(20).items:
        assert item.input not in [line.split(":")[0] for line in item.columns["demos"].splitlines()]


def test_a_mapping_of_recall_is_consistent_within_an_item() -> None:
    for item in recall(30).items:
        pairs = dict(line.split(": ") for line in item.columns["demos"].splitlines())
        assert all(f"{word}: {colour}" in item.columns["demos"] for word, colour in pairs.items())
        if item.input in pairs:
            assert pairs[item.input] == item.answer


def test_k_demonstrations_are_the_first_k() -> None:
    item = recall(1).items[0]
    result, rounds = drive(
        FirstDemonstrations(k=2), recall(1), item, lambda key: "0" if key.endswith("green") else "-1"
    )
    expected = [*item.columns["demos"].splitlines()[:2], f"{item.input}:"]
    assert prompts(rounds)[0] == ["\n".join(expected)] * 4
    assert result.answer == "green"
    assert result.notes["right"] == item.answer
    assert FirstDemonstrations(k=0).name == "k = 0"
    assert FirstDemonstrations(k=0).controls() == {}


class Reader(RuleModel):
    """Finds a word's label in the prompt, and prefers the first label else."""

    def score(self, context: object, continuation: str) -> list[float]:
        *lines, word = str(context).splitlines()
        pairs = dict(line.split(": ") for line in lines)
        return [0.0 if pairs.get(word.rstrip(":"), "red") == continuation.strip() else -3.0]


def test_the_whole_study_and_its_reports(tmp_path: Path) -> None:
    def open_model(name: str) -> OpenedModel:
        rule = lambda *_: ""  # noqa: E731
        return OpenedModel(Reader(rule) if name == "reader" else RuleModel(rule), name, "text")

    curves = study({"blind": 10, "reader": 2000}, open_model, tmp_path, n=12)
    assert [(c.model, c.task) for c in curves] == [
        ("blind", "category"), ("reader", "category"), ("blind", "recall"), ("reader", "recall")
    ]  # fmt: skip
    assert curves[3].accuracy[16].mean > 0.8 > curves[3].accuracy[0].mean
    assert len(json.loads((tmp_path / "icl.json").read_text())) == 4
    rows = cells(curves[2:])
    assert [row[0] for row in rows] == ["blind", "reader"]
    assert rows[1][1] == "2,000"
    assert rows[0][-1] == ""
    assert rows[1][-1].startswith("+0.")
    path = write_icl_report(curves, tmp_path)
    html = path.read_text()
    assert html.count("<svg") == 8, "two tasks, two plots, two languages"
    assert "recall" in (tmp_path / "icl.md").read_text()
    assert "items failed" not in markdown(curves, ["recall"])
    assert len(WORDS["en"]["heads"]) == len(WORDS["ja"]["heads"]) == len(rows[0])
    assert icl_experiment(["a", "b"], 3).models() == ["a", "b"]
