"""Chat without a browser: what is stored, streamed, stopped, escaped and refused."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kaiwa.feedback.store import Store
from kaiwa.text.sampling import Sampling
from kaiwa.web import markdown
from kaiwa.web.answers import AnswersInProgress, AnswerUpdate
from kaiwa.web.chat import MORE_PARAMETERS
from kaiwa.web.services import AnswerPiece, AnswerRequest

from .conftest import Site
from .fake import ANSWER, LONG, FakeEngine

MODEL = "smollm2-135m-instruct"


def send(site: Site, text: str, **more: Any) -> dict[str, Any]:
    answer = site.client.post("/chat/send", json={"text": text, "model": MODEL, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(html: str) -> list[int]:
    return [int(i) for i in re.findall(r'id="m(\d+)"', html)]


def wait(site: Site, message: int) -> str:
    """The message's HTML once it is no longer streaming."""
    for _ in range(400):
        html = site.client.get(f"/chat/messages/{message}").text
        if 'data-state="streaming"' not in html:
            return html
        time.sleep(0.02)
    raise AssertionError("the answer never ended")


def test_a_message_is_answered_stored_and_rendered_safely(site: Site) -> None:
    sent = send(site, "どうして空は青いの？ <img src=x>")
    _, answer = ids(sent["html"])
    html = wait(site, answer)
    assert "<strong>光が散る</strong>" in html
    assert '<span class="k">def</span>' in html
    assert "<script>" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    page = site.client.get(f"/chat/{sent['chat']}").text
    assert "どうして空は青いの？ &lt;img src=x&gt;" in page
    assert "unsafe" not in site.client.get("/chat").headers["content-security-policy"]


def test_settings_reach_the_engine_and_the_record(site: Site) -> None:
    settings = {"system": "Be brief.", "temperature": 0, "top_p": 0.5, "max_tokens": 9, "seed": 42}
    sent = send(site, "hello", settings=settings)
    html = wait(site, ids(sent["html"])[-1])
    ask = site.fakes.engine.asked[0]
    assert [(m.role, m.content) for m in ask.messages] == [("system", "Be brief."), ("user", "hello")]
    assert ask.sampling == Sampling(temperature=0, top_p=0.5, max_tokens=9, seed=42)
    assert "seed 42" in html
    assert 'value="42"' in site.client.get(f"/chat/{sent['chat']}").text


def test_an_answer_says_how_many_turns_the_model_saw(site: Site) -> None:
    html = wait(site, ids(send(site, "many turns")["html"])[-1])
    assert "it saw the newest 3 of 5 turns" in html
    assert "it saw" not in wait(site, ids(send(site, "hello")["html"])[-1])


def test_every_sampling_parameter_can_be_sent(site: Site) -> None:
    more = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    assert set(more) == set(MORE_PARAMETERS)
    sent = send(site, "hello", settings={"temperature": 0.3, "seed": 1, "more": more})
    wait(site, ids(sent["html"])[-1])
    expected = Sampling(temperature=0.3, top_p=0.95, max_tokens=512, seed=1, **more)  # type: ignore[arg-type]
    assert site.fakes.engine.asked[0].sampling == expected
    page = site.client.get("/chat").text
    assert all(f'data-more="{name}"' in page for name in MORE_PARAMETERS)


@pytest.mark.parametrize(
    ("more", "part"), [({"top_kk": 1}, "did you mean 'top_k'"), ({"min_p": 2}, "min_p is 2.0; it must be from 0 to 1")]
)
def test_a_bad_sampling_parameter_is_one_line(site: Site, more: dict[str, float], part: str) -> None:
    answer = site.client.post("/chat/send", json={"text": "x", "model": MODEL, "settings": {"more": more}})
    assert answer.status_code == 400
    assert part in answer.text


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999", "2.5"])
def test_a_count_that_is_no_whole_number_is_one_line(site: Site, number: str) -> None:
    body = f'{{"text": "x", "model": "{MODEL}", "settings": {{"more": {{"top_k": {number}}}}}}}'
    answer = site.client.post("/chat/send", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "it must be a whole number" in answer.text


def test_versions(site: Site) -> None:
    sent = send(site, "one")
    question, first = ids(sent["html"])
    wait(site, first)
    body = {"text": "", "model": MODEL}
    again = site.client.post(f"/chat/messages/{first}/again", json=body).json()
    (second,) = ids(again["html"])
    assert again["parent"] == question
    assert "2/2" in wait(site, second)
    flipped = site.client.post(f"/chat/messages/{first}/flip").json()
    assert ids(flipped["html"]) == [first]
    edited = site.client.post(f"/chat/messages/{question}/edit", json={"text": "uno", "model": MODEL}).json()
    assert len(ids(edited["html"])) == 2
    wait(site, ids(edited["html"])[1])
    assert [m.content for m in site.fakes.engine.asked[-1].messages] == ["uno"]
    wrong = site.client.post(f"/chat/messages/{question}/again", json=body)
    assert wrong.status_code == 400


def test_stop_cancels_and_keeps_what_came(site: Site) -> None:
    answer = ids(send(site, "long")["html"])[-1]
    time.sleep(0.3)
    assert site.client.post(f"/chat/messages/{answer}/stop").status_code == 200
    html = site.client.get(f"/chat/messages/{answer}").text
    assert 'data-state="stopped"' in html
    assert "これは長い" in html
    assert site.fakes.engine.cancelled == 1
    assert site.fakes.engine.working == 0


def test_a_failure_says_why_and_keeps_half(site: Site) -> None:
    html = wait(site, ids(send(site, "fail")["html"])[-1])
    assert 'data-state="failed"' in html
    assert "2,048 tokens" in html
    assert "half" in html


def test_live_stream_begins_where_the_browser_is(site: Site) -> None:
    answer = ids(send(site, "hello")["html"])[-1]
    with site.client.stream("GET", f"/chat/messages/{answer}/live?at=5") as lines:
        events = "".join(lines.iter_text()).split("\n\n")
    texts = [json.loads(e.split("data: ")[1])["text"] for e in events if "event: text" in e]
    assert "".join(texts) == f"Answer 1: {ANSWER}"[5:]
    assert events[-2].startswith("event: over")
    with site.client.stream("GET", f"/chat/messages/{answer}/live") as lines:
        assert "event: over" in "".join(lines.iter_text())  # a finished one is over at once


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/send", {"text": "  ", "model": MODEL}),
        ("/chat/send", {"text": "x", "model": "nope"}),
        ("/chat/send", {"text": "x", "model": MODEL, "chat": 999}),
        ("/chat/messages/999/stop", {}),
        ("/chat/999/rename", {"title": "x"}),
        ("/chat/send", {"text": "x", "model": MODEL, "settings": {"temperature": 9}}),
    ],
)
def test_bad_requests_are_one_clear_line(site: Site, path: str, body: dict[str, Any]) -> None:
    answer = site.client.post(path, json=body)
    assert answer.status_code in (200, 400, 422)
    if "stop" not in path:
        assert answer.status_code >= 400
    assert site.client.get("/chat/lines").text.count("<li") == 0  # nothing was left behind


def test_list_search_rename_delete_undo(site: Site) -> None:
    chat = send(site, "空の色の話")["chat"]
    send(site, "recipes")
    assert site.client.get("/chat/lines").text.count("<li") == 2
    assert site.client.get("/chat/lines", params={"q": "空の色"}).text.count("<li") == 1
    site.client.post(f"/chat/{chat}/rename", json={"title": "<b>Sky</b>"})
    assert "&lt;b&gt;Sky&lt;/b&gt;" in site.client.get("/chat/lines").text
    site.client.post(f"/chat/{chat}/delete")
    assert site.client.get(f"/chat/{chat}").status_code == 404
    site.client.post(f"/chat/{chat}/undo")
    assert site.client.get(f"/chat/{chat}").status_code == 200


def test_pages_follow_the_language(site: Site) -> None:
    assert '<html lang="ja"' in site.client.get("/chat", headers={"accept-language": "ja"}).text
    site.client.cookies.set("kaiwa_language", "ja")
    page = site.client.get("/chat").text
    assert "新しいチャット" in page
    for path in ("/build", "/models", "/chat/77"):
        assert '<html lang="ja"' in site.client.get(path).text


def test_the_client_is_small() -> None:
    root = Path(__file__).parents[2] / "kaiwa"
    files = [p for room in ("web", "report") for p in (root / room / "static").iterdir()]
    assert sum(p.stat().st_size for p in files) < 110_000
    assert all(len(p.read_text(encoding="utf-8").splitlines()) <= 400 for p in files)


class Slow(FakeEngine):
    """Waits at a gate before each character."""

    async def answer(self, ask: AnswerRequest) -> AsyncIterator[AnswerPiece]:
        yield AnswerPiece(waiting="loading")
        for character in "青い空です":
            await asyncio.sleep(0.01)
            yield AnswerPiece(text=character, n_tokens=1)


def test_followers_see_all_of_it_and_a_leaving_one_stops_nothing(tmp_path: Path) -> None:
    async def scene() -> tuple[list[AnswerUpdate], str, str]:
        store = Store(tmp_path / "x.sqlite")
        answers = AnswersInProgress(store, Slow())
        chat = store.create()
        question = store.append(chat, None, "user", "?")
        message = store.append(chat, question, "assistant", streaming=True)
        answers.begin(message, AnswerRequest(model="m", messages=(), sampling=Sampling(max_tokens=9)))
        async for news in answers.follow(message, 0):
            if news.text:
                break  # this one leaves
        seen = [news async for news in answers.follow(message, 0)]
        end = store.message(message)
        return seen, end.content, end.state

    seen, content, state = asyncio.run(scene())
    assert "".join(news.text for news in seen) == "青い空です" == content
    assert seen[-1].over
    assert state == "done"


def test_closing_the_server_keeps_what_came(tmp_path: Path) -> None:
    async def scene() -> tuple[str, str]:
        store = Store(tmp_path / "x.sqlite")
        answers = AnswersInProgress(store, FakeEngine())
        chat = store.create()
        question = store.append(chat, None, "user", "?")
        message = store.append(chat, question, "assistant", streaming=True)
        messages = [type("M", (), {"role": "user", "content": "long"})()]
        answers.begin(message, AnswerRequest(model="m", messages=messages, sampling=Sampling(max_tokens=9)))
        await asyncio.sleep(0.2)
        await answers.close()
        end = store.message(message)
        return end.content, end.state

    content, state = asyncio.run(scene())
    assert LONG.startswith(content)
    assert content
    assert state == "stopped"


@pytest.mark.parametrize(
    ("text", "has", "has_not"),
    [
        ("<b>x</b>", "&lt;b&gt;", "<b>"),
        ("[a](https://e.org)", 'rel="noopener noreferrer nofollow"', "javascript"),
        ("![a](https://e.org/a.png)", "<a ", "<img"),
        ("```nosuchlanguage\n<x>\n```", "&lt;x&gt;", "<x>"),
        ("| a |\n|---|\n| b |", "<td>b</td>", "|"),
        ("[x](data:text/html,hi)", "[x]", "href"),
    ],
)
def test_markdown(text: str, has: str, has_not: str) -> None:
    html = markdown.render(text)
    assert has in html
    assert has_not not in html
