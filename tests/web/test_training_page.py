"""The page of fine-tuning jobs: what it shows, what a form cancels, and the real server's jobs behind it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi.testclient import TestClient

from kaiwa.core.errors import UserError
from kaiwa.web.services import TuningJob

from .fake import app, fakes

RUNNING = TuningJob(
    id="ftjob-1", status="running", model="smollm2", method="dpo", suffix="polite", seconds_left=254.0,
    events=("step 3/9: loss 1.2", "<b>training started</b>"),
)  # fmt: skip
DONE = TuningJob(id="ftjob-2", status="succeeded", model="toy", method="supervised", trained="ft:toy:x:1", tokens=4321)
FAILED = TuningJob(id="ftjob-3", status="failed", model="toy", method="reward", error="the file has 1 example")


@dataclass
class FakeTuning:
    found: list[TuningJob] = field(default_factory=lambda: [RUNNING, DONE, FAILED])
    cancelled: list[str] = field(default_factory=list)

    def jobs(self, events: int, scope: Mapping[str, object]) -> Sequence[TuningJob]:
        return self.found

    def cancel(self, id: str) -> None:
        if id != "ftjob-1":
            raise UserError(f"{id} is succeeded already")
        self.cancelled.append(id)


def test_jobs_are_shown_and_a_running_one_can_be_cancelled(tmp_path: Path) -> None:
    tuning = FakeTuning()
    with TestClient(app(replace(fakes(tmp_path).services, tuning=tuning))) as client:
        page = client.get("/training").text
        for told in ("polite", "4:14 left", "step 3/9: loss 1.2", "ft%3Atoy%3Ax%3A1", "the file has 1 example"):
            assert told in page
        assert "<b>training started" not in page, "what a job says is text"
        assert page.count("/cancel") == 1
        assert 'aria-current="page">Training' in page
        part = client.get("/training/jobs", headers={"accept-language": "ja"}).text
        assert "学習中" in part
        assert "<html" not in part
        answer = client.post("/training/ftjob-1/cancel", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/training")
        assert tuning.cancelled == ["ftjob-1"]
        assert client.post("/training/ftjob-2/cancel").status_code == 400


def test_without_jobs_it_says_how_to_begin(tmp_path: Path) -> None:
    for tuning in (None, FakeTuning(found=[])):
        with TestClient(app(replace(fakes(tmp_path).services, tuning=tuning))) as client:
            assert "/v1/fine_tuning/jobs" in client.get("/training").text


def test_the_servers_own_jobs_come_to_the_page(tmp_path: Path) -> None:
    from kaiwa.commands.page_services import PageTuning
    from kaiwa.serve.tuning.jobs import FineTuning

    folder = tmp_path / "fine_tuning" / "ftjob-abc"
    folder.mkdir(parents=True)
    job = {
        "name": "ft:toy:kind:abc", "model": "toy", "method": "dpo", "created_at": 1.0, "hyperparameters": {},
        "training_file": "file-1", "validation_file": None, "seed": 0, "suffix": "kind", "metadata": None,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "state.json").write_text(json.dumps({"status": "paused", "attempts": 1, "trained_tokens": 12}))
    (folder / "events.jsonl").write_text('{"created_at": 1, "level": "info", "message": "paused"}\n')
    tuning = PageTuning(FineTuning(tmp_path, list))
    (shown,) = tuning.jobs(5, {})
    assert not tuning.jobs(5, {"kaiwa.who": "key ada"}), "another key's"
    assert (shown.status, shown.suffix, shown.method, shown.tokens) == ("paused", "kind", "dpo", 12)
    assert list(shown.events) == ["paused"]
    tuning.cancel("ftjob-abc")
    assert tuning.jobs(5, {})[0].status == "cancelled"
