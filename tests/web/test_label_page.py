"""Page Label over HTTP: links, blind items, answers, and what the owner sees."""

import json
import re
from pathlib import Path

import pytest

from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import export_lines
from kaiwa.feedback.store import FILE
from tests.feedback.judging import batch_store, honest, item, label_all, queue

from .conftest import Site
from .fake import app, fakes

SECRETS = re.compile(r"secret-model|laptop|ppo|smollm|n_tokens|tok/s|seed|182", re.IGNORECASE)


@pytest.fixture
def store(site: Site) -> BatchStore:
    made = batch_store(site.fakes.services.home, 4, k=4)
    return made


def answer(state: dict, **change: object) -> dict:
    """An answer to the item of a state, by the numbers in its outputs."""
    shown = state["item"]["outputs"]
    order = sorted(range(len(shown)), key=lambda i: int(shown[i].split()[1]))
    body = {
        "assignment": state["item"]["id"],
        "key": f"browser-key-{state['item']['id']}",
        "ratings": [7 - int(text.split()[1]) for text in shown],
        "flags": ["m" if text.startswith("answer 3") else "" for text in shown],
        "ranking": "".join("abcdefghi"[i] for i in order),
        "seconds": 20,
        "instruction": state["instruction"],
    }
    return body | change


def test_a_link_opens_one_queue(site: Site, store: BatchStore) -> None:
    token = store.invite("first", "Aoi")
    base = f"/label/q/{token}"
    page = site.client.get(base)
    assert page.status_code == 200
    state = site.client.get(f"{base}/item").json()
    assert (state["done"], state["total"]) == (0, 4)
    for _ in range(4):
        state = site.client.post(f"{base}/finish", json=answer(state)).json()
    assert state["item"] is None
    assert [line["ranks"] for line in export_lines(store, "first")] == [[0, 1, 2, 3]] * 4
    back = site.client.get(f"{base}/previous").json()
    assert back["item"]["answer"]["flags"].count("m") == 1
    assert site.client.get("/label/q/guess").status_code == 404
    store.revoke("first", "Aoi")
    gone = site.client.get(base)
    assert gone.status_code == 410
    assert "taken back" in gone.text
    assert site.client.post(f"{base}/finish", json=answer(back)).json()["code"] == "revoked_link"


def test_what_a_labeller_gets_says_nothing_of_models(site: Site, store: BatchStore) -> None:
    token = store.invite("first", "Aoi")
    base = f"/label/q/{token}"
    state = site.client.get(f"{base}/item").json()
    responses = [
        site.client.get(base),
        site.client.get(f"{base}/item"),
        site.client.get(f"{base}/sheet"),
        site.client.post(f"{base}/finish", json=answer(state)),
        site.client.get(f"{base}/previous"),
    ]
    for response in responses:
        text = response.text.replace(token, "").replace(json.dumps(state["item"]["id"]), "")
        text = re.sub(r"\?[0-9a-f]{10}", "", re.sub(r"training-[0-9a-f]{8}", "", text))
        text = text.replace("ファインチューニング", "")
        assert SECRETS.search(re.sub(r'<script type="application/json" id="words">.*?</script>', "", text)) is None
        assert "secret-model" not in response.text
        assert "/chat" not in re.sub(r'id="words">.*?</script>', "", response.text)
    assert set(state["item"]) == {"id", "place", "prompt", "outputs", "state", "answer"}


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"ratings": [8, 1, 1, 1]}, 400, "rating 8"),
        ({"ranking": "abc"}, 400, "d not ranked"),
        ({"ranking": "abca"}, 400, "twice"),
        ({"ranking": "abcde"}, 400, "no output 'e'"),
        ({"assignment": 99}, 404, "not in your queue"),
        ({"key": "short"}, 422, None),
        ({"instruction": "training-0"}, 400, "no instruction sheet"),
        ({"flags": ["zz", "", "", ""]}, 400, "no flag"),
        ({"ratings": ["x"]}, 422, None),
    ],
)
def test_bad_answers_are_one_line(
    site: Site, store: BatchStore, change: dict, status: int, message: str | None
) -> None:
    base = f"/label/q/{store.invite('first', 'Aoi')}"
    state = site.client.get(f"{base}/item").json()
    response = site.client.post(f"{base}/finish", json=answer(state, **change))
    assert response.status_code == status
    if message:
        assert message in response.json()["error"]
        assert "\n" not in response.json()["error"]
    assert list(export_lines(store, "first")) == []


def test_a_link_of_another_batch_and_a_closed_batch(site: Site, store: BatchStore) -> None:
    store.create("second", k=4)
    store.add_items("second", [item(9)])
    first, second = (f"/label/q/{store.invite(name, 'Aoi')}" for name in ("first", "second"))
    state = site.client.get(f"{first}/item").json()
    assert site.client.post(f"{second}/finish", json=answer(state)).status_code == 404
    site.client.post("/label/batch/first/close", json={})
    done = site.client.post(f"{first}/finish", json=answer(state)).json()
    assert (done["item"], done["open"], done["done"]) == (None, False, 1)
    changed = site.client.post(f"{first}/finish", json=answer(state, key="another-key-1"))
    assert changed.status_code == 409
    assert "closed" in changed.json()["error"]


def test_a_full_disk_is_said_and_can_be_tried_again(
    site: Site, store: BatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    base = f"/label/q/{store.invite('first', 'Aoi')}"
    state = site.client.get(f"{base}/item").json()

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("kaiwa.feedback.label_queue._answer_columns", full)
        response = site.client.post(f"{base}/finish", json=answer(state))
    assert response.status_code == 507
    assert "the disk is full" in response.json()["error"]
    assert site.client.post(f"{base}/finish", json=answer(state)).status_code == 200
    assert len(list(export_lines(store, "first"))) == 1


def test_strange_texts_are_shown_as_they_are(site: Site, store: BatchStore) -> None:
    texts = ["<script>alert(1)</script>", ">" * 3000, "\u202eright to left\u202c", "zero\u200bwidth"]
    store.create("odd", k=4)
    from kaiwa.feedback.batch_records import NewItem
    from tests.feedback.judging import asked

    store.add_items("odd", [NewItem(prompt=asked("</script><b>"), outputs=tuple(texts))])
    base = f"/label/q/{store.invite('odd', 'Aoi')}"
    page = site.client.get(base).text
    assert "<script>alert" not in page
    state = site.client.get(f"{base}/item").json()
    assert sorted(state["item"]["outputs"]) == sorted(texts)


def test_the_owners_page(site: Site, store: BatchStore) -> None:
    for name in ("Aoi", "Ben"):
        assignment = queue(store, name).next()
        if assignment is not None:
            queue(store, name).finish(assignment.id, f"{name}-{assignment.id:08}", honest(assignment))
    store.create("empty", k=4)
    page = site.client.get("/label?batch=first").text
    assert "secret-model-3" in page  # the owner sees the models
    assert "2 of 4 labels on 4 items" in page
    assert "Nobody has begun" in site.client.get("/label").text
    assert site.client.get("/label?batch=none").status_code == 404
    made = site.client.post("/label/batch/first/invite", json={"name": "Chie"}).json()
    assert site.client.get(made["path"]).status_code == 200
    refused = site.client.post("/label/batch/first/invite", json={"name": "a/b"})
    assert "cannot be in a name" in refused.json()["error"]
    lines = site.client.get("/label/batch/first/export").text.splitlines()
    assert [json.loads(line) for line in lines] == list(export_lines(store, "first"))


def test_an_empty_site_says_how_to_begin(site: Site) -> None:
    assert "kaiwa feedback new" in site.client.get("/label").text


def test_the_page_and_a_simulated_labeller_write_the_same_bytes(site: Site, tmp_path: Path) -> None:
    """The page's requests and the functions that simulated labellers call: one export, byte by byte."""
    exports = []
    for way in ("page", "functions"):
        made = fakes(tmp_path / way)
        store = batch_store(tmp_path / way, 6, k=4)
        if way == "functions":
            label_all(queue(store, "Aoi"))
        else:
            from fastapi.testclient import TestClient

            with TestClient(app(made.services)) as client:
                base = f"/label/q/{store.invite('first', 'Aoi')}"
                state = client.get(f"{base}/item").json()
                while state["item"] is not None:
                    state = client.post(f"{base}/finish", json=answer(state)).json()
        exports.append("".join(json.dumps(line) + "\n" for line in export_lines(store, "first")))
    assert exports[0] == exports[1]
    assert (tmp_path / "page" / FILE).is_file()


@pytest.mark.parametrize("path", ["/label", "/label/q/TOKEN", "/arena", "/demonstrate", "/demonstrate/q/TOKEN"])
def test_a_judging_page_loads_little_and_has_nothing_inline(site: Site, store: BatchStore, path: str) -> None:
    store.create("written", task="demonstrate", k=0)
    token = store.invite("written" if path.startswith("/demonstrate") else "first", "Aoi")
    page = site.client.get(path.replace("TOKEN", token)).text
    size, todo, known = 0, set(re.findall(r'(?:src|href)="(/static/[^"]+\.(?:js|css)[^"]*)"', page)), set()
    while todo:
        file = todo.pop()
        known.add(file.partition("?")[0])
        text = site.client.get(file).text
        size += len(text.encode())
        modules = {f"/static/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)}
        todo |= modules - known
    assert size <= 45_000, size
    assert re.search(r"<style|\sstyle=|\son\w+=", page) is None
    for script in re.findall(r"<script([^>]*)>", page):
        assert "src=" in script or 'type="application/json"' in script
