"""Page Demonstrate: dialogues with their turns' origin, suggestions for both sides, the writer's own prompts."""

import random
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, expect

from kaiwa.feedback.batch_records import NewItem
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import export_lines
from kaiwa.feedback.store import FILE
from kaiwa.text.shapes import demonstration_of
from kaiwa.web.demonstrate import AS_USER, SentTurn, as_seen_by, edit_distance, origin_of
from tests.feedback.judging import asked

from .conftest import Site as PlainSite
from .judging_site import Site, check_access, judged_site, window
from .test_browser import chromium, pytestmark

__all__ = ["chromium", "judged_site", "pytestmark"]


def slow_distance(one: str, other: str) -> int:
    """The definition, by a table without shortcuts."""
    rows = [[max(i, j) if not i or not j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            swap = rows[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, swap)
    return rows[-1][-1]


def test_edit_distance_equals_its_definition() -> None:
    rng = random.Random(0)
    for _ in range(300):
        one, other = ("".join(rng.choices("abあ", k=rng.randrange(9))) for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other), (one, other)
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("a" * 5000, "b" * 5000) == 5000


def test_how_each_turn_came_about() -> None:
    turns = [
        SentTurn(role="user", content="Why?"),
        SentTurn(role="assistant", content="Because it is.", suggestion="Because it is.", model="m", seed=7),
        SentTurn(role="user", content="And?", suggestion="And", model="m", seed=8),
        SentTurn(role="assistant", content="That is all."),
    ]
    meta = origin_of(turns)
    assert [row["how"] for row in meta["turns"]] == ["written", "taken", "edited", "written"]
    assert meta["turns"][2] == {"how": "edited", "distance": 1, "model": "m", "seed": 8}
    assert meta["own_share"] == round(12 / 26, 4)


def test_a_model_that_writes_the_person_sees_the_sides_flipped() -> None:
    talk = [("user", "Why?"), ("assistant", "Because.")]
    assert [(m.role, m.content) for m in as_seen_by(talk, "assistant", "")] == talk
    seen = as_seen_by(talk, "user", "And")
    assert [m.role for m in seen] == ["system", "user", "assistant", "user", "assistant"]
    assert (seen[0].content, seen[2].content, seen[-1].content) == (AS_USER, "Why?", "And")


def link(store: BatchStore) -> str:
    store.create("written", task="demonstrate", k=0)
    store.add_items("written", [NewItem(prompt=asked("Why is the sky blue?"))])
    return f"/demonstrate/q/{store.invite('written', 'Aoi')}"


def test_dialogues_over_http(site: PlainSite) -> None:
    store = BatchStore(site.fakes.services.home / FILE)
    base = link(store)
    assert "Why is the sky blue?" in site.client.get(base).text
    turns = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": "Light scatters."}]
    suggested = site.client.post(f"{base}/suggest", json={"turns": turns[:1], "role": "assistant"}).json()
    assert suggested["text"].startswith("Answer 1")
    assert isinstance(suggested["seed"], int)
    unknown = site.client.post(f"{base}/suggest", json={"model": "none"})
    assert "write on without" in unknown.json()["error"]
    body = {"assignment": 1, "key": "a-key-of-the-browser", "turns": turns, "seconds": 30}
    for wrong in ([turns[1]], [turns[0]], [*turns, turns[1]], []):
        assert site.client.post(f"{base}/finish", json=body | {"turns": wrong}).status_code == 400
    state = site.client.post(f"{base}/finish", json=body).json()
    assert (state["item"], state["done"]) == (None, 1)
    own = body | {"assignment": 0, "key": "another-key-1"}
    for _ in range(2):  # a double click
        assert site.client.post(f"{base}/finish", json=own).json()["done"] == 2
    lines = list(export_lines(store, "written"))
    assert [demonstration_of(line).messages[-1].content for line in lines] == ["Light scatters."] * 2
    assert lines[0]["meta"]["own_share"] == 1.0
    path = site.client.post("/demonstrate/begin", json={"name": "Ben"}).json()["path"]
    assert site.client.get(path).status_code == 200
    assert store.batch("demonstrations").task == "demonstrate"
    assert "cannot be in a name" in site.client.post("/demonstrate/begin", json={"name": "a/b"}).json()["error"]
    assert site.client.get("/demonstrate/q/guess").status_code == 404


@pytest.mark.parametrize(("width", "scheme", "locale"), [(1280, "light", "en-US"), (360, "dark", "ja-JP")])
def test_a_dialogue_with_suggestions(
    chromium: Browser, judged_site: Site, tmp_path: Path, width: int, scheme: str, locale: str
) -> None:
    seen = window(chromium, width=width, scheme=scheme, locale=locale)
    page = seen.page
    page.goto(f"{judged_site.url}/demonstrate")
    check_access(page, "begin")
    store = judged_site.store
    page.goto(judged_site.url + link(store))
    expect(page.locator("#ghost")).to_contain_text("Answer")
    page.keyboard.type("Light ")  # ignores what was suggested
    expect(page.locator("#ghost")).to_contain_text("Answer")
    check_access(page, "writing")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#text") == "Light Answer"
    page.keyboard.press("Enter")
    page.keyboard.type("And the sea?")
    page.keyboard.press("Enter")
    expect(page.locator("#ghost")).to_contain_text("Answer")
    page.keyboard.press("Tab")
    assert "空が青い" in page.input_value("#text")
    page.reload()
    assert "空が青い" in page.input_value("#text")  # the draft survives
    page.locator("#text").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_be_visible()
    (line,) = export_lines(store, "written")
    assert [m["role"] for m in line["messages"]] == ["user", "assistant", "user", "assistant"]
    hows = [row["how"] for row in line["meta"]["turns"]]
    assert hows[:3] == ["written", "edited", "written"]
    assert line["meta"]["turns"][1]["distance"] == len("Light ")
    assert 0 < line["meta"]["own_share"] < 0.5
    assert seen.wrong == []
