"""Demonstrations as tokens: what is learned of them, which are left out, how they are divided."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.sft.demonstrations import Sequences, read_demonstrations, split
from kaiwa.text.records import Message
from kaiwa.text.template import render
from tests.tiny_models import tiny_tokenizer

USER, ASSISTANT = "user", "assistant"


def write(folder: Path, *talks: list[tuple[str, str]]) -> Path:
    file = folder / "demonstrations.jsonl"
    rows = [{"messages": [{"role": role, "content": text} for role, text in talk]} for talk in talks]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(file: Path, width: int = 99, weight: float = 0.0, lines: list[str] | None = None, least: int = 1) -> Sequences:
    say = (lines if lines is not None else []).append
    return read_demonstrations(file, tiny_tokenizer(), width, user_weight=weight, say=say, least=least)


def test_only_the_assistants_tokens_and_their_end_are_learned(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    file = write(tmp_path, [(USER, "the cat?"), (ASSISTANT, "the dog"), (USER, "0"), (ASSISTANT, "1")])
    data = read(file)
    learned = [t for t, m in zip(data.ids[0], data.masks[0], strict=True) if m]
    assert learned == [*tokenizer.encode("the dog"), tokenizer.eos_id, *tokenizer.encode("1"), tokenizer.eos_id]
    assert set(data.masks[0]) == {0, 1}


def test_the_others_tokens_may_weigh_a_little(tmp_path: Path) -> None:
    file = write(tmp_path, [(USER, "the cat?"), (ASSISTANT, "the dog")])
    plain, weighted = read(file), read(file, weight=0.25)
    assert plain.ids == weighted.ids
    assert [{0: 0.25, 1: 1}[m] for m in plain.masks[0]] == weighted.masks[0]


def test_those_longer_than_a_row_are_counted_in_one_line(tmp_path: Path) -> None:
    short, long = [(USER, "a"), (ASSISTANT, "b")], [(USER, "a"), (ASSISTANT, "zq" * 30)]
    file = write(tmp_path, short, long, short, long)
    width = len(render(tiny_tokenizer(), tuple(Message(*turn) for turn in long)).ids)
    lines: list[str] = []
    assert len(read(file, width - 1, lines=lines)) == 2
    assert lines == [
        f"{file}: 2 demonstrations longer than {width - 1} tokens are left out; raise sft.width to keep them"
    ]
    assert len(read(file, width, lines=lines)) == 4
    assert len(lines) == 1


def test_too_few_are_told(tmp_path: Path) -> None:
    talk = [(USER, "a"), (ASSISTANT, "b")]
    with pytest.raises(UserError, match="1 usable demonstrations; at least 2 are needed"):
        read(write(tmp_path, talk), least=2)
    with pytest.raises(UserError, match=r"jsonl:1: messages: the last one is the user's; .* 1 of 1 rows is no"):
        read(write(tmp_path, [(USER, "nobody answers")]))
    with pytest.raises(UserError, match=r'no conversation in it \(its columns: tekst; .*{"text"} is expected'):
        (tmp_path / "x.jsonl").write_text('{"tekst": "a"}\n')
        read(tmp_path / "x.jsonl")


@given(st.integers(1, 60), st.floats(0, 0.99), st.integers(0, 3))
def test_a_split_loses_nothing_and_leaves_something_to_train_on(n: int, share: float, seed: int) -> None:
    data = Sequences([[i] for i in range(n)], [[1] for _ in range(n)])
    training, validation = split(data, share, seed)
    assert sorted(ids[0] for ids in training.ids + validation.ids) == list(range(n))
    assert len(training) >= 1
    assert len(training.masks) == len(training)
    if share == 0 or n == 1:
        assert len(validation) == 0
    else:
        assert len(validation) == min(max(1, round(n * share)), n - 1)
    again = split(data, share, seed)
    assert (again[0].ids, again[1].ids) == (training.ids, validation.ids)
