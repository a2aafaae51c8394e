"""Files of other people come in and go out again equal; what disagrees is named and left out."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.export_forms import WRITERS
from kaiwa.feedback.import_file import import_file
from kaiwa.feedback.judged import export_lines, records
from kaiwa.feedback.store import Store
from kaiwa.text.records import Comparison, Demonstration, Message


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    return BatchStore(tmp_path / "home" / "conversations.sqlite")


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


PAIR = {"prompt": "Q", "chosen": "good", "rejected": "bad"}
TALK = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}


def test_one_broken_line_of_many_is_named_and_the_rest_goes_in(store: BatchStore, tmp_path: Path) -> None:
    rows = [{**PAIR, "prompt": f"Q{i}"} for i in range(2000)]
    file = written(tmp_path / "pairs.jsonl", [*rows[:700], "{broken", *rows[700:]])
    lines: list[str] = []
    started = time.monotonic()
    summary = import_file(store, file, "pairs", lines.append)
    assert time.monotonic() - started < 20
    assert lines == [
        f"{file}:701: not JSON (Expecting property name enclosed in double quotes); one object a line is expected;"
        " left out"
    ]
    assert summary.line(file) == f"{file}: 2,000 records in batch pairs; preferences; 1 of 2,001 rows left out"
    again = import_file(store, file, "pairs", lines.append)
    assert (again.added.total(), again.repeated) == (0, 2000)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "Q", "chosen": "same", "rejected": "same"}, "chosen equals rejected"),
        ({"prompt": "Q", "completions": ["a", "b"], "ranks": [0, 1, 2]}, "2 completions but 3 ranks"),
        ({"prompt": "Q", "completions": ["a", "b"], "ranks": [0, 5]}, "there is a gap"),
        ({"prompt": "Q", "completions": ["a"], "ranks": [0]}, "at least 2 completions"),
        ({"prompt": "Q", "completions": list("abcdefghij"), "ranks": list(range(10))}, "K = 10"),
        ({"conversations": [{"from": "narrator", "value": "x"}, {"from": "gpt", "value": "y"}, {"from": "human",
        "value": "z"}]}, "'narrator' is unknown"), ({"text": "a document"}, "document without turns"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "no answer of the assistant"),
    ],
)  # fmt: skip
def test_fields_that_disagree_are_named_by_file_and_line(
    store: BatchStore, tmp_path: Path, row: dict, fault: str
) -> None:
    file = written(tmp_path / "x.jsonl", [PAIR, row, {**PAIR, "prompt": "R"}])
    lines: list[str] = []
    summary = import_file(store, file, "x", lines.append)
    assert summary.added == {"x": 2}
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}:2: ")
    assert fault in lines[0]


@pytest.mark.parametrize("way", ["bom", "utf-16", "crlf", "gzip"])
def test_files_as_other_programs_save_them(store: BatchStore, tmp_path: Path, way: str) -> None:
    text = "\n".join(json.dumps({**PAIR, "prompt": f"問{i}"}, ensure_ascii=False) for i in range(3)) + "\n"
    data = {
        "bom": ("\ufeff" + text).encode(),
        "utf-16": text.encode("utf-16"),
        "crlf": text.replace("\n", "\r\n").encode(),
        "gzip": gzip.compress(text.encode()),
    }[way]
    file = tmp_path / f"x.{'jsonl.gz' if way == 'gzip' else 'jsonl'}"
    file.write_bytes(data)
    assert import_file(store, file, "x", print).added == {"x": 3}
    assert [line["prompt"][0]["content"] for line in export_lines(store, "x")] == ["問0", "問1", "問2"]


def test_a_file_of_two_kinds_and_turns_out_of_order(store: BatchStore, tmp_path: Path) -> None:
    two_users = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]
    }
    headless = {
        "conversations": [
            {"from": "gpt", "value": "Hello!"},
            {"from": "human", "value": "q"},
            {"from": "assistant", "value": "a"},
        ]
    }
    file = written(tmp_path / "both.jsonl", [PAIR, TALK, two_users, headless, {"prompt": "only a prompt"}])
    summary = import_file(store, file, "both", print)
    assert summary.added == {"both": 1, "both-demonstrate": 3}
    assert (summary.joined, summary.headless, summary.repeated) == (1, 1, 1)
    talks = [r.messages for r in records(store, "both-demonstrate") if isinstance(r, Demonstration)]
    assert [[m.content for m in t] for t in talks] == [
        ["q", "a"],
        ["a\n\nb", "c"],
    ]  # the headless one is the first again
    assert "1 messages joined" in summary.line(file)


def test_a_named_format_refuses_others(store: BatchStore, tmp_path: Path) -> None:
    file = written(tmp_path / "x.jsonl", [PAIR, TALK])
    lines: list[str] = []
    import_file(store, file, "x", lines.append, "trl")
    assert "it is ShareGPT, not trl" in lines[0]
    with pytest.raises(UserError, match="one of auto, kaiwa"):
        import_file(store, file, "x", print, "csv")
    with pytest.raises(UserError, match="none of 1 rows is a record"):
        import_file(store, written(tmp_path / "y.jsonl", [{"x": 1}]), "y", print)


def test_our_chats_are_offers_and_no_labels(store: BatchStore, tmp_path: Path) -> None:
    chats = Store(tmp_path / "chats.sqlite")
    chat = chats.create("m")
    question = chats.append(chat, None, "user", "Why?")
    for text in ("Because.", "Since it is so."):
        answer = chats.append(chat, question, "assistant", text, model="m")
    chats.append(chat, answer, "user", "And?")
    summary = import_file(store, tmp_path / "chats.sqlite", "offers", print)
    assert summary.added == {"offers": 1}
    (item,) = store.items("offers")
    assert item.outputs == ("Because.", "Since it is so.")
    assert list(export_lines(store, "offers")) == []


WORDS = st.text(st.sampled_from("abc あ漢🙂\n\"'<&"), min_size=1, max_size=12).map(str.strip).filter(bool)


def talks(last: str, system: bool = True) -> st.SearchStrategy[tuple[Message, ...]]:
    """Dialogues that take turns, the last message of a role."""

    def build(texts: list[str]) -> tuple[Message, ...]:
        roles = ["user" if i % 2 == 0 else "assistant" for i in range(len(texts))]
        if roles[-1] != last:
            texts, roles = texts[:-1], roles[:-1]
        return tuple(Message(role, text) for role, text in zip(roles, texts, strict=True))

    dialogue = st.lists(WORDS, min_size=3, max_size=6).map(build)
    if not system:
        return dialogue
    return st.tuples(st.none() | WORDS, dialogue).map(lambda x: ((Message("system", x[0]),) if x[0] else ()) + x[1])


def rankings(least: int, most: int, system: bool = True, ties: bool = True) -> st.SearchStrategy[Comparison]:
    def build(value: tuple[tuple[Message, ...], list[str], list[int], str]) -> Comparison:
        prompt, texts, draws, labeller = value
        places = draws[: len(texts)] if ties else sorted(range(len(texts)), key=lambda i: draws[i])
        ranks = tuple(sum(other < place for other in places) for place in places)
        return Comparison(prompt=prompt, completions=tuple(texts), ranks=ranks, labeller=labeller)

    texts = st.lists(WORDS, min_size=least, max_size=most, unique=True)
    draws = st.lists(st.integers(0, 4), min_size=most, max_size=most)
    return st.tuples(talks("user", system), texts, draws, st.sampled_from(["", "Aoi", "山田 花子"])).map(build)


FORMS = {
    "kaiwa": rankings(2, 9),
    "argilla": rankings(2, 9),
    "label-studio": rankings(2, 9),
    "trl": rankings(2, 2, ties=False),
    "hh": rankings(2, 2, system=False, ties=False),
    "messages": talks("assistant").map(lambda m: Demonstration(messages=m)),
    "sharegpt": talks("assistant").map(lambda m: Demonstration(messages=m)),
}


def content(record: Comparison | Demonstration, form: str) -> Any:
    """What a form can say of a record: pairs say the better one first, and not who judged."""
    if isinstance(record, Demonstration):
        return record.messages
    order = (
        sorted(range(len(record.ranks)), key=lambda i: record.ranks[i])
        if form in ("trl", "hh")
        else range(len(record.ranks))
    )
    labeller = "" if form in ("trl", "hh") else record.labeller
    return record.prompt, [record.completions[i] for i in order], [record.ranks[i] for i in order], labeller


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_there_and_back_gives_equal_records(tmp_path: Path, form: str, data: st.DataObject) -> None:
    record = data.draw(FORMS[form])
    folder = tmp_path / str(time.monotonic_ns())
    folder.mkdir()
    file = folder / "x.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in WRITERS[form](record)), encoding="utf-8")
    store = BatchStore(folder / "x.sqlite")
    import_file(store, file, "x", print, form)
    (back,) = records(store, "x")
    assert content(back, form) == content(record, form)
    store.close()


def test_ours_comes_back_byte_by_byte(store: BatchStore, tmp_path: Path) -> None:
    record = Comparison(
        prompt=(Message("system", "s"), Message("user", "q")), completions=("a", "b", "c"), ranks=(1, 0, 1),
        labeller="Aoi", meta={"ended": [True, False, True], "source": "village", "深": [1, {"x": None}]},
    )  # fmt: skip
    file = written(tmp_path / "x.jsonl", [record.to_json()])
    import_file(store, file, "x", print)
    assert "".join(json.dumps(line) + "\n" for line in export_lines(store, "x")) == file.read_text()


def test_what_a_form_cannot_say_is_refused() -> None:
    tied = Comparison(prompt=(Message("user", "q"),), completions=("a", "b"), ranks=(0, 0))
    with pytest.raises(UserError, match="only ties"):
        list(WRITERS["trl"](tied))
    system = Comparison(prompt=(Message("system", "s"), Message("user", "q")), completions=("a", "b"), ranks=(0, 1))
    with pytest.raises(UserError, match="a message of the system's"):
        list(WRITERS["hh"](system))
    with pytest.raises(UserError, match="no demonstration"):
        list(WRITERS["sharegpt"](system))
    of_three = Comparison(prompt=(Message("user", "q"),), completions=("a", "b", "c"), ranks=(0, 1, 1))
    assert [row["rejected"][0]["content"] for row in WRITERS["trl"](of_three)] == ["b", "c"]
