"""Logs as pairs."""

import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.reports.logs import Log, match, read_log


def log(path: Path, *rows: dict[str, object]) -> Log:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_log(path)


def test_values_and_failures(tmp_path: Path) -> None:
    one = log(
        tmp_path / "a",
        {"id": 1, "correct": True},
        {"id": "x", "score": 0.25},
        {"id": "y", "score": None},
        {"id": "z", "failed": True},
        {"id": "w", "correct": 0, "score": 9},
    )
    assert one.values == {"1": 1.0, "x": 0.25, "w": 0.0}, "correct says more than score"
    assert one.failed == ("y", "z")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": True, "correct": 1}, "no 'id'"),
        ({"id": None, "correct": 1}, "no 'id'"),
        ({"id": 2, "correct": "yes"}, "correct is 'yes'"),
        ({"id": 2, "correct": 2}, "use 'score' for other numbers"),
        ({"id": 2, "score": [1]}, "must be a number"),
        ({"id": 2}, "neither 'correct' nor 'score'"),
        ({"id": "1", "correct": 1}, "the id '1' occurs twice"),
        ({"id": 1, "failed": True}, "occurs twice"),
    ],
)
def test_what_is_no_record(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        log(tmp_path / "a", {"id": 1, "correct": True}, row)
    assert "record 2" in str(error.value)


def test_infinite_scores_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"id": 1, "score": Infinity}\n')
    with pytest.raises(UserError, match="must be a number"):
        read_log(tmp_path / "a")


def test_pairs_are_sorted_and_the_rest_is_named(tmp_path: Path) -> None:
    a = log(tmp_path / "a", *({"id": i, "correct": i % 2} for i in (3, 1, 2, 9)), {"id": 5, "correct": None})
    b = log(tmp_path / "b", *({"id": i, "correct": 1} for i in (2, 3, 5, 7)))
    pair = match(a, b)
    assert (pair.ids, pair.a, pair.b) == (("2", "3"), (0.0, 1.0), (1.0, 1.0))
    assert (pair.only_a, pair.only_b, pair.failed) == (("1", "9"), ("7",), ("5",)), (
        "an id that failed in one log does not count as missing"
    )
    assert pair.ids_of_one == ["1", "9", "7"]
    assert pair.compare(0.1).n == 2
    with pytest.raises(UserError, match="no id is in both logs"):
        match(a, log(tmp_path / "c", {"id": "q", "correct": 1}))


def test_clusters_must_agree(tmp_path: Path) -> None:
    def clustered(name: str, groups: str) -> Log:
        rows = [{"id": i, "correct": 1, "page": group} for i, group in enumerate(groups)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_log(tmp_path / name, "page")

    assert match(clustered("a", "xxy"), clustered("b", "xxy")).clusters == ("x", "x", "y")
    with pytest.raises(UserError, match="id '2' is in cluster 'y' in one log, 'x' in the other"):
        match(clustered("a", "xxy"), clustered("b", "xxx"))
    with pytest.raises(UserError, match="no field 'pge'"):
        read_log(tmp_path / "a", "pge")
