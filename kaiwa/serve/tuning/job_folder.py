"""A fine-tuning job on disk: KAIWA_HOME/fine_tuning/JOB.

    job.json        the request and its plan; written once, before the job is listed
    state.json      {"status", "attempts", "started_at", "finished_at", "error", …}, replaced whole
    wish            "cancel" or "pause": a person's request to a running job
    events.jsonl    an event per line; logs/*.jsonl: the stage's metrics
    train.jsonl     the converted training file; train.log: the output of the training process

A running training process writes state.json and holds the folder's lock; otherwise the server writes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import write_atomic
from kaiwa.core.metrics import read_metrics
from kaiwa.serve.http.bounded_json import JSONObject

TERMINAL = ("succeeded", "failed", "cancelled")
JOB, STATE, WISH, EVENTS = "job.json", "state.json", "wish", "events.jsonl"
OPENAI_NAMES = {  # our metrics -> their names in OpenAI's events
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "held_out_loss": "valid_loss",
    "held_out_accuracy": "valid_accuracy",
}


NOT_SHOWN = ("time", "tokens_per_second")


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of a job; its name is the job's id."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def owner(self) -> str:
        """The name of the key that asked for the job, "" for one without a name."""
        return str(self.job().get("owner", ""))

    def job(self) -> dict[str, Any]:
        """Read job.json."""
        value: dict[str, Any] = json.loads((self.path / JOB).read_text(encoding="utf-8"))
        return value

    def state(self) -> dict[str, Any]:
        """Read state.json; a job without the file is queued."""
        try:
            value: dict[str, Any] = json.loads((self.path / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            value = {"status": "queued", "attempts": 0}
        return value

    def change(self, **fields: object) -> dict[str, Any]:
        """Replace fields of state.json, and return the whole state."""
        value = self.state() | fields
        write_atomic(self.path / STATE, json.dumps(value, ensure_ascii=False))
        return value

    @property
    def wish(self) -> str:
        """A person's request: "cancel", "pause" or ""."""
        with contextlib.suppress(OSError):
            return (self.path / WISH).read_text(encoding="utf-8").strip()
        return ""

    def say(self, message: str, level: str = "info") -> None:
        """Append an event."""
        line = json.dumps({"created_at": time.time(), "level": level, "message": message}, ensure_ascii=False)
        with open(self.path / EVENTS, "a", encoding="utf-8") as f:
            f.write(line + "\n")

    def log_rows(self) -> list[dict[str, Any]]:
        """Read the stage's metrics so far."""
        return [row for file in sorted((self.path / "logs").glob("*.jsonl")) for row in read_metrics(file)]

    def events(self) -> list[JSONObject]:
        """Return OpenAI's events, newest first: messages, and the metrics of every logged step."""
        events: list[tuple[float, JSONObject]] = []
        for number, line in enumerate(read_metrics(self.path / EVENTS)):
            event: JSONObject = {"id": f"ftevent-{self.id[6:]}-m{number}", "type": "message", "data": {}}
            events.append((line["created_at"], event | {"level": line["level"], "message": line["message"]}))
        total = self.state().get("total")
        for number, row in enumerate(self.log_rows()):
            data = {"total_steps": total, **as_openai(row)}
            losses = ", ".join(
                f"{name} {value:.4g}" for name, value in data.items() if "loss" in name and value is not None
            )
            if not losses:  # there are no held-out examples, so the loss is None
                continue
            message = f"step {data['step']}/{total or '?'}: {losses}"
            event = {"id": f"ftevent-{self.id[6:]}-s{number}", "type": "metrics", "data": data, "level": "info"}
            events.append((row["time"], event | {"message": message}))
        events.sort(key=lambda pair: pair[0])
        head: JSONObject = {"object": "fine_tuning.job.event"}
        return [{**head, **event, "created_at": int(at)} for at, event in reversed(events)]

    def checkpoints(self) -> list[JSONObject]:
        """Return the finished model as the only checkpoint; checkpoints during training are only for resuming."""
        job, state = self.job(), self.state()
        if state["status"] != "succeeded" or job["method"] == "reward":
            return []
        metrics: dict[str, Any] = {}
        for row in self.log_rows():
            metrics |= {k: v for k, v in as_openai(row).items() if v is not None}
        metrics["step"] = state.get("total")
        return [
            {
                "object": "fine_tuning.job.checkpoint",
                "id": f"ftckpt-{self.id[6:]}",
                "created_at": state["finished_at"],
                "fine_tuning_job_id": self.id,
                "fine_tuned_model_checkpoint": job["name"],
                "step_number": state.get("total"),
                "metrics": metrics,
            }
        ]

    def to_json(self) -> JSONObject:
        """Return OpenAI's fine_tuning.job. A wish counts at once, before the training process follows."""
        job, state = self.job(), self.state()
        done = state["status"] == "succeeded"
        wish = {"cancel": "cancelled", "pause": "paused"}.get(self.wish)
        status = wish if wish and state["status"] in ("queued", "running") else state["status"]
        seconds_left = state.get("seconds_left")
        hyperparameters = dict(job["hyperparameters"])
        return {
            "object": "fine_tuning.job",
            "id": self.id,
            "model": job["model"],
            "created_at": job["created_at"],
            "finished_at": state.get("finished_at"),
            "fine_tuned_model": job["name"] if done else None,
            "organization_id": "kaiwa",
            "result_files": state.get("result_files", []),
            "status": status,
            "training_file": job["training_file"],
            "validation_file": job["validation_file"],
            "hyperparameters": hyperparameters,
            "method": {"type": job["method"], job["method"]: {"hyperparameters": hyperparameters}},
            "trained_tokens": state.get("trained_tokens"),
            "error": state.get("error"),
            "estimated_finish": int(time.time() + seconds_left) if seconds_left and status == "running" else None,
            "seed": job["seed"],
            "integrations": [],
            "user_provided_suffix": job["suffix"],
            "metadata": job["metadata"],
        }


def as_openai(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a logged row under OpenAI's names."""
    return {OPENAI_NAMES.get(name, name): value for name, value in row.items() if name not in NOT_SHOWN}
