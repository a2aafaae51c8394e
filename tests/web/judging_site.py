"""Judging pages under a real browser: a site with batches, a labeller's page, and axe-core where it is installed."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, BrowserContext, Page, expect

from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.store import FILE

from .fake import Fakes, app, fakes, serving

PATIENCE = 25_000  # milliseconds

# npm install axe-core, and KAIWA_AXE=…/node_modules/axe-core/axe.min.js
AXE = Path(os.environ.get("KAIWA_AXE", "node_modules/axe-core/axe.min.js"))
ALLOWED_ERRORS = ("Failed to load resource", "net::ERR")  # of the network cuts that a test makes


@dataclass
class Site:
    url: str
    home: Path
    fakes: Fakes
    store: BatchStore


@dataclass
class Window:
    """A labeller's page that notes errors and requests to other hosts."""

    page: Page
    context: BrowserContext
    wrong: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        self.page.goto(url)
        if self.page.locator("#sheet[open]").count():
            self.page.keyboard.press("Enter")
        return self.page


@pytest.fixture
def judged_site(tmp_path: Path) -> Iterator[Site]:
    home = tmp_path / "home"
    made = fakes(home)
    store = BatchStore(home / FILE)
    with serving(app(made.services)) as url:
        yield Site(url, home, made, store)
    store.close()


def window(browser: Browser, *, width: int = 1280, locale: str = "en-US", scheme: str = "light") -> Window:
    context = browser.new_context(
        locale=locale,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
        has_touch=width < 500,
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    opened = Window(context.new_page(), context)
    opened.page.on("pageerror", lambda error: opened.wrong.append(f"error: {error}"))
    opened.page.on("console", lambda m: opened.wrong.append(m.text) if m.type in ("error", "warning") else None)
    return opened


def check_access(page: Page, place: str) -> None:
    """Run axe-core, where it is installed, and check for words that run out of the page."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
    if not AXE.is_file():
        return
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations)")
    brief = [(v["id"], [node["target"] for node in v["nodes"]][:3]) for v in found]
    assert brief == [], f"{place}: {json.dumps(brief)}"
