"""Growing requests with a scripted writer: the records' lineage, every filter with its reason, and going on."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.feedback.grow import GrowConfig, grow, left_out_file
from kaiwa.feedback.grow_filters import cleaned, is_copy, measure, same_language
from kaiwa.text.records import Completion, Conversation, Message, read_jsonl
from kaiwa.text.sampling import USUAL, Sampling


class Writer:
    """A writer that adds words to what it is asked to rewrite; `replies` answers by a pattern in the prompt first."""

    name = "scripted"

    def __init__(self, replies: dict[str, str | Exception] | None = None, fails_after: int = 1 << 30) -> None:
        self.replies, self.fails_after = replies or {}, fails_after
        self.asked: list[str] = []

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        assert not isinstance(prompt, str)
        text = prompt[-1].content
        if len(self.asked) >= self.fails_after:
            raise ConnectionError("http://localhost:9/v1: cannot be reached")
        self.asked.append(text)
        for pattern, reply in self.replies.items():
            if re.search(pattern, text):
                if isinstance(reply, Exception):
                    raise reply
                return Completion(text=reply)
        request = text.rpartition("Request:\n")[2].rpartition("依頼：\n")[2]
        if "another request of the same kind" in text:
            return Completion(text=f"How do I plant a rose number {len(request)}?")
        if "harder" in text:
            return Completion(text=f'"{request} Use exactly {len(request)} words and name the source."')
        if "what the person says next" in text:
            return Completion(text=f"And what about step {text.count('Person:') + 1}?")
        return Completion(text=f"The answer to: {text[:60]}")

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        raise NotImplementedError


def asked(*texts: str) -> list[Conversation]:
    return [(Message("user", text),) for text in texts]


def rows(file: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(file)) if file.is_file() else []


def grown(
    folder: Path, writer: Writer, requests: Sequence[Conversation], **changes: Any
) -> tuple[str, list[dict[str, Any]]]:
    out = folder / "out.jsonl"
    line = grow(requests, writer, GrowConfig(**changes), out, lambda text: None).line(out)
    return line, rows(out)


def test_requests_are_deepened_widened_and_made_dialogues(tmp_path: Path) -> None:
    line, records = grown(tmp_path, Writer(), asked("How do I bake bread?"), deepen=2, widen=1, turns=3)
    by_operation = {record["meta"]["operation"].partition(":")[0]: record for record in records}
    assert [r["meta"]["operation"].partition(":")[0] for r in records] == ["given", "deepen", "deepen", "widen"]
    given, first, second, wide = records
    assert first["meta"]["parent"] == wide["meta"]["parent"] == given["meta"]["key"]
    assert second["meta"]["parent"] == first["meta"]["key"]  # each deeper than the one before
    assert second["messages"][0]["content"].startswith(first["messages"][0]["content"])
    assert by_operation["deepen"]["meta"]["writer"] == "scripted"
    assert all(set(r["meta"]["filters"].values()) == {True} and isinstance(r["meta"]["seed"], int) for r in records[1:])
    for record in records:
        assert [m["role"] for m in record["messages"]] == ["user", "assistant"] * 3
    assert line.endswith("1 requests read; deepen 2, given 1, widen 1")


def test_turns_0_leaves_requests_only(tmp_path: Path) -> None:
    _, records = grown(tmp_path, Writer(), asked("Name a river."), turns=0, widen=0, deepen=1)
    assert [[m["role"] for m in r["messages"]] for r in records] == [["user"], ["user"]]


def test_japanese_requests_are_rewritten_in_japanese(tmp_path: Path) -> None:
    writer = Writer(
        {"もう少し難しく": "パンの焼き方を、理由も添えて三つの手順で教えてください。", "人が次に": "それはなぜですか。"}
    )
    _, records = grown(tmp_path, writer, asked("パンの焼き方を教えてください。"), widen=0, deepen=1, turns=2)
    assert len(records) == 2
    assert all("Request:" not in text for text in writer.asked)
    assert records[1]["messages"][2]["content"] == "それはなぜですか。"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" ... ", "empty"),
        ("How do I bake bread?", "copy"),
        ("how do i bake bread ??", "copy"),
        ("Sure! I can help you bake bread with flour and water.", "answer"),
        ("I'm sorry, but I cannot rewrite this.", "answer"),
        ("The rewritten prompt asks for bread with a constraint on the time.", "answer"),
        ("How do I bake bread <|im_end|> in one hour, with no oven at hand?", "answer"),
        ("パンを一時間で焼くにはどうすればいいですか。", "language"),
        ("How do I bake bread " + "and then more bread " * 80, "long"),
        ("How do I brew tea?", "repeated"),
    ],
)
def test_a_filter_names_its_reason(tmp_path: Path, reply: str, reason: str) -> None:
    requests = asked("How do I bake bread?", "How do I brew tea?")
    writer = Writer({r"harder[\s\S]*bake bread": reply})
    line, records = grown(tmp_path, writer, requests, deepen=1, widen=0, turns=1)
    (left,) = rows(left_out_file(tmp_path / "out.jsonl"))
    assert left["meta"]["reason"] == reason
    assert left["meta"]["filters"][reason] is False
    assert line.endswith(f"left out: {reason} 1")
    assert len(records) == 3  # both given ones and the other's child


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('"Name a river."', "Name a river."),
        ("New request: Name a river.", "Name a river."),
        ("**Rewritten Prompt:** Name a river.", "Name a river."),
        ("<think>\nthey want a river\n</think>\n\nName a river.", "Name a river."),
        ("新しい依頼：川の名前を教えて。", "川の名前を教えて。"),
        ("「川」と「山」", "「川」と「山」"),  # two quotations are no frame
        ('Say "yes"', 'Say "yes"'),
    ],
)
def test_what_stands_around_a_request_goes(text: str, request_: str) -> None:
    assert cleaned(text) == request_


def test_a_long_parent_with_one_more_condition_is_no_copy() -> None:
    parent = "Summarise this text. " + "The river rises in the hills and falls into the sea. " * 12
    assert not is_copy(parent + "Use at most two sentences.", parent)
    assert is_copy(parent + "Please.", parent)
    assert measure("Here is a table: a 1, b 2. Which is larger?", "Which is larger?", (), 99)["answer"]  # no answer
    assert same_language("What does 水 mean in this English sentence?", "What does it mean?")
    assert not same_language("请告诉我怎么做面包", "パンの焼き方を教えて")


def test_a_stopped_call_goes_on_and_a_half_line_is_cut(tmp_path: Path) -> None:
    requests = asked(*(f"How do I make item {i} at home?" for i in range(20)))
    whole = tmp_path / "whole"
    whole.mkdir()
    _, expected = grown(whole, Writer(), requests, deepen=1, turns=2)
    with pytest.raises(UserError, match="cannot be reached; what is written stays, the same command goes on"):
        grown(tmp_path, Writer(fails_after=140), requests, deepen=1, turns=2)
    out = tmp_path / "out.jsonl"
    assert 0 < len(rows(out)) < len(expected)
    with open(out, "a", encoding="utf-8") as f:
        f.write('{"messages": [{"role": "us')
    writer = Writer()
    line, records = grown(tmp_path, writer, requests, deepen=1, turns=2)
    assert records == expected
    assert "were there already" in line
    n = len(writer.asked)
    assert grown(tmp_path, writer, requests, deepen=1, turns=2)[1] == expected
    assert len(writer.asked) == n  # nothing is asked again


def test_failures_of_single_requests_are_left_out_by_name(tmp_path: Path) -> None:
    writer = Writer(
        {"too long for": UserError("the prompt has 9 tokens, the model takes 8; shorten it"), "^say nothing": ""}
    )
    line, records = grown(
        tmp_path, writer, asked("a text too long for it", "say nothing", "Name a river."), deepen=0, widen=0
    )
    assert [r["messages"][0]["content"] for r in records] == ["Name a river."]
    reasons = [r["meta"]["reason"] for r in rows(left_out_file(tmp_path / "out.jsonl"))]
    assert reasons == ["failed: the prompt has 9 tokens, the model takes 8; shorten it", "no answer"]
    assert "left out: failed 1, no answer 1" in line


def test_files_and_numbers_that_do_not_fit(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text('{"messages": [{"role": "user", "content": "a"}]}\n', encoding="utf-8")
    with pytest.raises(UserError, match="is no file of grown requests; give another --out"):
        grown(tmp_path, Writer(), asked("Name a river."))
    out.unlink()
    grown(tmp_path, Writer(), asked("Name a river."), turns=0)
    other = Writer()
    other.name = "other"
    with pytest.raises(UserError, match="was written by scripted, not other"):
        grown(tmp_path, other, asked("Name a river."))
    for change, text in (
        ({"deepen": 10}, "--deepen 10: 0 to 9"),
        ({"turns": -1}, "--turns -1: 0 to 20"),
        ({"most": 5}, "--most 5"),
    ):
        with pytest.raises(UserError, match=text):
            GrowConfig(**change)
    assert json.loads(out.read_text().splitlines()[0])["meta"]["operation"] == "given"
