"""kaiwa lab compare: logs as people have them, gates, JUnit, bad input."""

import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kaiwa.cli import main
from kaiwa.core.errors import UserError
from kaiwa.lab.reports.gate import check_gate, parse_gate

KEYS = ["n", "mean_a", "mean_b", "difference", "low", "high", "lost", "won", "mcnemar_p", "n_needed", "verdict"]


def log(path: Path, values: dict[str, object], name: str = "correct") -> str:
    rows = [{"id": id, name: value} for id, value in values.items()]
    random.Random(len(values)).shuffle(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = log(tmp_path / "a", {f"q{i}": i % 2 == 0 for i in range(40)} | {"left": True})
    b = log(tmp_path / "b", {f"q{i}": True for i in range(40)} | {"right": 0, "broken": None})
    main(["lab", "compare", a, b, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [*KEYS, "unmatched", "failed"]
    assert (found["n"], found["won"], found["lost"]) == (40, 20, 0)
    assert found["difference"] == pytest.approx(0.5)
    assert found["verdict"] == "better by 50.0 points"
    assert found["unmatched"] == ["left", "right"]


def test_text_names_the_unmatched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = log(tmp_path / "a", {"1": 0.5, "2": 0.25, "x": 1}, "score")
    b = log(tmp_path / "b", {"1": 0.75, "2": 0.5, "y": 1}, "score")
    main(["lab", "compare", a, b])
    told = capsys.readouterr().out
    assert "+25.0 points" in told
    assert "only in A: 1 (x)" in told


@pytest.mark.parametrize(("right", "code"), [(198, 0), (150, 1)])
def test_gate_and_junit(tmp_path: Path, right: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    a = log(tmp_path / "a", {str(i): i < 196 for i in range(200)})
    b = log(tmp_path / "b", {str(i): i < right for i in range(200)})
    words = ["lab", "compare", a, b, "--gate", "B not worse than A by 3 points", "--junit", str(tmp_path / "j.xml")]
    if code:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 1
    else:
        main(words)
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert suite.attrib["failures"] == str(code)
    assert len(suite.findall(".//failure")) == code
    assert ("FAILED" in capsys.readouterr().err) == bool(code)


def test_gate_sentences() -> None:
    assert parse_gate("b not worse than a by 2.5 points").bound == -0.025
    assert parse_gate("A better than B").first == "A"
    for bad in ("B is nice", "B not worse than A", "A better than A", ""):
        with pytest.raises(UserError, match="gate"):
            parse_gate(bad)
    few = check_gate(parse_gate("B not worse than A by 3 points"), [1.0] * 10, [1.0] * 10)
    assert not few.passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1, "correct": true}\n{"id": "1", "correct": false}\n', "occurs twice"),
        ('{"correct": true}\n', "no 'id'"),
        ('{"id": 1, "correct": 0.5}\n', "true or false"),
        ('{"id": 1, "score": "high"}\n', "must be a number"),
        ('{"id": 1}\n', "neither"),
        ('{"id": 1, "correct"', "not JSON"),
        ("", "nothing to compare"),
        ('{"id": 9, "correct": true}\n', "no id is in both"),
    ],
)
def test_bad_logs(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    a = log(tmp_path / "a", {"1": True, "2": False})
    (tmp_path / "b").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["lab", "compare", a, str(tmp_path / "b")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_clusters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, good in (("a", 0), ("b", 1)):
        rows = [{"id": i, "correct": good if i % 3 else 0, "passage": i // 5} for i in range(60)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["lab", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--cluster", "passage", "--json"])
    assert json.loads(capsys.readouterr().out)["verdict"].startswith("better")
    with pytest.raises(SystemExit):
        main(["lab", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--cluster", "page"])
    assert "no field 'page'" in capsys.readouterr().err
