"""Users' files as spreadsheets write them: read, or refused with file and line."""

import dataclasses
import re
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments import arms_file, experiment_file
from kaiwa.lab.experiments.experiment import Contrast
from kaiwa.lab.tasks.by_name import task_from_file
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.rows import read_rows, read_text
from kaiwa.lab.tasks.task import Grader, Judge

DOCS = Path(__file__).parents[2] / "docs" / "lab.md"
PLAIN = "id,text,label\n0,お茶,good\n1,湯,bad\n"
ROWS = [{"id": "0", "text": "お茶", "label": "good"}, {"id": "1", "text": "湯", "label": "bad"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932"])
def test_encodings(tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(PLAIN.encode(encoding))
    assert read_rows(tmp_path / "t.csv") == ROWS
    assert ("Shift-JIS" in capsys.readouterr().err) == (encoding == "cp932")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "\n" + PLAIN + "\n,,\n",
        PLAIN.replace("お茶", '"お茶"'),
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, newline="")
    assert read_rows(tmp_path / "t.csv") == ROWS


def test_texts_with_quotes_commas_lines_and_braces(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n"x, ""y""\n{name} {{z}} $5",2\n')
    assert read_rows(tmp_path / "t.csv") == [{"a": 'x, "y"\n{name} {{z}} $5', "b": "2"}]
    (tmp_path / "t.csv").write_text(f"a,b\n{'x' * 300_000},2\n")
    assert len(read_rows(tmp_path / "t.csv")[0]["a"]) == 300_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"t\.csv:3: 1 fields under 2 headings; a field is missing"),
        ("a,b\n1,2\n'3, x',4\n", r"t\.csv:3: 3 fields under 2 headings; a ',' inside"),
        ('a,b\n"x\ny",2\n3\n', r"t\.csv:4: 1 fields"),
        ('a,b\n1,"2\n', r"t\.csv:2: .*double quotes"),
        ("a,a\n1,2\n", r"t\.csv:1: two columns are called 'a'"),
        ("a,\n1,2\n", r"t\.csv:1: column 2 has no name"),
    ],
)
def test_odd_rows_are_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "t.csv")


@pytest.mark.parametrize("data", [b"a,b\n\xff\xfe\xfa,2\n", b"\xef\xbb\xbfa\n\xff", b"a,b\ncaf\xe9,1\n"])
def test_other_encodings_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UserError, match="save it as UTF-8"):
        read_text(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["good", "", "bad"], r"t\.csv:3: the right answer \(label\) is empty"),
        (["good", "bda", "bad"], r"t\.csv:3: the right answer 'bda' is none of the choices good, bad"),
    ],
)
def test_answers_must_be_there_and_among_the_choices(tmp_path: Path, labels: list[str], message: str) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"x,{label}\n" for label in labels))
    with pytest.raises(UserError, match=message):
        task_from_file(tmp_path / "t.csv", prompt=Prompt(input="{text}"), answer="label", choices=("good", "bad"))


def test_answers_are_spelt_as_the_choices(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nx,GOOD \ny,bad.\nz,ｇｏｏｄ\n")
    prompt = Prompt(input="{text}")
    task = task_from_file(tmp_path / "t.csv", prompt=prompt, answer="label", choices=("good", "bad"), n_demos=0)
    assert [item.answer for item in task.items] == ["good", "bad", "good"]


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ("experiment", experiment_file.FIELDS),
        ("`[[tasks]]`", experiment_file.FILE_FIELDS),
        ("`[[models]]`", experiment_file.MODEL_FIELDS),
        ("`[[arms]]`", (*arms_file.ARM_FIELDS, "technique")),
        ("`[[contrasts]]`", tuple(f.name for f in dataclasses.fields(Contrast))),
        ("`grader`", tuple({f.name: 0 for kind in (Grader, Judge) for f in dataclasses.fields(kind)} | {"model": 0})),
    ],
)
def test_every_field_is_documented(row: str, fields: tuple[str, ...]) -> None:
    (line,) = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {row} |")]
    names = set(re.findall(r"`(\w+)`", line))
    missing = set(fields) - names - {"judge"}
    assert missing == set()
