"""What a data file holds: figures counted by hand on files of a few rows."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.data import DataOptions
from kaiwa.text.data_card import describe, kind_of, length_lines, shape_of
from kaiwa.text.records import Message
from kaiwa.text.template import render

sys.path.insert(0, str(Path(__file__).parents[1] / "tokenizer"))
from tokenizer_texts import small


def write(folder: Path, name: str, rows: list[Any]) -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_lengths_repetitions_and_leaks(tmp_path: Path) -> None:
    one, two = {"prompt": "a?", "completion": "b"}, {"prompt": "c?", "completion": "d"}
    file = write(tmp_path, "train.jsonl", [one, two, one, {**one, "completion": "e"}])
    other = write(tmp_path, "test.jsonl", [two, {"prompt": "x?", "completion": "y"}])
    lines: list[str] = []
    card = describe(file, small(), lines.append, held_out=other)
    assert (card.kind, card.repeated, card.prompts_repeated) == ("demonstrations", 1, 2)
    assert (card.leaked, card.n_held_out) == (1, 2)
    n = len(render(small(), (Message("user", "a?"), Message("assistant", "b"))).ids)
    assert card.lengths == [n] * 4
    assert card.n_learned == 4 * 2  # a letter and the end of turn
    assert [number for number, _ in card.examples] == [1, 2, 3]
    assert "".join(piece.text for piece in card.examples[0][1] if piece.learn) == "b<|im_end|>"
    assert lines == []


def test_a_preference_shows_both_replies_with_their_ranks(tmp_path: Path) -> None:
    file = write(tmp_path, "p.jsonl", [{"q": "a?", "rejected": "bad", "chosen": "good"}])
    card = describe(file, small(), print, options=DataOptions(map=("prompt=q",)))
    assert card.kind == "comparisons"
    (_, pieces), *_ = card.examples
    text = "".join(piece.text for piece in pieces)
    assert text.index("good<|im_end|>   (rank 0)") < text.index("bad<|im_end|>   (rank 1)")
    assert text.count("a?") == 1
    assert describe(file, small(), print, kind="prompts", options=DataOptions(map=("prompt=q",))).n_learned == 0
    plain = describe(write(tmp_path, "t.jsonl", [{"text": "once"}]), small(), print)
    assert plain.n_learned == plain.lengths[0] == len(small().encode("once")) + 1


@pytest.mark.parametrize(
    ("row", "kind", "shape"),
    [
        ({"instruction": "a", "output": "b"}, "demonstrations", "Alpaca (instruction, output)"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "demonstrations", "ShareGPT (conversations)"),
        ({"messages": [{"role": "user", "content": "a"}]}, "demonstrations", "messages (messages)"),
        ({"turns": [{"interlocutor_id": "A", "text": "a"}]}, "demonstrations", "a dialogue of speakers (turns)"),
        ({"chosen": "\n\nHuman: a", "rejected": "b"}, "comparisons", "preferences in HH's words (chosen, rejected)"),
        ({"prompt": "a", "completions": [], "ranks": []}, "comparisons", "rankings (prompt, completions, ranks)"),
        ({"prompt": "a"}, "prompts", "prompts (prompt)"),
        ({"query": "a", "reply": "b", "x": None}, "demonstrations", "prompts and completions (query, reply)"),
        ({"text": "a"}, "demonstrations", "text (text)"),
        ([{"role": "user"}], "demonstrations", "a list of messages"),
    ],
)  # fmt: skip
def test_kind_and_shape_of_a_row(row: Any, kind: str, shape: str) -> None:
    assert (kind_of(row), shape_of(row)) == (kind, shape)


def test_lines_about_lengths() -> None:
    assert length_lines([5] * 9 + [30], 100, 40) == [
        "tokens: 50% up to 5, 90% up to 30, 99% up to 30, longest 30", "all fit 40 tokens (the model's context: 100)"
    ]  # fmt: skip
    over = length_lines([5, 30, 50], 100, 20)[1]
    assert "2 of 3 are longer than 20 tokens" in over
    assert "left or right cuts 40 of their 80 tokens" in over
    with pytest.raises(UserError, match="no record is left"):
        length_lines([], 1, 1)
