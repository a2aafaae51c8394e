"""Page Arena under a real browser: columns that keep their places, keys, names after the vote."""

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, expect

from .fake import OWN, SMALL
from .judging_site import Site, check_access, judged_site, window
from .test_browser import chromium, pytestmark

__all__ = ["chromium", "judged_site", "pytestmark"]


@pytest.mark.parametrize(("width", "scheme", "locale"), [(1280, "light", "en-US"), (360, "dark", "ja-JP")])
def test_a_game_from_question_to_table(
    chromium: Browser, judged_site: Site, width: int, scheme: str, locale: str
) -> None:
    seen = window(chromium, width=width, scheme=scheme, locale=locale)
    page = seen.page
    page.goto(f"{judged_site.url}/arena")
    check_access(page, "empty")
    page.fill("#prompt", "Why is the sky blue?")
    page.keyboard.press("Enter")
    expect(page.locator("#left")).to_contain_text("Answer")
    page.locator("#left").focus()
    before = page.locator("#right").bounding_box()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-vote=left]")).to_be_disabled()  # not before both have ended
    expect(page.locator("main")).to_have_attribute("data-state", "ended")
    assert page.locator("#right").bounding_box() == before  # the columns never jump
    assert "<script>" in page.locator("#left").inner_text()  # a model's words are no code
    source = page.content()
    assert SMALL.name not in source
    assert OWN.name not in source
    check_access(page, "ended")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#board table")).to_be_visible()
    names = {page.locator(f"#{side}-name").inner_text() for side in ("left", "right")}
    assert names == {SMALL.name, OWN.name}
    check_access(page, "voted")
    page.fill("#prompt", "fail")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_have_attribute("data-state", "idle")
    assert seen.wrong == []
