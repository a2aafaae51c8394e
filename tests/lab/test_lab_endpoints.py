"""Servers that break in every way: one clear line an item, the run goes on; keys never reach a file."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.client import HTTPChatModel
from kaiwa.text.records import Message

KEY = "sk-very-secret"
GOOD = {"choices": [{"message": {"content": "positive"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
TASK = generate_task("sentiment-en", 8)
BROKEN: dict[str, Callable[[], httpx.Response]] = {
    "500": lambda: httpx.Response(500, text=f"boom, key was {KEY}"),
    "HTML": lambda: httpx.Response(200, html="<html>Sign in</html>"),
    "half a JSON": lambda: httpx.Response(200, text='{"choices": [{"mess'),
    "nothing": lambda: httpx.Response(200, text=""),
    "no choices": lambda: httpx.Response(200, json={"choices": []}),
    "a list": lambda: httpx.Response(200, json=[1]),
    "401": lambda: httpx.Response(401, json={"error": {"message": f"wrong key {KEY}"}}),
}


def model(answer: Callable[[httpx.Request], httpx.Response], waits: list[float] | None = None) -> HTTPChatModel:
    sleep = (waits if waits is not None else []).append
    return HTTPChatModel("http://x/v1", "m", api_key=KEY, transport=httpx.MockTransport(answer), sleep=sleep)


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_answer_fails_its_item_only(how: str, tmp_path: Path) -> None:
    broken = TASK.items[2]

    def answer(request: httpx.Request) -> httpx.Response:
        return BROKEN[how]() if broken.input in request.content.decode() else httpx.Response(200, json=GOOD)

    made = Experiment(name="t", tasks=(TASK,), arms=(Arm(name="zero", technique=ZeroShot()),))
    outcomes = run(made, model(answer), tmp_path / "calls.jsonl")
    failed = [outcome for outcome in outcomes if outcome.error]
    assert [outcome.id for outcome in failed] == [broken.id]
    assert failed[0].error.startswith(f"item {broken.id}: ")
    assert "\n" not in failed[0].error
    assert KEY not in failed[0].error
    assert KEY not in (tmp_path / "calls.jsonl").read_text()
    assert sum(outcome.n_prompt for outcome in outcomes) == 9 * 7


def test_many_requests_side_by_side_come_with_their_index() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["messages"][0]["content"]
        return httpx.Response(200, json={"choices": [{"message": {"content": asked}}]})

    asks = [GenerateCall(prompt=(Message("user", f"q{i}"),)) for i in range(30)]
    found = dict(model(answer).generate_many(asks))
    assert {i: c.text for i, c in found.items() if not isinstance(c, Exception)} == {i: f"q{i}" for i in range(30)}


def test_a_rate_limit_spaces_the_starts() -> None:
    waits: list[float] = []
    made = HTTPChatModel(
        "http://x/v1",
        "m",
        per_minute=600,
        concurrency=1,
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json=GOOD)),
        sleep=waits.append,
    )
    for _ in range(4):
        made.generate((Message("user", "q"),))
    assert len(waits) == 3
    assert waits[-1] == pytest.approx(0.3, abs=0.2)


def test_servers_do_not_score_messages() -> None:
    with pytest.raises(UserError, match="plain text only"):
        model(lambda request: httpx.Response(200, json=GOOD)).score((Message("user", "q"),), "a")
