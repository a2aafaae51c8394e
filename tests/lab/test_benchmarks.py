"""Benchmarks' files: what their loaders take, and the row that is wrong."""

import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.benchmarks import N_DEMOS, load_benchmark


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def gsm8k_rows(n: int) -> list[dict[str, object]]:
    return [
        {"question": f"Q{i}?", "answer": f"Half is <<48/2=24>>24.\nThen <<24+{i}={24 + i}>>{24 + i}.\n#### 1,0{i:02}"}
        for i in range(n)
    ]


def test_gsm8k(tmp_path: Path) -> None:
    task = load_benchmark("gsm8k", jsonl(tmp_path / "g.jsonl", gsm8k_rows(40)), 5)
    assert (len(task.demos), len(task.items)) == (N_DEMOS, 5)
    item = task.items[0]
    assert (item.id, item.input, item.answer) == ("gsm8k-16", "Q16?", "1016")
    assert item.reasoning == "Half is 24. Then 40."
    assert item.equation == "48/2=24 24+16=40"
    assert task.kind == "number"


def test_small_files_keep_half_for_the_items(tmp_path: Path) -> None:
    task = load_benchmark("gsm8k", jsonl(tmp_path / "g.jsonl", gsm8k_rows(6)))
    assert (len(task.demos), len(task.items)) == (3, 3)


def test_sst2_is_interleaved_by_label(tmp_path: Path) -> None:
    file = tmp_path / "sst2.txt"
    file.write_text("".join(f"1 good {i}\n" for i in range(6)) + "".join(f"0 bad {i}\n" for i in range(4)))
    task = load_benchmark("sst2", file)
    answers = [item.answer for item in (*task.demos, *task.items)]
    assert answers == ["positive", "negative"] * 4 + ["positive", "positive"]
    assert task.demos[1].input == "bad 0"
    tsv = tmp_path / "dev.tsv"
    tsv.write_text("sentence\tlabel\nfine\t1\npoor\t0\n")
    assert [item.answer for item in load_benchmark("sst2", tsv).items] == ["negative"]
    file.write_text("2 what\n")
    with pytest.raises(UserError, match="line 1: begins with '2'"):
        load_benchmark("sst2", file)


def test_jcommonsenseqa(tmp_path: Path) -> None:
    rows = [
        {"q_id": i, "question": "問い", **{f"choice{c}": f"選択{c}" for c in range(5)}, "label": i % 5}
        for i in range(4)
    ]
    task = load_benchmark("jcommonsenseqa", jsonl(tmp_path / "j.json", rows))
    item = task.items[0]
    assert (item.id, item.answer) == ("jcqa-2", "選択2")
    assert item.input == "問い (選択0、選択1、選択2、選択3、選択4)"
    assert task.language == "ja"


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("gsm8k", {"question": "x", "answer": "no mark"}, "row 2: the answer has no '####'"),
        ("gsm8k", {"question": "x"}, "row 2: no 'answer'; there is question"),
        ("gsm8k", {"answer": "#### 3"}, "row 2: no 'question'"),
        ("jcommonsenseqa", {"question": "x"}, "row 2: no 'choice0'"),
    ],
)
def test_the_wrong_row_is_named(tmp_path: Path, name: str, row: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"question": "x", "answer": "#### 3", "label": 0} | {
        f"choice{c}": str(c) for c in range(5)
    }
    with pytest.raises(UserError, match=message):
        load_benchmark(name, jsonl(tmp_path / "x.jsonl", [good, row]))


def test_loaders_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'gsm8k'"):
        load_benchmark("gsm8", tmp_path / "x.jsonl")
    with pytest.raises(UserError, match="no such file"):
        load_benchmark("mgsm", tmp_path / "mgsm_ja.tsv")
    (tmp_path / "mgsm_ja.tsv").write_bytes(b"\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        load_benchmark("mgsm", tmp_path / "mgsm_ja.tsv")
    (tmp_path / "mgsm_de.tsv").write_text("Frage ohne Zahl\n")
    with pytest.raises(UserError, match="row 1: no tab"):
        load_benchmark("mgsm", tmp_path / "mgsm_de.tsv")


def test_the_language_of_mgsm_is_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "mgsm_de.tsv").write_text("".join(f"Frage {i}\t{i}\n" for i in range(4)))
    task = load_benchmark("mgsm", tmp_path / "mgsm_de.tsv")
    assert task.name == "mgsm-de"
    assert task.language == "en", "the words that ask are English where there are none of its language"
    assert task.items[0].answer == "2"
