"""Prompts in files."""

from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.prompt_file import prompt_from_markdown, prompt_from_toml, prompt_from_values, read_prompt

TOML = """
instruction = "Sum up."
delimiters = "hashes"
order = ["input", "instruction", "context", "examples"]
[[examples]]
input = "a"
output = "b"
"""
MARKDOWN = """<!-- kaiwa: delimiters = hashes, language = ja, order = input instruction context examples -->
## instruction
Sum up.
\\# no heading
\\\\ one backslash
## example
a

a2
### output
b
## output_indicator
Summary:
"""


def test_toml() -> None:
    assert prompt_from_toml(TOML) == Prompt(
        instruction="Sum up.",
        delimiters="hashes",
        order=("input", "instruction", "context", "examples"),
        examples=(Example("a", "b"),),
    )


def test_markdown() -> None:
    assert prompt_from_markdown(MARKDOWN) == Prompt(
        instruction="Sum up.\n# no heading\n\\ one backslash",
        output_indicator="Summary:",
        delimiters="hashes",
        language="ja",
        order=("input", "instruction", "context", "examples"),
        examples=(Example("a\n\na2", "b"),),
    )
    assert prompt_from_markdown("") == Prompt()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"instrution": "x"}, "did you mean 'instruction'"),
        ({"instruction": 3}, "instruction must be text, not 3"),
        ({"examples": [{"input": "x"}]}, "an input and an output"),
        ({"examples": ["x"]}, "an input and an output"),
        ({"delimiters": "tag"}, "did you mean 'tags'"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prompt_from_values(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\n## instruction", "p:1: text before the first heading"),
        ("## instrution\nx", "did you mean 'instruction'"),
        ("## instruction\na\n## instruction\nb", "'instruction' is not expected here"),
        ("## output\nx", "'output' is not expected here"),
        ("## example\na", "an input and an output"),
    ],
)
def test_wrong_markdown(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prompt_from_markdown(text, "p")


def test_files_by_their_ending(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(TOML)
    (tmp_path / "p.md").write_text(MARKDOWN)
    (tmp_path / "p.txt").write_text("x")
    assert read_prompt(tmp_path / "p.toml").instruction == "Sum up."
    assert read_prompt(tmp_path / "p.md").language == "ja"
    with pytest.raises(UserError, match=r"a \.toml or \.md file"):
        read_prompt(tmp_path / "p.txt")
    with pytest.raises(UserError, match="no such file"):
        read_prompt(tmp_path / "q.md")
    (tmp_path / "p.toml").write_text("= 3")
    with pytest.raises(UserError, match="not TOML"):
        read_prompt(tmp_path / "p.toml")
