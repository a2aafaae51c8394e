"""Tasks by name, and from users' files of every kind."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.by_name import GENERATED, generate_task, task_from_file
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import read_rows

ROWS = [{"id": f"r{i}", "text": f"t{i}", "answer": f"a{i}"} for i in range(12)]
PROMPT = Prompt(input="Text: {text}")


def jsonl(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_every_built_in_task_is_made_in_both_languages() -> None:
    for stem in GENERATED:
        for language in ("en", "ja"):
            if stem != "game-of-24":
                task = generate_task(f"{stem}-{language}", 4)
                assert (task.language, len(task.items)) == (language, 4)
                assert task.name == f"{stem}-{language}"


@pytest.mark.parametrize("name", ["word-sum-en", "word-sums", "word-sums-fr", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UserError, match=f"no task '{name}'"):
        generate_task(name)


def test_rows_of_every_kind_of_file(tmp_path: Path) -> None:
    rows = ROWS[:2]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps({"examples": rows}))
    (tmp_path / "c.json").write_text(json.dumps({"data": rows}))
    (tmp_path / "d.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "e.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "f.csv").write_text("\ufeffid,text,answer\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    (tmp_path / "g.tsv").write_text("id\ttext\tanswer\n" + "".join("\t".join(row.values()) + "\n" for row in rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "h.parquet")
    for file in sorted(tmp_path.iterdir()):
        assert read_rows(file) == rows, file.name


def test_files_that_hold_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rows": []}')
    with pytest.raises(UserError, match="a list of objects"):
        read_rows(tmp_path / "a.json")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"give \.jsonl"):
        read_rows(tmp_path / "a.txt")
    with pytest.raises(UserError, match="no such file"):
        read_rows(tmp_path / "b.json")


def test_columns_are_variables_and_demonstrations_come_first(tmp_path: Path) -> None:
    task = task_from_file(jsonl(tmp_path / "own.jsonl"), prompt=PROMPT, n=3, n_demos=2)
    assert task.name == "own"
    assert [demo.id for demo in task.demos] == ["r0", "r1"]
    assert [item.id for item in task.items] == ["r2", "r3", "r4"]
    (message,) = task.render_prompt(task.items[0])
    assert message.content == "Text: t2"  # type: ignore[union-attr]
    assert len(task_from_file(tmp_path / "own.jsonl", prompt=PROMPT).items) == 4, "8 demonstrations, and all the rest"


def test_other_columns_by_name(tmp_path: Path) -> None:
    rows = [{"q": f"q{i}", "gold": i, "passage": i // 4, "reasoning": "so"} for i in range(10)]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = task_from_file(
        file, prompt=Prompt(), answer="gold", input="q", cluster="passage", kind="number", n_demos=2, language="ja"
    )
    item = task.items[0]
    assert (item.id, item.input, item.answer, item.cluster, item.reasoning) == ("2", "q2", "2", "0", "so")
    assert task.grader.name == "number"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "label"}, "row 1: no column 'label' with the right answer; there is id, text, answer"),
        ({"prompt": Prompt(input="{txt}")}, "variable {txt} has no column; did you mean 'text'"),
        ({"prompt": Prompt()}, "no column 'input' for {input}"),
        ({"n_demos": 12}, "12 rows, of which 12 are kept for demonstrations"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"prompt": PROMPT} | options
    with pytest.raises(UserError) as error:
        task_from_file(jsonl(tmp_path / "own.jsonl"), **values)  # type: ignore[arg-type]
    assert message in str(error.value)
