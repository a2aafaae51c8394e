"""The store of conversations: trees, versions, search, deletion, and what a kill leaves behind."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.feedback.migrations import STEPS
from kaiwa.feedback.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "chats.sqlite")


def talk(store: Store, *texts: str) -> tuple[int, list[int]]:
    chat = store.create("m", {"temperature": 0.5})
    ids: list[int] = []
    for i, text in enumerate(texts):
        role = "assistant" if i % 2 else "user"
        ids.append(store.append(chat, ids[-1] if ids else None, role, text))
    return chat, ids


def test_a_chat_comes_back_after_reopening(store: Store) -> None:
    chat, _ = talk(store, "どうして空は青いの？\n二行目", "光が散るから。")
    again = Store(store.file).get(chat)
    assert again.title == "どうして空は青いの？"
    assert [m.content for m in again.path] == ["どうして空は青いの？\n二行目", "光が散るから。"]
    assert again.settings == {"temperature": 0.5}
    assert store.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_versions_flip_and_remember_what_was_below(store: Store) -> None:
    chat, (q1, a1, q2, a2) = talk(store, "one", "first", "two", "second")
    q1b = store.edit(q1, "uno")
    assert [m.content for m in store.get(chat).path] == ["uno"]
    a1b = store.append(chat, q1b, "assistant", "primo")
    assert [m.id for m in store.get(chat).path] == [q1b, a1b]
    store.flip(q1)
    assert [m.id for m in store.get(chat).path] == [q1, a1, q2, a2]
    assert store.message(q1).versions == (q1, q1b)
    assert (store.message(q1).version, store.message(q1b).version) == (1, 2)


def test_a_new_version_streams_beside_the_old_answer(store: Store) -> None:
    chat, (question, answer) = talk(store, "hello", "hi")
    new = store.append(chat, question, "assistant", model="other", sampling={"seed": 7}, streaming=True)
    assert store.message(new).versions == (answer, new)
    assert store.message(new).state == "streaming"
    store.write(new, "hel")
    store.finish(new, "hello there", "stopped", finish_reason="stop", n_tokens=2, seconds=0.5)
    shown = store.get(chat).path[-1]
    assert (shown.content, shown.state, shown.model, dict(shown.sampling)) == (
        "hello there", "stopped", "other", {"seed": 7},
    )  # fmt: skip
    store.write(new, "late")  # a finished message is not written to
    assert store.message(new).content == "hello there"


@pytest.mark.parametrize("needle", ["空は青い", "青い", "青", "SKY", "100%", 'say "no"'])
def test_search_in_any_script(store: Store, needle: str) -> None:
    chat, _ = talk(store, "どうして空は青いの？", 'The sky is 100% blue, say "no"')
    talk(store, "something else", "entirely")
    assert [line.id for line in store.search(needle)] == [chat]
    assert needle.lower() in store.search(needle)[0].excerpt.lower()


def test_search_finds_no_wildcards_titles_too_and_not_what_streams(store: Store) -> None:
    chat, _ = talk(store, "hello")
    assert store.search("%") == []
    assert store.search("_") == []
    store.rename(chat, "レシピの話")
    assert [line.title for line in store.search("レシピ")] == ["レシピの話"]
    assert [line.id for line in store.search("  ")] == [chat]


def test_delete_and_undo(store: Store) -> None:
    chat, _ = talk(store, "hello")
    store.delete(chat)
    assert store.lines() == []
    assert store.search("hello") == []
    with pytest.raises(UserError, match="no conversation"):
        store.get(chat)
    store.undo(chat)
    assert [line.id for line in store.lines()] == [chat]
    with store.transaction() as db:
        db.execute("UPDATE conversations SET deleted_at = 1 WHERE id = ?", (chat,))
    other, _ = talk(store, "another")
    store.delete(other)  # sweeps what was deleted long ago
    with pytest.raises(UserError, match="gone"):
        store.undo(chat)


def test_empty_conversations_are_not_listed_and_pages_follow(store: Store) -> None:
    store.create()
    chats = [talk(store, str(i))[0] for i in range(5)]
    first = store.lines(most=2)
    assert [line.id for line in first] == chats[:2:-1]
    assert [line.id for line in store.lines(most=10, before=first[-1].updated)] == chats[2::-1]


def test_a_message_of_a_dead_process_is_interrupted(store: Store) -> None:
    chat, (question,) = talk(store, "hello")
    program = (
        "import sys, time; from pathlib import Path; from kaiwa.feedback.store import Store\n"
        f"s = Store(Path(sys.argv[1])); m = s.append({chat}, {question}, 'assistant', streaming=True)\n"
        "s.write(m, '半分まで'); print(m, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(store.file)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    message = int(child.stdout.readline())
    assert store.message(message).state == "streaming"  # another process is at it
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert store.message(message).state == "interrupted"
    assert store.get(chat).path[-1].content == "半分まで"


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite"
    file.write_bytes(b"not a database at all, but long enough to be looked at" * 10)
    with pytest.raises(UserError, match="move it away"):
        Store(file)
    newer = sqlite3.connect(tmp_path / "y.sqlite")
    newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    newer.close()
    with pytest.raises(UserError, match="newer kaiwa"):
        Store(tmp_path / "y.sqlite")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.sampled_from(["append", "edit", "again", "flip"]), st.integers(0, 99)), max_size=25))
def test_the_tree_never_loses_a_message(tmp_path: Path, moves: list[tuple[str, int]]) -> None:
    """Whatever is done: nothing vanishes, the path runs from a first message to a leaf, versions share a parent."""
    store = Store(tmp_path / f"{time.monotonic_ns()}.sqlite")
    chat = store.create()
    texts: dict[int, str] = {}
    for number, (move, pick) in enumerate(moves):
        chosen = list(texts)[pick % len(texts)] if texts else None
        text = f"text {number}"
        if move == "append" or chosen is None:
            role = "assistant" if chosen is not None and store.message(chosen).role == "user" else "user"
            texts[store.append(chat, chosen, role, text)] = text
        elif move == "edit":
            texts[store.edit(chosen, text)] = text
        elif move == "again" and store.message(chosen).role == "assistant":
            new = store.append(chat, store.message(chosen).parent_id, "assistant", model="m", streaming=True)
            store.finish(new, text, "done")
            texts[new] = text
        else:
            store.flip(chosen)
            assert chosen in [m.id for m in store.get(chat).path] or store.message(chosen).parent_id is not None
    assert {m: store.message(m).content for m in texts} == texts
    path = store.get(chat).path
    assert bool(path) == bool(texts)
    parent = None
    for message in path:
        assert message.parent_id == parent
        assert message.id in message.versions
        parent = message.id
    store.close()
