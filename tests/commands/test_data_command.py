"""kaiwa data: the card of a file on the terminal."""

import json
from pathlib import Path

import pytest

from kaiwa.catalog import entries
from kaiwa.commands.data import main, marked
from kaiwa.text.pieces import PromptPiece
from tests.tiny_models import policy_folder


def test_the_card_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = policy_folder(tmp_path / "base", max_length=64)
    file = tmp_path / "rows.jsonl"
    good = {"instruction": "the cat?", "output": "the dog"}
    file.write_text("".join(json.dumps(row) + "\n" for row in [*[good] * 60, {"instruction": "x"}]))
    main([str(file), "--model", str(policy.path), "--width", "8", "--examples", "1"])
    out = capsys.readouterr().out
    assert f"{file}: Alpaca (instruction, output), read as 60 demonstrations" in out
    assert "60 of 60 are longer than 8 tokens (the model's context: 64)" in out
    assert f"! {file}: 1 of 61 rows left out, the first is {file}:61: no conversation in it" in out
    assert "repeated: 59 whole, 59 by their prompt" in out
    assert "⟦the dog<|im_end|>⟧" in out


def test_what_is_learned_is_underlined_on_a_terminal() -> None:
    pieces = [
        PromptPiece("a"),
        PromptPiece("b", learn=1.0),
        PromptPiece("</s>", special=True, learn=1.0),
        PromptPiece("c"),
    ]
    assert marked(pieces, True) == "a\x1b[4mb</s>\x1b[24mc"
    assert marked(pieces[:2], False) == "a⟦b⟧"
    assert marked([PromptPiece("x" * 2000)], False) == "x" * 1500 + " …"


def test_without_a_model_the_rows_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "entries", list)
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": "cat?", "chosen": "yes", "rejected": "no"}, {"prompt": "dog?", "chosen": "a", "rejected": "b"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main([str(file)])
    out = capsys.readouterr().out
    assert "read as 2 comparisons" in out
    assert "not counted in tokens, nor shown as a chat template writes it: that needs a model: --model" in out
    assert "user: cat?\n⟦yes   (rank 0)\nno   (rank 1)" in out
    assert "with " not in out
