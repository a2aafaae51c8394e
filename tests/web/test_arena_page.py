"""Page Arena over HTTP: blind pairs at one pace, votes once both have ended, the table, null tests, failures."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

import pytest

from kaiwa.core.errors import UserError
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import export_lines
from kaiwa.feedback.store import FILE
from kaiwa.text.records import Message
from kaiwa.text.shapes import comparison_of
from kaiwa.web.arena import ArenaGame, ArenaGames, draw_pair
from kaiwa.web.services import AnswerPiece, AnswerRequest

from .conftest import Site
from .fake import OWN, SMALL, FakeEngine

NAMES = (SMALL.name, OWN.name)


def played(site: Site, text: str = "Why?", **more: object) -> str:
    """Start a game and follow it to its end; its id. Nothing on the way names a model."""
    started = site.client.post("/arena/start", json={"text": text, **more})
    game = started.json()["game"]
    stream = site.client.get(f"/arena/{game}/live").text
    assert not any(name in started.text + stream for name in NAMES)
    assert "n_tokens" not in stream
    return game


def test_a_vote_names_the_models_and_is_one_comparison(site: Site) -> None:
    page = site.client.get("/arena").text
    assert not any(name in page for name in NAMES)
    assert "tok/s" not in re.sub(r'id="words">.*?</script>', "", page)
    game = played(site)
    vote = {"key": "a-key-of-the-browser", "vote": "left"}
    for _ in range(2):  # a double click
        answer = site.client.post(f"/arena/{game}/vote", json=vote)
        assert set(answer.json()["models"]) == set(NAMES)
    game = played(site)
    site.client.post(f"/arena/{game}/vote", json={"key": "another-key", "vote": "bad"})
    store = BatchStore(site.fakes.services.home / FILE)
    first, second = export_lines(store, "arena")
    assert comparison_of(first).ranks == (0, 1)
    assert first["completions"][0].startswith("Answer 1: ")
    assert (second["ranks"], second["meta"]["bad"]) == ([0, 0], True)
    table = site.client.get("/arena/table").text
    assert "1 : 0" in table
    assert "Win rates from judges" not in table


def test_a_vote_before_the_end_is_refused(site: Site) -> None:
    game = site.client.post("/arena/start", json={"text": "long"}).json()["game"]
    refused = site.client.post(f"/arena/{game}/vote", json={"key": "some-key-1", "vote": "left"})
    assert refused.status_code == 409
    assert "must have ended" in refused.json()["error"]
    assert site.client.post("/arena/none/vote", json={"key": "some-key-1", "vote": "left"}).status_code == 404
    assert site.client.post(f"/arena/{game}/vote", json={"key": "some-key-1", "vote": "up"}).status_code == 422


def test_a_model_that_fails_is_not_named_and_nothing_counts(site: Site) -> None:
    game = site.client.post("/arena/start", json={"text": "fail"}).json()["game"]
    stream = site.client.get(f"/arena/{game}/live").text
    assert "event: failed" in stream
    assert not any(name in stream for name in (*NAMES, "tokens"))
    refused = site.client.post(f"/arena/{game}/vote", json={"key": "some-key-1", "vote": "left"})
    assert "a new pair is drawn" in refused.json()["error"]


def test_one_model_twice_is_a_null_test(site: Site) -> None:
    alone = site.client.post("/arena/start", json={"text": "Why?", "models": [SMALL.name]})
    assert "needs two models" in alone.json()["error"]
    game = played(site, models=[SMALL.name], same=True)
    answer = site.client.post(f"/arena/{game}/vote", json={"key": "null-test-1", "vote": "tie"})
    assert answer.json()["models"] == [SMALL.name, SMALL.name]
    table = site.client.get("/arena/table").text
    assert "left 0, no winner 1, right 0" in table
    assert "No vote yet" in table


def test_a_chats_message_is_the_prompt(site: Site) -> None:
    sent = {"text": "Why is the sky blue?", "model": SMALL.name}
    html = site.client.post("/chat/send", json=sent).json()["html"]
    for _ in range(200):
        chats = BatchStore(site.fakes.services.home / FILE)
        (answer,) = chats.rows("SELECT id, state FROM messages WHERE role = 'assistant'")
        chats.close()
        if answer["state"] == "done":
            break
        time.sleep(0.02)
    assert "Why is the sky blue?" in html
    assert f"/arena?message={answer['id']}" in site.client.get(f"/chat/messages/{answer['id']}").text
    page = site.client.get(f"/arena?message={answer['id']}").text
    assert "Why is the sky blue?" in page
    played(site, text="", message=answer["id"])
    assert site.fakes.engine.asked[-1].messages[-1].content == "Why is the sky blue?"
    assert site.client.get("/arena?message=999").status_code == 404
    assert "empty" in site.client.post("/arena/start", json={"text": "  "}).json()["error"]


def test_judges_win_rates_stand_beside_the_votes(site: Site) -> None:
    folder = site.runs / "tiny"
    folder.mkdir(parents=True)
    rate = {"mean": 0.61, "low": 0.52, "high": 0.7, "n": 100}
    (folder / "report.json").write_text(json.dumps({"models": [{"name": "ppo_ptx", "win_rate_vs_sft": rate}]}))
    table = site.client.get("/arena/table").text
    assert "tiny/ppo_ptx" in table
    assert "61 %" in table
    assert "never mixed" in table


def test_sides_are_drawn_evenly() -> None:
    pairs = [draw_pair(["a", "b", "c"], same=False) for _ in range(3000)]
    assert all(one != other for one, other in pairs)
    for name in "abc":
        left = sum(one == name for one, _ in pairs)
        right = sum(other == name for _, other in pairs)
        assert 850 < left < 1150
        assert 850 < right < 1150
    with pytest.raises(UserError, match="needs two models"):
        draw_pair(["a"], same=False)


def test_both_answers_come_at_one_pace() -> None:
    """One model a hundred times slower: until the end of one, both columns have the same number of characters."""

    class Uneven(FakeEngine):
        async def answer(self, ask: AnswerRequest) -> AsyncIterator[AnswerPiece]:
            for _ in range(30):
                yield AnswerPiece(text="words " if ask.model == "fast" else "w", n_tokens=1)
                await asyncio.sleep(0 if ask.model == "fast" else 0.01)
            yield AnswerPiece(finish_reason="stop")

    async def scene() -> list[tuple[int, str]]:
        games = ArenaGames(Uneven())
        game = games.begin((Message("user", "q"),), ("fast", "slow"), "")
        return [piece async for piece in games.follow(game)]

    counts = [0, 0]
    ends = {0: 180, 1: 30}
    for side, text in asyncio.run(scene()):
        counts[side] += len(text)
        if counts[1] < ends[1]:
            assert abs(counts[0] - counts[1]) <= 12
    assert counts == [180, 30]


def test_a_lost_connection_gets_the_whole_pair_again() -> None:
    async def scene() -> list[str]:
        games = ArenaGames(FakeEngine(delay=0))
        game: ArenaGame = games.begin((Message("user", "q"),), ("a", "b"), "")
        texts = []
        for _ in range(2):
            sides = ["", ""]
            async for side, text in games.follow(game):
                sides[side] += text
            texts.append("|".join(sides))
        return texts

    one, two = asyncio.run(scene())
    assert one == two
