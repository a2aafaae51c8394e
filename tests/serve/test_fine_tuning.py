"""The unmodified openai client trains here; jobs survive kills, wait for their turn, stop and go on."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.commands import tune
from kaiwa.commands.tune import train
from kaiwa.core.artifact import DISK_FULL
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.serve.tuning.job_folder import JobFolder
from kaiwa.serve.tuning.job_plan import TuningRequest
from kaiwa.serve.tuning.jobs import FineTuning, model_name
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from tests.running_server import Running, make_model

ANSWERS = [
    {"messages": [{"role": "user", "content": f"the cat {i}"}, {"role": "assistant", "content": "dog"}]}
    for i in range(12)
]
PREFERENCES = [
    {
        "input": {"messages": [{"role": "user", "content": f"the cat {i}"}]},
        "preferred_output": [{"role": "assistant", "content": "dog"}],
        "non_preferred_output": [{"role": "assistant", "content": "mat mat"}],
    }
    for i in range(12)
]


def as_file(rows: list[dict[str, Any]]) -> tuple[str, bytes]:
    return "mine.jsonl", "\n".join(json.dumps(row) for row in rows).encode()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are not put last here: on a busy machine the tests would wait for ever."""
    monkeypatch.setattr("kaiwa.serve.tuning.jobs.NICE", 0)
    monkeypatch.setattr("kaiwa.serve.tuning.jobs.lower_session_priority", lambda pid: None)


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_the_openai_client_trains_and_talks_to_what_came_of_it(server: Running, client: openai.OpenAI) -> None:
    file = client.files.create(file=as_file(ANSWERS), purpose="fine-tune")
    assert client.files.content(file.id).content == as_file(ANSWERS)[1]
    assert file.id in [f.id for f in client.files.list(purpose="fine-tune")]
    hyper: Any = {"n_epochs": 12, "batch_size": 4, "learning_rate_multiplier": 20}
    job = client.fine_tuning.jobs.create(
        model="toy/ppo", training_file=file.id, validation_file=file.id, suffix="dogs", seed=3, metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": hyper}},
    )  # fmt: skip
    assert job.status in ("queued", "running")
    assert job.hyperparameters.n_epochs == 12
    server.wait(lambda: client.fine_tuning.jobs.retrieve(job.id).status in ("succeeded", "failed"), 300)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded", done.error
    assert done.trained_tokens
    assert done.trained_tokens > 12 * 12
    assert done.fine_tuned_model == model_name("toy/ppo", "dogs", job.id)
    assert done.fine_tuned_model in [model.id for model in client.models.list()]
    said = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "the cat 3"}], temperature=0, max_tokens=9
    )
    assert (said.choices[0].message.content or "").startswith("dog")
    events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
    assert events[0].message.startswith("finished")
    assert events[-1].message.startswith("created")
    losses = [e.data["train_loss"] for e in events if e.type == "metrics" and "train_loss" in (e.data or {})]
    assert len(losses) == 36
    assert losses[0] < losses[-1] / 2
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert checkpoint.fine_tuned_model_checkpoint == done.fine_tuned_model
    assert checkpoint.step_number == 36
    assert checkpoint.metrics.valid_loss
    assert client.files.content(done.result_files[0]).text.startswith("step,")
    assert [j.id for j in client.fine_tuning.jobs.list(metadata={"a": "b"})] == [job.id]
    with pytest.raises(openai.BadRequestError, match="already"):
        client.fine_tuning.jobs.cancel(job.id)
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete("toy/ppo")
    assert client.models.delete(done.fine_tuned_model).deleted
    assert done.fine_tuned_model not in [model.id for model in client.models.list()]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_what_is_wrong_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="line 3: not JSON") as found:
        client.files.create(file=("x.jsonl", b"{}\n\n{broken\n"), purpose="fine-tune")
    assert found.value.param == "file"
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.files.create(file=("x.jsonl", b"\n"), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError) as found:
        client.files.create(file=("x.jsonl", b"{}"), purpose="assistants")
    assert found.value.param == "purpose"
    bad = [*ANSWERS[:4], {"messages": [{"role": "user", "content": "no answer"}]}]
    file = client.files.create(file=as_file(bad), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="line 5: messages: the last one is the user's") as found:
        client.fine_tuning.jobs.create(model="toy/ppo", training_file=file.id)
    assert (found.value.param, found.value.code) == ("training_file", "invalid_training_file")
    with pytest.raises(openai.BadRequestError, match=r"line 1: no preference in it \(its columns: messages;"):
        client.fine_tuning.jobs.create(model="toy/ppo", training_file=file.id, method={"type": "dpo"})
    with pytest.raises(openai.NotFoundError, match="toy/pp"):
        client.fine_tuning.jobs.create(model="toy/pp", training_file=file.id)
    with pytest.raises(openai.BadRequestError, match="no file"):
        client.fine_tuning.jobs.create(model="toy/ppo", training_file="file-none")
    for wrong in ({"suffix": "../up"}, {"method": {"type": "magic"}}, {"hyperparameters": {"epochs": 3}}, {"seed": -1}):
        with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)):
            client.fine_tuning.jobs.create(model="toy/ppo", training_file=file.id, **wrong)  # type: ignore[arg-type]
    for id in ("ftjob-none", "../x", "%2e%2e"):
        with pytest.raises(openai.NotFoundError):
            client.fine_tuning.jobs.retrieve(id)
    assert httpx.post(f"{client.base_url}files", content=b"x").status_code == 400


STUB = """
import fcntl, json, os, signal, sys, time
from collections.abc import Iterator
from pathlib import Path
from kaiwa.serve.tuning.job_folder import JobFolder
folder = JobFolder(Path(sys.argv[-1]))
lock = open(folder.path / ".lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); lock.write(str(os.getpid())); lock.flush()
stop = []
signal.signal(signal.SIGINT, lambda *_: stop.append(1))
step = folder.state().get("done", 0)
while not (folder.path / "finish").exists():
    step += 1
    folder.change(done=step, total=99, pid=os.getpid()); time.sleep(0.02)
    if stop: folder.change(stopped=True); sys.exit(130)
    if (folder.path / "die").exists(): os._exit(9)
folder.change(status="succeeded", finished_at=1)
"""


@pytest.fixture
def tuning(tmp_path: Path) -> Iterator[FineTuning]:
    (tmp_path / "stub.py").write_text(STUB)
    make_model(tmp_path / "toy", "sft")
    entry = read_entry(tmp_path / "toy", "toy")
    assert entry is not None
    made = FineTuning(tmp_path, lambda: [entry], [sys.executable, str(tmp_path / "stub.py")])
    with open(tmp_path / "data", "wb") as f:
        f.write(as_file(ANSWERS)[1])
    with open(tmp_path / "data", "rb") as f:
        made.files.add("mine.jsonl", "fine-tune", f, "file-1")
    yield made
    made.close()
    for child in made.children.values():
        child.kill()


def wait(done: Any) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_jobs_take_turns_stop_and_go_on(tuning: FineTuning) -> None:
    ask = TuningRequest(model="toy", training_file="file-1")
    first, second = tuning.create(ask), tuning.create(ask)
    wait(lambda: first.state().get("done"))
    assert (first.to_json()["status"], second.to_json()["status"]) == ("running", "queued")
    tuning.stop(first.id, "pause")
    wait(lambda: first.state()["status"] == "paused")
    wait(lambda: second.state().get("done"))
    os.kill(second.state()["pid"], signal.SIGKILL)  # a crash: it goes on where it was
    reached = second.state()["done"]
    wait(lambda: second.state()["attempts"] == 2 and second.state()["done"] > reached)
    assert any(e["level"] == "warn" for e in second.events())
    tuning.stop(second.id, "cancel")
    wait(lambda: second.state()["status"] == "cancelled")
    with pytest.raises(UserError, match="cancelled already"):
        tuning.stop(second.id, "cancel")
    with pytest.raises(UserError, match="only a paused"):
        tuning.resume(second.id)
    tuning.resume(first.id)
    wait(lambda: first.state()["status"] == "running")
    tuning.close()  # another server finds it running, lets it run, and sees its end
    later = FineTuning(tuning.home, tuning.models, tuning.command)
    wait(lambda: first.state().get("pid"))
    assert later.update()
    (first.path / "finish").touch()
    wait(lambda: not later.update() and first.to_json()["status"] == "succeeded")
    assert first.to_json()["fine_tuned_model"] == model_name("toy", "", first.id)


def test_a_process_that_always_dies_is_given_up(tuning: FineTuning) -> None:
    job = tuning.create(TuningRequest(model="toy", training_file="file-1"))
    (job.path / "die").touch()
    wait(lambda: job.state()["status"] == "failed")
    told = job.to_json()
    assert told["error"]["code"] == "server_error"
    assert "3 times" in told["error"]["message"]


@pytest.mark.parametrize("method", ["supervised", "dpo", "soft_prompt", "reward"])
def test_every_method_learns(tuning: FineTuning, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process; supervised and dpo as a low-rank change, merged at the end."""
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "update", lambda: False)
    (tmp_path / "data").write_bytes(as_file(ANSWERS if method in ("supervised", "soft_prompt") else PREFERENCES)[1])
    with open(tmp_path / "data", "rb") as f:
        tuning.files.add("mine.jsonl", "fine-tune", f, "file-2")
    rank = {"lora_rank": 8} if method in ("supervised", "dpo") else {}
    hyper = {"n_epochs": 25, "batch_size": 6, "learning_rate_multiplier": 20, **rank}
    asked = {"type": method, method: {"hyperparameters": hyper}}
    job = tuning.create(TuningRequest(model="toy", training_file="file-2", seed=0, method=asked))  # type: ignore[arg-type]
    made = train(job.job(), job.path, Context(seed=0, logs=job.path / "logs"))
    rows = [row["loss"] for row in job.log_rows() if "loss" in row]
    assert rows[-1] < (1 if method == "soft_prompt" else 0.5) * rows[0]  # a soft prompt cannot teach a random model
    if method in ("reward", "soft_prompt"):
        return
    entry = read_entry(made.path, "tuned")
    assert entry is not None
    assert entry.chat
    assert entry.starters["en"][0] == "the cat 0"
    assert (made.path / "adapter" / "adapter_config.json").is_file() == bool(rank)
    before, after = (LocalChatModel(load(e)) for e in (tuning.models()[0], entry))
    question = (Message("user", "the cat 50"),)
    assert sum(after.score(question, "dog")) > sum(before.score(question, "dog")) + 1
    if method != "dpo":
        assert after.generate(question, Sampling(temperature=0, max_tokens=8)).text.startswith("dog")


def test_the_watcher_outlives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """States cannot be written for a while; then jobs go on."""
    jobs = FineTuning(tmp_path, list)
    calls: list[int] = []

    def update() -> bool:
        calls.append(1)
        if len(calls) < 3:
            raise OSError(28, "No space left on device")
        return False

    monkeypatch.setattr(jobs, "update", update)
    monkeypatch.setattr("kaiwa.serve.tuning.jobs.UPDATE_SECONDS", 0.01)
    jobs.watch()
    deadline = time.monotonic() + 5
    while jobs._watching is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (len(calls), jobs._watching) == (3, None)


def test_a_job_that_fills_the_disk_names_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its training file, which is well."""
    folder = JobFolder(tmp_path / "ftjob-1")
    folder.path.mkdir()
    (folder.path / "job.json").write_text(json.dumps({"seed": 1, "created_at": 1}))
    folder.change(status="queued", attempts=0)

    def fail(*_: Any) -> None:
        raise UserError("x: the disk is full; free some space and run the same command again", code=DISK_FULL)

    monkeypatch.setattr(tune, "train", fail)
    with pytest.raises(UserError):
        tune.train_job(folder)
    state = folder.state()
    assert state["status"] == "failed"
    assert (state["error"]["code"], state["error"]["param"]) == ("insufficient_storage", None)
    assert "disk is full" in state["error"]["message"]
