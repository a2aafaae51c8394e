"""Training through the fine-tuning API, as anybody's client would: upload, create a job, wait for the model.

The lab sees a server that speaks OpenAI's protocol and nothing below, so results on trained rungs hold for any server
of the protocol.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.text.records import Message

POLL_SECONDS = 1.0
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A finished training job's model. `seconds`: from the job's creation to the end, waiting included."""

    job: str
    model: str
    tokens: int
    seconds: float


def training_rows(task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return items as {"messages"}: the prompt of a chat model without examples, and the right answer."""
    rows = []
    for item in items:
        prompt = dataclasses.replace(task, form="chat").render_prompt(item)
        assert not isinstance(prompt, str)
        rows.append({"messages": [m.to_json() for m in (*prompt, Message("assistant", item.answer))]})
    return rows


class TrainingServer:
    """A client of the fine-tuning API at `url`, which ends in /v1.

    UserError for a request that the server refuses, ConnectionError where the server cannot be reached.
    """

    def __init__(
        self,
        url: str,
        api_key: str = "",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=60.0, transport=transport)
        self._sleep = sleep

    def upload(self, rows: Sequence[Mapping[str, Any]], name: str) -> str:
        """Upload rows as a JSONL file; return the file's id."""
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        files = {"file": (name, data, "application/jsonl")}
        return str(self._send("POST", "files", files=files, data={"purpose": "fine-tune"})["id"])

    def start(
        self, model: str, file: str, method: str, *, hyperparameters: Mapping[str, Any], suffix: str, seed: int
    ) -> str:
        """Start a training job; return its id."""
        method_body = {"type": method, method: {"hyperparameters": dict(hyperparameters)}}
        body = {"model": model, "training_file": file, "method": method_body, "suffix": suffix, "seed": seed}
        return str(self._send("POST", "fine_tuning/jobs", json=body)["id"])

    def wait(self, job: str, show: Callable[[str], None] = lambda line: None) -> TrainedModel:
        """Wait for a job's end and return its model. UserError where the job failed or was cancelled."""
        last_line = ""
        while True:
            status = self._send("GET", f"fine_tuning/jobs/{job}")
            if status["status"] in ENDED:
                break
            events = self._send("GET", f"fine_tuning/jobs/{job}/events", params={"limit": 1})["data"]
            line = f"{status['status']}: {events[0]['message']}" if events else status["status"]
            if line != last_line:
                show(line)
                last_line = line
            self._sleep(POLL_SECONDS)
        if status["status"] != "succeeded":
            why = (status.get("error") or {}).get("message", "")
            raise UserError(f"fine-tuning job {job} is {status['status']}: {why or 'no reason was given'}")
        seconds = float(status["finished_at"] - status["created_at"])
        return TrainedModel(
            job=job, model=status["fine_tuned_model"], tokens=int(status["trained_tokens"] or 0), seconds=seconds
        )

    def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **content)
            value = response.json()
        except httpx.TransportError as error:
            raise ConnectionError(f"{self._client.base_url}{path}: {type(error).__name__}: {error}") from None
        except ValueError:
            raise UserError(f"{self._client.base_url}{path}: answered {response.status_code} and no JSON") from None
        if response.status_code >= 400:
            error_body = value.get("error", value) if isinstance(value, dict) else value
            message = error_body.get("message", error_body) if isinstance(error_body, dict) else error_body
            raise UserError(f"{self._client.base_url}{path}: {response.status_code}: {message}")
        return dict(value)
