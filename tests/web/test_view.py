"""Small parts of the pages: figures, JSON within HTML, assets, events, and what a page knows of its client."""

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from kaiwa.web.events import Shutdown, changes, event
from kaiwa.web.services import ModelCard
from kaiwa.web.view import about, asset, client_of, duration, figure, script_json, size, starters


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123456789, "123 MB"), (7.3e9, "7.3 GB")]
)
def test_sizes(n_bytes: float, text: str) -> None:
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12.345, "12.3"), (1500, "1.5k"), (135e6, "135M"), (1.7e9, "1.7B"), (-2500, "-2.5k")]
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0:00"), (59.6, "1:00"), (254, "4:14"), (3905, "1:05:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_json_in_a_page_ends_no_script() -> None:
    value = {"text": "</script><script>alert(1)</script> & 海"}
    written = script_json(value)
    assert "<" not in written
    assert json.loads(written) == value


def test_an_assets_address_changes_with_its_bytes() -> None:
    path, _, mark = asset("chat.js").partition("?")
    assert path == "/static/chat.js"
    assert len(mark) == 10
    assert asset("chat.css").partition("?")[2] != mark


def test_texts_of_a_model_in_a_language_it_speaks() -> None:
    card = ModelCard(name="m", about={"en": "English only."}, languages=("en",), starters={"en": ["Hi"], "ja": []})
    assert about(card, "ja") == "English only."
    assert starters(card, "ja") == ["Hi"]
    both = ModelCard(name="m", starters={"en": ["Hi"], "ja": ["やあ"]}, languages=("en", "ja"))
    assert starters(both, "ja") == ["やあ"]
    assert about(ModelCard(name="m"), "en") == ""
    assert starters(ModelCard(name="m"), "en") == []


def test_whom_an_answer_counts_for() -> None:
    def request(scope: dict[str, Any], host: str | None) -> Any:
        return SimpleNamespace(scope=scope, client=SimpleNamespace(host=host) if host else None)

    assert client_of(request({"kaiwa.who": "the key"}, "10.0.0.1")) == "the key"
    assert client_of(request({}, "10.0.0.1")) == "10.0.0.1"
    assert client_of(request({}, None)) == ""


def test_an_event_with_its_name_and_id() -> None:
    assert event({"text": "a\nb"}, name="text", id="7") == 'event: text\nid: 7\ndata: {"text": "a\\nb"}\n\n'


def test_only_changes_are_sent_and_a_shutdown_ends_the_stream() -> None:
    values = iter([1, 1, 2, 2, 2, 3])

    async def run() -> list[str]:
        shutdown = Shutdown()

        def look() -> Mapping[str, Any]:
            value = next(values)
            if value == 3:
                shutdown.begin()
            return {"value": value}

        return [line async for line in changes(look, shutdown, 0.001)]

    found = asyncio.run(run())
    assert [json.loads(line.removeprefix("data: "))["value"] for line in found] == [1, 2, 3]


def test_a_shutdown_wakes_who_waits() -> None:
    async def run() -> tuple[bool, bool]:
        shutdown = Shutdown()
        before = await shutdown.begins_within(0.001)
        waiting = asyncio.ensure_future(shutdown.begins_within(60))
        await asyncio.sleep(0)
        shutdown.begin()
        return before, await asyncio.wait_for(waiting, 5)

    assert asyncio.run(run()) == (False, True)
