"""Queues: blind orders, shares of items, the same key twice, reopening, skipping, closing, and kills."""

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_records import ItemAnswer, NewEvent, NewItem, check_labeller
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import comparisons, export_lines, judged
from kaiwa.feedback.label_queue import STALE_SECONDS, is_screening_place
from kaiwa.feedback.store import Store
from kaiwa.text.records import Message
from kaiwa.text.shapes import comparison_of, demonstration_of
from tests.feedback.judging import asked, batch_store, honest, item, label_all, queue


def test_an_item_goes_to_as_many_labellers_as_wanted(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 5, n_labels=2)
    counts = [label_all(queue(store, name)) for name in ("Aoi", "Ben", "Chie")]
    assert counts == [5, 5, 0]
    labels = [(one.item.number, one.labeller) for one in judged(store, store.batch("first"))]
    assert labels == [(number, name) for number in range(5) for name in ("Aoi", "Ben")]


def test_what_is_shown_in_another_order_comes_back_in_the_items(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 8)
    orders = []
    for _ in range(8):
        assignment = queue(store, "Aoi").next()
        assert assignment is not None
        orders.append(assignment.order)
        queue(store, "Aoi").finish(assignment.id, f"key-{assignment.id:06}", honest(assignment))
    assert len(set(orders)) > 3
    for record in comparisons(store, store.batch("first")):
        assert record.ranks == (0, 1, 2, 3)
        assert record.meta["ratings"] == [7, 6, 5, 4]
        assert record.meta["flags"] == [[], [], [], ["hallucination"]]
        assert record.meta["models"] == [f"secret-model-{i}" for i in range(4)]


def test_the_same_key_twice_is_one_judgement_and_the_newest_counts(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 2)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    answer = honest(assignment)
    for _ in range(3):
        own.finish(assignment.id, "a-key-from-the-browser", answer)
    assert store.rows("SELECT count(*) AS n FROM judgements")[0]["n"] == 1
    own.finish(assignment.id, "another-key", replace(answer, ranks=(0, 0, 0, 0)))
    assert store.rows("SELECT count(*) AS n FROM judgements")[0]["n"] == 2  # the old row stays
    assert [one.answer.ranks for one in judged(store, store.batch("first"))] == [(0, 0, 0, 0)]
    following = own.next()
    assert following is not None
    with pytest.raises(UserError, match="another item's"):
        own.finish(following.id, "another-key", answer)
    earlier = own.previous(following.id)
    assert earlier is not None
    assert (earlier.id, earlier.answer and earlier.answer.ranks) == (assignment.id, (0, 0, 0, 0))


def test_two_windows_show_the_same_open_item(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 3)
    one, two = queue(store, "Aoi").next(), queue(BatchStore(store.file), "Aoi").next()
    assert one is not None
    assert one == two


def test_screening_items_stand_at_the_first_places_and_every_fourth_after(tmp_path: Path) -> None:
    assert [n for n in range(24) if is_screening_place(n)] == [*range(10), 13, 17, 21]
    store = batch_store(tmp_path, 30, k=6, screening=14)
    own = queue(store, "Aoi")
    known = []
    assert own.progress().remaining == 30 + 14
    while (assignment := own.next()) is not None:
        number = int(assignment.prompt[0].content.split()[1])
        known.append(number < 14)
        own.finish(assignment.id, f"key-{assignment.id:06}", honest(assignment))
    assert known[:22] == [is_screening_place(n) for n in range(22)]
    assert sum(not k for k in known) == 30
    assert len(list(comparisons(store, store.batch("first")))) == 30  # nothing is learned from screening
    assert len(list(comparisons(store, store.batch("first"), screening=True))) == len(known)


def test_skipping_gives_the_item_to_another_and_is_kept_with_its_reason(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    with pytest.raises(UserError, match="one of not_understood"):
        own.skip(assignment.id, "skip-key-1", "tired")
    own.skip(assignment.id, "skip-key-1", "offensive", [NewEvent(key="u1", kind="undo")])
    own.skip(assignment.id, "skip-key-1", "offensive")
    assert own.next() is None
    assert own.progress().skipped == 1
    kinds = store.rows("SELECT kind, detail FROM events ORDER BY id")
    assert [tuple(row) for row in kinds] == [("undo", ""), ("skip", "offensive")]
    assert label_all(queue(store, "Ben")) == 1


def test_a_closed_batch_gives_nothing_new_and_keeps_what_is_open(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 3)
    own = queue(store, "Aoi")
    first = own.next()
    assert first is not None
    own.finish(first.id, "first-key", honest(first))
    second = own.next()
    assert second is not None
    store.close_batch("first")
    assert own.next() == second  # it is open: it may still be finished
    own.finish(second.id, "second-key", honest(second))
    assert own.next() is None
    with pytest.raises(UserError, match="closed; your earlier answer counts"):
        own.finish(first.id, "third-key", honest(first))
    own.finish(first.id, "first-key", honest(first))  # sent again after a cut: it is there already
    store.reopen_batch("first")
    own.finish(first.id, "third-key", honest(first))
    assert own.next() is not None


def test_an_item_left_open_goes_to_others_after_an_hour_and_a_late_answer_is_kept(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    assert queue(store, "Ben").next() is None
    with store.transaction() as db:
        db.execute("UPDATE assignments SET opened = opened - ?", (STALE_SECONDS + 1,))
    assert label_all(queue(store, "Ben")) == 1
    assert own.finish(assignment.id, "late-key", honest(assignment)) is True  # somebody else had finished it
    assert {one.labeller for one in judged(store, store.batch("first"))} == {"Aoi", "Ben"}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"ratings": (8, 1, 1, 1)}, "rating 8: 1 to 7"), ({"ratings": (1, 1)}, "2 ratings for 4"),
     ({"ranks": (0, 2, 2, 3)}, "gap"), ({"ranks": ()}, "0 ranks for 4"), ({"flags": ("m",)}, "flags of 1"),
     ({"flags": ("z", "", "", "")}, "no flag 'z'"), ({"seconds": -1.0}, "0 or more"),
     ({"seconds": float("nan")}, "0 or more"), ({"instruction": "training-0"}, "no instruction sheet")],
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_one_clear_line(tmp_path: Path, change: dict, message: str) -> None:
    store = batch_store(tmp_path, 1)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    with pytest.raises(UserError, match=message):
        own.finish(assignment.id, "some-key", replace(honest(assignment), **change))
    assert own.next() == assignment
    with pytest.raises(UserError, match="not in your queue"):
        queue(store, "Ben").finish(assignment.id, "some-key", honest(assignment))


@pytest.mark.parametrize("k", [1, 10])
def test_a_batch_has_two_to_nine_outputs(tmp_path: Path, k: int) -> None:
    with pytest.raises(UserError, match=f"K = {k}: a batch to rank has 2 to 9"):
        BatchStore(tmp_path / "x.sqlite").create("b", k=k)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..\\x", "x" * 300, "a\nb", "<b>"])
def test_names_of_labellers(name: str) -> None:
    with pytest.raises(UserError, match="labeller"):
        check_labeller(name)
    assert check_labeller(" 山田 花子 ") == "山田 花子"
    assert check_labeller("O'Brien-2") == "O'Brien-2"


def test_links(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1, may_label=("Aoi",))
    token = store.invite("first", "Aoi")
    assert store.invited(token)[1] == "Aoi"
    assert token not in store.file.read_bytes().decode("latin-1")  # only a digest is kept
    with pytest.raises(UserError, match="may not label"):
        store.invite("first", "Ben")
    with pytest.raises(UserError, match="not known"):
        store.invited("guess")
    assert store.revoke("first", "Aoi") == 1
    with pytest.raises(UserError, match="taken back"):
        store.invited(token)
    with pytest.raises(UserError, match="has no link"):
        store.revoke("first", "Aoi")


def test_a_changed_sheet_is_a_new_version_and_each_judgement_names_its_own(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 2)
    label_all(queue(store, "Aoi"), most=1)
    before = store.batch("first").instruction
    after = store.change_sheet("first", {"en": "Be kind.", "ja": "親切に。"})
    assert after != before
    assert store.sheet(after)["ja"] == "親切に。"
    label_all(queue(store, "Aoi"))
    assert [one.answer.instruction for one in judged(store, store.batch("first"))] == [before, after]
    assert "most **helpful" not in store.sheet(before)["en"]
    evaluation = store.create("second", purpose="evaluation")
    assert store.sheet(evaluation.instruction)["en"].index("**True.**") < store.sheet(evaluation.instruction)[
        "en"
    ].index("**Helpful.**")
    assert store.sheet(before)["en"].index("**Helpful.**") < store.sheet(before)["en"].index("**True.**")


def test_the_export_is_what_the_trainers_read(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 2)
    label_all(queue(store, "Aoi"))
    for line in export_lines(store, "first"):
        assert comparison_of(line).to_json() == line
    store.create("written", task="demonstrate", k=0)
    store.add_items("written", [NewItem(prompt=asked("Why?"))])
    own = queue(store, "Aoi", "written")
    assignment = own.next()
    assert assignment is not None
    with pytest.raises(UserError, match="turn is empty"):
        own.finish(assignment.id, "some-key", ItemAnswer(messages=asked("Why?")))
    own.finish(assignment.id, "some-key", ItemAnswer(messages=(*asked("Why?"), Message("assistant", "Because."))))
    (line,) = export_lines(store, "written")
    assert demonstration_of(line).messages[-1].content == "Because."
    assert line["meta"]["labeller"] == "Aoi"


def test_items_come_once_and_must_fit(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 3)
    assert store.add_items("first", [item(0), item(3)]) == 1
    with pytest.raises(UserError, match="3 outputs where the batch has K = 4"):
        store.add_items("first", [item(9, k=3)])
    assert len(store.items("first")) == 4
    with pytest.raises(UserError, match="there is a batch first already"):
        store.create("first")
    with pytest.raises(UserError, match="no batch 'frist'; there is first"):
        store.batch("frist")


def test_a_database_of_the_first_step_moves_on_and_keeps_its_chats(tmp_path: Path) -> None:
    from kaiwa.feedback.migrations import STEPS

    file = tmp_path / "conversations.sqlite"
    old = sqlite3.connect(file)
    old.executescript(STEPS[0] + "; PRAGMA user_version = 1;")
    old.execute("INSERT INTO conversations (id, title, created, updated) VALUES (5, 'old', 1, 1)")
    old.commit()
    old.close()
    store = Store(file)
    assert store.get(5).title == "old"
    assert BatchStore(file).create("b").k == 4


def test_a_kill_between_two_judgements_loses_none(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 400)
    program = (
        "import sys; from pathlib import Path\n"
        "from kaiwa.feedback.batch_store import BatchStore\n"
        "from tests.feedback.judging import honest, queue\n"
        "own = queue(BatchStore(Path(sys.argv[1])), 'Aoi')\n"
        "while (a := own.next()) is not None:\n"
        "    own.finish(a.id, f'key-{a.id:06}', honest(a)); print(a.id, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(store.file)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(30)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split()]
    child.wait()
    stored = [row["assignment_id"] for row in store.rows("SELECT assignment_id FROM judgements ORDER BY id")]
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) <= len(acknowledged) + 1
    assert label_all(queue(store, "Aoi")) == 400 - len(stored)


def test_a_full_disk_is_one_line_and_the_open_item_stays_open(tmp_path: Path) -> None:
    store = batch_store(tmp_path, 1)
    own = queue(store, "Aoi")
    assignment = own.next()
    assert assignment is not None
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count = {pages}")
    large = replace(honest(assignment), meta={"note": "x" * 200_000})
    with pytest.raises(UserError, match="the disk is full") as error:
        own.finish(assignment.id, "some-key", large)
    assert error.value.code == "disk_full"
    store.rows("PRAGMA max_page_count = 1000000")
    own.finish(assignment.id, "some-key", large)
