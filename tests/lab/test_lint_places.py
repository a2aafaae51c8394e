"""Lines and columns of lint's remarks, in each kind of file."""

import contextlib
import json
from pathlib import Path

import pytest

from kaiwa.commands.lab.lint import main
from kaiwa.lab.experiments.lint_places import FilePlace, place_in

EXPERIMENT = '''name = "e"
model = "m"
n = 6
[[tasks]]
name = "one"
file = "t.csv"
answer = "topic"
choices = ["x", "y"]
prompt = { instruction = "Please name the topic, x or y.", input = "{text}", output_indicator = "Topic: " }
[[tasks]]
name = "two"
file = "t.csv"
answer = "topic"
choices = ["x", "y"]
[tasks.prompt]
instruction = """
Name the topic, x or y.
Write   one letter. Please be \\"good\\".
"""
input = "{text}"
output_indicator = "Topic:"
[[arms]]
name = "zero"
technique = "zero-shot"
'''


def places(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, list[tuple[int, int]]]:
    with contextlib.suppress(SystemExit):
        main([str(file), "--json", *options])
    result: dict[str, list[tuple[int, int]]] = {}
    for row in json.loads(capsys.readouterr().out):
        result.setdefault(row["rule"], []).append((row["place"]["line"], row["place"]["column"]))
    return result


def test_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("text,topic\n" + "".join(f"t{i},{'xy'[i % 2]}\n" for i in range(30)))
    file = tmp_path / "e.toml"
    file.write_text(EXPERIMENT)
    lines = EXPERIMENT.split("\n")
    result = places(file, capsys)
    assert result["fluff"] == [(9, lines[8].index("Please") + 1), (18, lines[17].index("Please") + 1)]
    assert result["vague"] == [(18, lines[17].index("good") + 1)]
    assert result["double-space"] == [(18, lines[17].index("   ") + 1)]
    assert result["trailing-space"] == [(9, 0)]


def test_markdown_text_and_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = tmp_path / "p.md"
    prompt.write_text("## instruction\nName it.\nDo not explain.\n## input\n{text}\n## output_indicator\nName: \n")
    assert places(prompt, capsys) == {"only-not": [(3, 1)], "trailing-space": [(6, 0)]}
    plain = tmp_path / "plain.md"
    plain.write_text("# Our assistant\n\nBe kind.\n\n## Style\nUse {{ name }}!!\n")
    assert places(plain, capsys) == {"template": [(6, 5)], "shouting": [(6, 15)]}
    text = tmp_path / "t.txt"
    text.write_text("Sum it up.\n```\ncode\nPlease\n")
    assert places(text, capsys) == {"unclosed": [(2, 1)], "fluff": [(4, 1)]}
    chat = tmp_path / "chat.json"
    talk = [{"role": "system", "content": "Please.\nTODO ü"}, {"role": "user", "content": "a\nTODO 質問"}]
    chat.write_text(json.dumps(talk, indent=1))
    rows = chat.read_text().split("\n")
    where = [i + 1 for i, row in enumerate(rows) if "content" in row]
    assert places(chat, capsys)["placeholder"] == [(i, rows[i - 1].index("TODO") + 1) for i in where]


def test_words_that_are_broken_or_escaped_or_not_there() -> None:
    text = 'a\nb = "say\\nthat"\nin   two\nlines'
    assert place_in(text, "p", "say\nthat") == FilePlace(2, 6, 2, 15)
    assert place_in(text, "p", "two lines") == FilePlace(3, 6, 4, 6)
    assert place_in(text, "p", "nowhere") == FilePlace()
    assert place_in("[x]\n[[examples]]\n", "p", "", "examples") == FilePlace(2, 0, 2)
