"""Demonstrations as tokens: what is learned of them, which are left out, how they are divided."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.sft.demonstrations import Sequences, read_demonstrations, split
from kaiwa.text.data import DataOptions
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


def test_a_text_is_learned_whole_and_its_special_tokens_are_tokens(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    talk = "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\nthe dog<|im_end|>"
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"text": "the cat"}) + "\n" + json.dumps({"text": talk}) + "\n")
    data = read(file)
    assert data.ids[0] == [*tokenizer.encode("the cat"), tokenizer.document_end_id]
    assert data.ids[1] == render(tokenizer, (Message(USER, "the cat"), Message(ASSISTANT, "the dog"))).ids[:-1]
    assert all(m == 1 for mask in data.masks for m in mask)


def test_weights_of_messages_and_replies_that_were_cut(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    talk = [{"role": USER, "content": "0"}, {"role": ASSISTANT, "content": "1", "weight": 0},
            {"role": USER, "content": "2"}, {"role": ASSISTANT, "content": "3"}]  # fmt: skip
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"messages": talk}) + "\n" + json.dumps({"messages": talk, "meta": {"ended": False}}))
    data = read(file)
    learned = [[t for t, m in zip(*one, strict=True) if m] for one in zip(data.ids, data.masks, strict=True)]
    assert learned == [[*tokenizer.encode("3"), tokenizer.eos_id], tokenizer.encode("3")]
    assert data.ids[1] == data.ids[0][: len(data.ids[1])]


@pytest.mark.parametrize(("policy", "kept"), [("drop", 0), ("left", 1), ("right", 1)])
def test_what_is_longer_than_a_row(policy: str, kept: int, tmp_path: Path) -> None:
    file = write(tmp_path, [(USER, "a"), (ASSISTANT, "b")], [(USER, "a"), (ASSISTANT, "0123" * 19)])
    whole = read(file)
    lines: list[str] = []
    options = DataOptions(max_length_policy=policy)  # type: ignore[arg-type]
    data = read_demonstrations(file, tiny_tokenizer(), 40, user_weight=0, say=lines.append, least=1, options=options)
    assert len(data) == 1 + kept
    if kept:
        assert data.ids[1] == (whole.ids[1][-40:] if policy == "left" else whole.ids[1][:40])
    assert len(lines) == 1


def test_demonstrations_of_one_prompt_are_on_one_side() -> None:
    ids = [[i // 3, 7, i] for i in range(30)]
    training, validation = split(Sequences(ids, [[0, 0, 1]] * 30), 0.2, 0)
    assert len(validation) == 6
    assert not {row[0] for row in training.ids} & {row[0] for row in validation.ids}
