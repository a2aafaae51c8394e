"""A fine-tuning job on disk: KAIWA_HOME/fine_tuning/JOB.

    job.json        what was asked, decided and converted; written once, before anything else can happen
    state.json      {"status", "attempts", "started_at", "finished_at", "error", …}, replaced whole
    wish            "cancel" or "pause": what the person wants of a job that runs
    events.jsonl    what happened, a line each; logs/*.jsonl: the stage's metrics
    train.jsonl     the converted training file; train.log: what the training process printed

The server writes state.json while no process trains, the training process while it does: it holds the folder's lock.
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

TERMINAL = ("succeeded", "failed", "cancelled")
JOB, STATE, WISH, EVENTS = "job.json", "state.json", "wish", "events.jsonl"
NAMES = {  # of our metrics in OpenAI's events
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "held_out_loss": "valid_loss",
    "held_out_accuracy": "valid_accuracy",
}


@dataclass(frozen=True, slots=True)
class JobFolder:
    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    def job(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.path / JOB).read_text(encoding="utf-8"))
        return value

    def state(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self.path / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            value = {"status": "queued", "attempts": 0}
        return value

    def change(self, **fields: Any) -> dict[str, Any]:
        value = self.state() | fields
        write_atomic(self.path / STATE, json.dumps(value, ensure_ascii=False))
        return value

    @property
    def wish(self) -> str:
        with contextlib.suppress(OSError):
            return (self.path / WISH).read_text(encoding="utf-8").strip()
        return ""

    def say(self, message: str, level: str = "info") -> None:
        line = json.dumps({"created_at": time.time(), "level": level, "message": message}, ensure_ascii=False)
        with open(self.path / EVENTS, "a", encoding="utf-8") as f:
            f.write(line + "\n")

    def log_rows(self) -> list[dict[str, Any]]:
        """The stage's metrics so far."""
        return [row for file in sorted((self.path / "logs").glob("*.jsonl")) for row in read_metrics(file)]

    def events(self) -> list[dict[str, Any]]:
        """OpenAI's events, newest first: messages, and one with the metrics of every logged step."""
        found: list[tuple[float, dict[str, Any]]] = []
        for number, said in enumerate(read_metrics(self.path / EVENTS)):
            event = {"id": f"ftevent-{self.id[6:]}-m{number}", "type": "message", "data": {}}
            found.append((said["created_at"], event | {"level": said["level"], "message": said["message"]}))
        total = self.state().get("total")
        for number, row in enumerate(self.log_rows()):
            data = {"total_steps": total, **as_openai(row)}
            told = ", ".join(
                f"{name} {value:.4g}" for name, value in data.items() if "loss" in name and value is not None
            )
            if not told:  # a held-out loss where nothing is held out
                continue
            message = f"step {data['step']}/{total or '?'}: {told}"
            event = {"id": f"ftevent-{self.id[6:]}-s{number}", "type": "metrics", "data": data, "level": "info"}
            found.append((row["time"], event | {"message": message}))
        found.sort(key=lambda pair: pair[0])
        head = {"object": "fine_tuning.job.event"}
        return [{**head, **event, "created_at": int(at)} for at, event in reversed(found)]

    def checkpoints(self) -> list[dict[str, Any]]:
        """The finished model; what a job keeps on its way is only for going on."""
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

    def to_json(self) -> dict[str, Any]:
        """OpenAI's fine_tuning.job."""
        job, state = self.job(), self.state()
        done = state["status"] == "succeeded"
        wished = {"cancel": "cancelled", "pause": "paused"}.get(self.wish)
        status = wished if wished and state["status"] in ("queued", "running") else state["status"]
        left = state.get("seconds_left")
        told = dict(job["hyperparameters"])
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
            "hyperparameters": told,
            "method": {"type": job["method"], job["method"]: {"hyperparameters": told}},
            "trained_tokens": state.get("trained_tokens"),
            "error": state.get("error"),
            "estimated_finish": int(time.time() + left) if left and status == "running" else None,
            "seed": job["seed"],
            "integrations": [],
            "user_provided_suffix": job["suffix"],
            "metadata": job["metadata"],
        }


def as_openai(row: Mapping[str, Any]) -> dict[str, Any]:
    """A logged row under OpenAI's names."""
    left_out = ("time", "tokens_per_second")
    return {NAMES.get(name, name): value for name, value in row.items() if name not in left_out}
