"""The fine-tuning client against a server made by hand."""

import json

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.training_api import TrainedModel, TrainingServer, training_rows
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task

ITEMS = (Item(id="1", input="q1", answer="a1"), Item(id="2", input="q2", answer="a2"))
TASK = Task(name="t", items=ITEMS, prompt=Prompt("Say."), form="text")


class Server:
    """Answers from a list of job statuses; remembers the requests."""

    def __init__(self, *statuses: dict[str, object]) -> None:
        self.statuses = list(statuses)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path.endswith("/files"):
            return httpx.Response(200, json={"id": "file-1"})
        if request.url.path.endswith("/events"):
            message = "step 3" if len(self.statuses) > 1 else ""
            return httpx.Response(200, json={"data": [{"message": message}] if message else []})
        if request.method == "POST":
            return httpx.Response(200, json={"id": "job-1"})
        return httpx.Response(200, json=self.statuses.pop(0))


def client(handler: object, **options: object) -> TrainingServer:
    return TrainingServer(
        "http://x/v1/",
        transport=httpx.MockTransport(handler),
        sleep=lambda seconds: None,
        **options,  # type: ignore[arg-type]
    )


def test_rows_are_chats_with_the_right_answer() -> None:
    assert training_rows(TASK, ITEMS[:1]) == [
        {"messages": [{"role": "user", "content": "Say.\n\nq1"}, {"role": "assistant", "content": "a1"}]}
    ]


def test_upload_and_start_send_what_the_protocol_says() -> None:
    server = Server()
    api = client(server, api_key="secret")
    assert api.upload([{"a": "日"}], "t.jsonl") == "file-1"
    job = api.start("base", "file-1", "supervised", hyperparameters={"n_epochs": 2}, suffix="s", seed=3)
    assert job == "job-1"
    upload, start = server.requests
    assert upload.headers["authorization"] == "Bearer secret"
    assert "日".encode() in upload.content
    assert b"fine-tune" in upload.content
    assert str(start.url) == "http://x/v1/fine_tuning/jobs"
    assert json.loads(start.content) == {
        "model": "base",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "suffix": "s",
        "seed": 3,
    }


def test_waiting_shows_each_line_once() -> None:
    done = {"status": "succeeded", "created_at": 10, "finished_at": 75, "fine_tuned_model": "ft", "trained_tokens": 99}
    server = Server({"status": "queued"}, {"status": "running"}, {"status": "running"}, done)
    lines: list[str] = []
    assert client(server).wait("job-1", lines.append) == TrainedModel(job="job-1", model="ft", tokens=99, seconds=65.0)
    assert lines == ["queued: step 3", "running: step 3", "running"]


@pytest.mark.parametrize("error", [{"message": "no memory"}, None])
def test_a_job_that_fails_says_why(error: object) -> None:
    server = Server({"status": "failed", "error": error})
    with pytest.raises(UserError, match=r"job-1 is failed: (no memory|no reason was given)"):
        client(server).wait("job-1")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(400, json={"error": {"message": "bad file"}}), "400: bad file"),
        (httpx.Response(404, json={"detail": "x"}), "404: {'detail': 'x'}"),
        (httpx.Response(500, json=["x"]), r"500: \['x'\]"),
        (httpx.Response(200, text="<html>"), "answered 200 and no JSON"),
    ],
)
def test_what_the_server_refuses(response: httpx.Response, message: str) -> None:
    with pytest.raises(UserError, match=message):
        client(lambda request: response).upload([], "x")


def test_a_server_that_is_not_there() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ConnectionError, match=r"x/v1/files: ConnectError: refused"):
        client(down).upload([], "x")
