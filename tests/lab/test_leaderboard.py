"""Tasks in files, and the ranking of models on them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.leaderboard import (
    Result,
    build_result,
    evaluation_experiment,
    rank,
    ranking_rows,
    read_results,
    select_task_versions,
    write_result,
)
from kaiwa.lab.experiments.run import run
from kaiwa.lab.experiments.task_files import read_tasks
from tests.lab.fakes import RuleModel

CHOICE = [
    {"id": f"q{i}", "question": f"{i} + 1?", "choices": [str(i), str(i + 1), str(i + 2)], "answer": form}
    for i, form in ((i, (1, "B", str(i + 1), "b", 1)[i % 5]) for i in range(40))
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_become_tasks(tmp_path: Path) -> None:
    (task,) = read_tasks(str(write(tmp_path / "plus.jsonl", CHOICE)), 5)
    assert [item.answer for item in task.items] == ["1", "2", "3", "4", "5"]
    (written,) = read_tasks(str(write(tmp_path / "w.jsonl", [{"prompt": "2 + 2?", "answer": 4}])))
    assert written.kind == "number"
    assert not written.items[0].choices
    assert [t.name for t in read_tasks("sentiment-ja", 7)] == ["sentiment-ja"]
    toml = '[[tasks]]\nname = "sentiment-en"\nn = 9\n[[arms]]\ntechnique = "zero-shot"\n'
    (tmp_path / "e.toml").write_text(toml)
    assert len(read_tasks(str(tmp_path / "e.toml"))[0].items) == 9
    sst2 = tmp_path / "sst2.txt"
    sst2.write_text("1 good film\n0 bad film\n" * 4)
    assert read_tasks(f"sst2:{sst2}")[0].items[0].choices == ("positive", "negative")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "x"}, "row 1: .*answer are needed"),
        ({"question": "x", "choices": ["a"], "answer": "a"}, "at least two different"),
        ({"question": "x", "choices": ["a", "b"], "answer": "z"}, "'z' is none of the 2 choices"),
        ({"question": "x", "choices": "[broken", "answer": "a"}, "no JSON list"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_tasks(str(write(tmp_path / "x.jsonl", [row])))


def made(model: str, scores: list[float], task: str = "t", language: str = "en", hash: str = "h") -> Result:
    mean = sum(scores) / len(scores)
    return Result(
        model=model, model_made=1, parameters=10, bits=16, task=task, task_hash=hash, language=language, how="text",
        n=len(scores), failed=0, valid=1.0, accuracy=mean, low=mean - 0.1, high=mean + 0.1,
        scores={str(i): s for i, s in enumerate(scores)}, clusters={},
    )  # fmt: skip


def test_ranks_say_what_the_items_can_tell() -> None:
    best, middle, same = [1.0] * 40, [1.0] * 20 + [0.0] * 20, [1.0] * 19 + [0.0] * 20 + [1.0]
    places = rank([made("best", best), made("middle", middle), made("same", same), made("worst", [0.0] * 40)])
    assert {p.model: (p.first, p.last) for p in places} == {
        "best": (1, 1), "middle": (2, 3), "same": (2, 3), "worst": (4, 4)
    }  # fmt: skip
    assert ranking_rows(places)[1][:2] == ["1", "best"]
    assert places[0].mean.high - places[0].mean.mean == pytest.approx(0.1)


def test_two_tasks_count_the_same_and_partial_models_are_left_out() -> None:
    results = [made("a", [1.0, 1.0]), made("a", [0.0] * 6, "u", "ja"), made("b", [1.0, 1.0])]
    (only,) = rank(results)
    assert only.model == "a"
    assert only.mean.mean == 0.5
    assert only.mean.mean - only.mean.low == pytest.approx(0.1 * math.sqrt(2) / 2)
    assert [p.model for p in rank(results, "en")] == ["a", "b"]


def test_results_are_kept_and_the_version_most_models_did_is_ranked(tmp_path: Path) -> None:
    for one in (made("a", [1.0]), made("b", [0.0]), made("c", [1.0], hash="other")):
        write_result(tmp_path, one)
    write_result(tmp_path, replace(made("a", [0.0]), model_made=2))
    (tmp_path / "leaderboard" / "broken.json").write_text("{")
    found = read_results(tmp_path)
    assert {(r.model, r.accuracy) for r in select_task_versions(found)} == {("a", 0.0), ("b", 0.0)}
    assert {r.model for r in select_task_versions(found, {"a": 1, "b": 1})} == {"b"}


def test_a_model_is_measured(tmp_path: Path) -> None:
    (task,) = read_tasks(str(write(tmp_path / "plus.jsonl", CHOICE)))
    model = RuleModel(lambda text, t, s: "")
    outcomes = run(evaluation_experiment([task], "rule"), model)
    found = build_result(task, outcomes, model="rule", model_made=1, parameters=0, bits=16)
    assert found.n == 40
    assert len(found.scores) == 40
    assert len(model.scored) == 120
