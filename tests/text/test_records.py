"""Records: the shapes they are read from, what is refused and how, and lines of JSON on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.text.records import (
    Comparison,
    Completion,
    Demonstration,
    Document,
    Message,
    comparison,
    conversation,
    demonstration,
    prompt_conversation,
    read_jsonl,
    write_jsonl,
)

USER = (Message("user", "Hello?"),)
texts = st.text(max_size=8)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=4))
def test_messages_survive_json(turns: list[tuple[str, str]]) -> None:
    messages = tuple(Message(role, content) for role, content in turns)
    assert conversation(json.loads(json.dumps([m.to_json() for m in messages]))) == messages
    row = Demonstration(messages=messages, meta={"a": 1}).to_json()
    assert demonstration(row) == Demonstration(messages=messages, meta={"a": 1})


@given(st.lists(st.tuples(texts, st.integers(0, 3)), min_size=2, max_size=5), texts)
def test_comparisons_survive_json(ranked: list[tuple[str, int]], labeller: str) -> None:
    item = Comparison(
        prompt=USER, completions=tuple(t for t, _ in ranked), ranks=tuple(r for _, r in ranked), labeller=labeller,
        meta={"ended": [True] * len(ranked)},
    )  # fmt: skip
    assert comparison(json.loads(json.dumps(item.to_json()))) == item


def test_a_string_is_one_users_message() -> None:
    assert conversation("Hello?") == USER
    assert prompt_conversation({"prompt": "Hello?"}) == USER
    assert prompt_conversation({"messages": [USER[0].to_json()], "prompt": "unread"}) == USER


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "messages must be a non-empty list or a string, got list"),
        (None, "got NoneType"),
        ({"role": "user"}, "got dict"),
        (["Hello?"], 'each message needs "role" and "content"'),
        ([{"content": "x"}], 'each message needs "role" and "content"'),
        ([{"role": 1, "content": "x"}], 'each message needs "role"'),
        ([{"role": "user", "content": ["x"]}], "the content of a 'user' message must be a string"),
        ([{"role": "king", "content": "x"}], "role 'king' is unknown; use one of system, user, assistant"),
    ],
)
def test_what_is_no_conversation(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        conversation(value)
    with pytest.raises(UserError, match=message):
        demonstration({"messages": value})


def test_a_preference_is_a_comparison_of_two() -> None:
    dialogue = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]
    item = comparison({"prompt": "Hello?", "chosen": dialogue, "rejected": "No."})
    assert item == Comparison(prompt=USER, completions=("Hi.", "No."), ranks=(0, 1))


TWO = {"prompt": "Hello?", "completions": ["a", "b"], "ranks": [0, 1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": []}, "messages must be a non-empty list"),
        ({"completions": ["a"], "ranks": [0]}, "needs at least 2 completions, got 1"),
        ({"ranks": [0]}, "2 completions but 1 ranks; give one rank each"),
        ({"ranks": []}, "2 completions but 0 ranks"),
        ({"ranks": [0, 1.5]}, "each must be a whole number, 0 the best"),
        ({"ranks": [False, True]}, "each must be a whole number"),
        ({"completions": ["a", 2]}, "a completion is no text"),
        ({"completions": "ab"}, "completions and ranks must be lists"),
        ({"completions": 5}, "completions and ranks must be lists"),
        ({"ranks": 1}, "completions and ranks must be lists"),
        ({"meta": {"ended": [True]}}, "give one flag a completion, 2 in all"),
        ({"meta": {"ended": True}}, "meta.ended is True"),
        ({"meta": "notes"}, "meta must be an object"),
    ],
)
def test_what_is_no_comparison(changes: dict[str, Any], message: str) -> None:
    assert comparison(TWO).ranks == (0, 1)
    with pytest.raises(UserError, match=message):
        comparison(TWO | changes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"completions": ["a", "b"]}, 'needs "prompt"'),
        ({"prompt": "x", "chosen": "a"}, '"completions" and "ranks", or "chosen" and "rejected"'),
        ({"prompt": "x", "chosen": "a", "rejected": []}, "messages must be a non-empty list"),
    ],
)
def test_what_a_comparison_needs(value: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        comparison(value)


def test_a_demonstration_needs_messages() -> None:
    with pytest.raises(UserError, match='needs "messages"'):
        demonstration({"prompt": "x"})


def test_a_document_as_json() -> None:
    row = Document(text="x", source="docs", meta={"kind": "entry"}).to_json()
    assert row == {"text": "x", "source": "docs", "language": "en", "id": "", "meta": {"kind": "entry"}}


def test_a_completion_ended_by_itself_unless_it_says_otherwise() -> None:
    assert Completion(text="x").finish_reason == "stop"
    assert Completion(text="x").n_tokens == 0


@given(st.lists(st.dictionaries(texts, st.one_of(texts, st.integers(), st.none()), max_size=3), max_size=4))
def test_lines_on_disk_are_read_as_written(rows: list[dict[str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        assert write_jsonl(file, rows) == len(rows)
        assert list(read_jsonl(file)) == rows


def test_japanese_is_written_as_it_is_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [{"b": "パン", "a": 1}])
    assert file.read_bytes() == '{"b": "パン", "a": 1}\n'.encode()
    file.write_text('\n{"a": 1}\n   \n{"a": 2}', encoding="utf-8")  # no end of the last line
    assert [row["a"] for row in read_jsonl(file)] == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": 1', "rows.jsonl:2: not JSON .*; one object a line is expected"),
        (b"[1]", "rows.jsonl:2: a JSON object is expected, got list"),
        (b'"text"', "rows.jsonl:2: a JSON object is expected, got str"),
        (b'{"a": "caf\xe9"}', "rows.jsonl:2: not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_are_read(line: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"a": 1}\n' + line + b"\n")
    rows = read_jsonl(file)
    assert next(rows) == {"a": 1}
    with pytest.raises(UserError, match=message):
        next(rows)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.jsonl: no such file; give a JSONL file"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="no such file"):
        list(read_jsonl(tmp_path))  # a folder
