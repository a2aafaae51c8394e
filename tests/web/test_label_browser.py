"""Page Label under a real browser: keys, undo, drafts, two windows, cuts and kills: nothing lost, nothing twice."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Page, expect

from kaiwa.feedback.batch_records import NewItem
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import export_lines
from kaiwa.feedback.store import FILE
from tests.feedback.judging import asked, batch_store, item, label_all, queue

from .judging_site import Site, Window, check_access, judged_site, window
from .test_browser import chromium, pytestmark

__all__ = ["chromium", "judged_site", "pytestmark"]

JSON_BODY = {"content-type": "application/json"}


def quality(page: Page) -> list[int]:
    """The number in each output's text, in the shown order."""
    return [int(text.split()[1]) for text in page.locator(".card-row .text").all_inner_texts()]


def rate_all(page: Page) -> None:
    """Rate each output by its number, and flag the worst, with keys only."""
    for _ in range(9):
        if page.locator("#rank").is_visible():
            return
        number = int(page.locator("#output .text").inner_text().split()[1])
        place = page.locator("#rate-title").inner_text()
        if number == 3:
            page.keyboard.press("m")
        page.keyboard.press(str(max(1, 7 - number)))
        expect(page.locator("#rate-title")).not_to_have_text(place) if page.locator("#rate").is_visible() else None


def letters_in_order(page: Page) -> str:
    letters = page.locator(".card-row .letter").all_inner_texts()
    return "".join(letter for _, letter in sorted(zip(quality(page), letters, strict=True)))


def done(page: Page, n: int) -> None:
    expect(page.locator("#progress")).to_contain_text(f"done {n} of")


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def label_one(page: Page, n: int) -> None:
    rate_all(page)
    page.keyboard.type(letters_in_order(page))
    page.keyboard.press("Enter")
    done(page, n)


def test_the_page_writes_what_a_simulated_labeller_writes(chromium: Browser, judged_site: Site, tmp_path: Path) -> None:
    """Chromium on the page, keys only; then the same judgements through the functions: equal bytes."""
    store = batch_store(judged_site.home, 3)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    for n in range(1, 4):
        label_one(page, n)
    expect(page.locator("#over-title")).to_have_text("All done. Thank you.")
    simulated = batch_store(tmp_path / "simulated", 3)
    label_all(queue(simulated, "Aoi"))
    written = [json.dumps(line) for line in export_lines(store, "first")]
    assert written == [json.dumps(line) for line in export_lines(simulated, "first")]
    assert seen.wrong == []


def test_nine_outputs_take_twelve_keys_and_ties_are_announced(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 1, k=9)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    rate_all(page)
    expect(page.locator("#rank")).to_be_visible()
    presses = 0
    for key in "ba=cdefgh=i":
        page.keyboard.press(key)
        presses += 1
    expect(page.locator("#typed")).to_have_text("ba=cdefgh=i")
    expect(page.locator("#say")).to_have_text("i: place 8 of 9, tied with h")
    check_access(page, "ranking")
    page.keyboard.press("Enter")
    presses += 1
    done(page, 1)
    assert presses <= 12
    (row,) = store.rows("SELECT ranks, display FROM judgements JOIN assignments ON assignment_id = assignments.id")
    shown = [int(row["ranks"][int(i)]) for i in row["display"]]
    assert shown == [1, 0, 1, 3, 4, 5, 6, 7, 7]
    assert seen.wrong == []


def test_undo_goes_back_as_far_as_one_likes_and_a_reload_keeps_the_draft(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 2)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    page.keyboard.press("k")
    rate_all(page)
    page.keyboard.type("ab")
    page.reload()
    expect(page.locator("#typed")).to_have_text("ab")  # between rating and ranking, and within the ranking
    page.keyboard.press("u")
    expect(page.locator("#typed")).to_have_text("a")
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(page.locator("#rate")).to_be_visible()
    rate_all(page)
    page.keyboard.type(letters_in_order(page))
    page.keyboard.press("Enter")
    done(page, 1)
    page.keyboard.press("u")  # into the finished item
    expect(page.locator("#rate")).to_be_visible()
    page.locator("#ratings button").first.click()  # another rating; all are rated, so the ranking follows
    expect(page.locator("#rank")).to_be_visible()
    page.keyboard.press("Enter")
    until(lambda: store.rows("SELECT count(*) AS n FROM judgements")[0]["n"] == 2)  # the page said "done 1" before, too
    done(page, 1)
    assert len(list(export_lines(store, "first"))) == 1
    kinds = {row["kind"] for row in store.rows("SELECT kind FROM events")}
    assert {"undo", "reopen"} <= kinds
    assert seen.wrong == []


def test_two_windows_and_a_double_click_are_one_judgement(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 2)
    url = f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}"
    one, two = window(chromium), window(chromium)
    pages = [one.open(url), two.open(url)]
    for page in pages:
        rate_all(page)
        page.keyboard.type(letters_in_order(page))
    pages[0].dblclick("#finish")
    done(pages[0], 1)
    pages[1].keyboard.press("Enter")
    done(pages[1], 1)
    assert len(list(export_lines(store, "first"))) == 1
    assert one.wrong == two.wrong == []


def test_a_cut_during_the_post_loses_nothing(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 2)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    rate_all(page)
    page.keyboard.type(letters_in_order(page))
    answered: list[int] = []

    def cut(route: object) -> None:
        """Let the server store the first two requests, and lose its responses."""
        if len(answered) < 2:
            answered.append(
                httpx.post(route.request.url, content=route.request.post_data, headers=JSON_BODY).status_code
            )  # type: ignore[attr-defined]
            route.abort()  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/finish", cut)
    page.keyboard.press("Enter")
    expect(page.locator("#kept")).to_contain_text("kept in this browser")
    done(page, 1)
    expect(page.locator("#kept")).to_be_hidden()
    assert answered == [200, 200]
    assert store.rows("SELECT count(*) AS n FROM judgements")[0]["n"] == 1


def test_a_full_disk_keeps_the_answer_in_the_page(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 1)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    rate_all(page)
    page.keyboard.type(letters_in_order(page))
    refusal = {"status": 507, "json": {"error": "the disk is full; free some space", "code": "disk_full"}}
    page.route("**/finish", lambda route: route.fulfill(**refusal))
    page.keyboard.press("Enter")
    expect(page.locator("#kept")).to_contain_text("the disk is full")
    page.unroute("**/finish")
    page.reload()  # the answer is on its way again
    done(page, 1)
    assert len(list(export_lines(store, "first"))) == 1


def test_skip_touch_and_long_strange_texts(chromium: Browser, judged_site: Site) -> None:
    store = BatchStore(judged_site.home / FILE)
    store.create("odd", k=4)
    texts = ("<script>alert(1)</script>", "x" * 1_000_000, "\n".join(f"line {i}" for i in range(40)), "\u202eabc\u200b")
    store.add_items(
        "odd", [NewItem(prompt=asked("Why?"), outputs=texts), NewItem(prompt=asked("And?"), outputs=tuple("abcd"))]
    )
    seen = window(chromium, width=360, locale="ja-JP", scheme="dark")
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('odd', '花子')}")
    check_access(page, "rating at 360 px")
    for _ in range(4):
        page.wait_for_timeout(100)  # the fold shows in the next frame
        if page.locator("#output .all").count():
            page.locator("#output .all").tap()
            expect(page.locator("#output .folded")).to_have_count(0)
        page.locator("#ratings button").nth(3).tap()
    expect(page.locator("#rank")).to_be_visible()
    assert page.evaluate("document.querySelectorAll('main script, main b').length") == 0
    for letter in ("c", "a", "d", "b"):
        page.locator("#rest .letter", has_text=letter).tap()
    page.locator("#ranked .card-row").nth(1).get_by_label("a を前と同順位に").tap()
    expect(page.locator("#typed")).to_have_text("c=adb")
    page.locator("#ranked .card-row").nth(3).get_by_label("b を上へ").tap()
    expect(page.locator("#typed")).to_have_text("c=abd")
    check_access(page, "ranking at 360 px")
    page.locator("#finish").tap()
    expect(page.locator("#progress")).to_contain_text("1 件済み")
    page.locator("#skip").tap()
    check_access(page, "reasons")
    page.locator("#reasons button").nth(1).tap()
    expect(page.locator("#over")).to_be_visible()
    check_access(page, "finished")
    assert store.rows("SELECT detail FROM events WHERE kind = 'skip'")[0]["detail"] == "offensive"
    assert seen.wrong == []


def test_arrows_pins_the_sheet_and_dragging(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 1)
    seen = window(chromium)
    seen.page.goto(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    expect(seen.page.locator("#sheet")).to_be_visible()  # the first visit
    check_access(seen.page, "sheet")
    seen.page.keyboard.press("Escape")
    page = seen.page
    page.keyboard.press("h")
    expect(page.locator("#sheet")).to_contain_text("Helpful")
    page.keyboard.press("Escape")
    rate_all(page)
    page.keyboard.type("abcd")
    page.locator("#ranked .letter").nth(3).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#typed")).to_have_text("adbc")
    page.locator("#ranked .card-row").nth(0).get_by_text("pin").click()
    page.locator("#ranked .card-row").nth(1).get_by_text("pin").click()
    expect(page.locator("#pinned mark")).to_have_count(0)
    page.get_by_text("Mark differing words").click()
    assert page.locator("#pinned mark").count() >= 2
    check_access(page, "pinned")
    start, end = (page.locator("#ranked .letter").nth(i).bounding_box() for i in (3, 0))
    assert start is not None
    assert end is not None
    page.mouse.move(start["x"] + 8, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(end["x"] + 8, end["y"] + 30, steps=5)
    page.mouse.up()
    expect(page.locator("#typed")).to_have_text("cadb")
    assert seen.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_owners_page_in_every_state(chromium: Browser, judged_site: Site, scheme: str) -> None:
    seen = window(chromium, scheme=scheme, width=640)  # 200 % zoom of 1280
    seen.page.goto(f"{judged_site.url}/label")
    check_access(seen.page, "no batch")
    store = batch_store(judged_site.home, 4, k=6, screening=10, n_labels=2)
    seen.page.reload()
    check_access(seen.page, "nobody yet")
    for name in ("Aoi", "Ben"):
        label_all(queue(store, name))
    seen.page.reload()
    check_access(seen.page, "labelled")
    seen.page.click("#close")
    expect(seen.page.locator("#reopen")).to_be_visible()
    seen.page.click("#reopen")
    expect(seen.page.locator("#close")).to_be_visible()
    seen.page.fill("#name", "Chie")
    seen.page.click("text=Make a link")
    expect(seen.page.locator("#link code")).to_contain_text("/label/q/")
    seen.page.click("text=Label here")
    expect(seen.page.locator("#sheet")).to_be_visible()
    seen.page.goto(f"{judged_site.url}/label/q/unknown")
    check_access(seen.page, "unknown link")
    assert [line for line in seen.wrong if "404" not in line] == []


SERVER = """
import sys, uvicorn
from pathlib import Path
from tests.web.fake import app, fakes
uvicorn.run(app(fakes(Path(sys.argv[1])).services), port=int(sys.argv[2]), log_level="error")
"""


def start_server(home: Path, port: int) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    child = subprocess.Popen([sys.executable, "-c", SERVER, str(home), str(port)], env=environment, cwd=root)
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/label", timeout=2)
            return child
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_server_loses_nothing_of_two_browsers(chromium: Browser, tmp_path: Path, kills: int) -> None:
    n = 2 * kills
    store = batch_store(tmp_path, n, n_labels=2)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = start_server(tmp_path, port)
    rng = random.Random(kills)
    people: dict[str, Window] = {}
    try:
        for name in ("Aoi", "Ben"):
            people[name] = window(chromium)
            people[name].open(f"http://127.0.0.1:{port}/label/q/{store.invite('first', name)}")
        for number in range(1, n + 1):
            for name in people:
                page = people[name].page
                rate_all(page)
                page.keyboard.type(letters_in_order(page))
                kill = number % 2 == 0 and name == rng.choice(("Aoi", "Ben"))
                if kill and rng.random() < 0.5:
                    server.send_signal(signal.SIGKILL)
                    server.wait()
                page.keyboard.press("Enter")
                if kill and server.poll() is None:
                    time.sleep(rng.random() * 0.05)
                    server.send_signal(signal.SIGKILL)
                    server.wait()
                if kill:
                    server = start_server(tmp_path, port)
                done(page, number)
    finally:
        server.kill()
        server.wait()
    labels = [(row["number"], row["labeller"]) for row in store.rows(
        "SELECT i.number, a.labeller FROM judgements j JOIN assignments a ON a.id = j.assignment_id"
        " JOIN items i ON i.id = a.item_id ORDER BY 1, 2")]  # fmt: skip
    assert labels == [(number, name) for number in range(n) for name in ("Aoi", "Ben")]
    assert [line["ranks"] for line in export_lines(store, "first")] == [[0, 1, 2, 3]] * (2 * n)


def test_items_that_others_finished_are_said(chromium: Browser, judged_site: Site) -> None:
    store = batch_store(judged_site.home, 1)
    seen = window(chromium)
    page = seen.open(f"{judged_site.url}/label/q/{store.invite('first', 'Aoi')}")
    rate_all(page)
    with store.transaction() as db:
        db.execute("UPDATE assignments SET opened = opened - 7200")
    label_all(queue(store, "Ben"))
    page.keyboard.type(letters_in_order(page))
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Others had finished this item")
    assert len(list(export_lines(store, "first"))) == 2
    assert item(0).outputs
