"""Fine-tuning jobs as child processes: `python -m kaiwa tune FOLDER`, niced, one after the other.

The whole state of a job is in its folder (job_folder.py), so a restarted server finds every job again. A running job
goes on. A job with a dead process is started again from its checkpoint, a few times. Queued jobs follow in order.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kaiwa.catalog.entries import Entry, entry_by_name
from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.core.lock import holder
from kaiwa.serve.http.keys import is_visible
from kaiwa.serve.tuning.builds import NICE, lower_session_priority
from kaiwa.serve.tuning.job_folder import JOB, TERMINAL, WISH, JobFolder
from kaiwa.serve.tuning.job_plan import TuningRequest, make_plan
from kaiwa.serve.tuning.training_data import convert
from kaiwa.serve.tuning.uploaded_files import UploadedFiles

log = logging.getLogger("kaiwa.serve")
JOB_ID = re.compile(r"ftjob-[a-z0-9]{1,40}")
MOST_ATTEMPTS = 3  # starts of a process that dies without an error of its own
UPDATE_SECONDS = 1.0


class FineTuning:
    """All fine-tuning jobs. models: the list of /v1/models. command: the words before "tune FOLDER" (tests: a stub)."""

    def __init__(self, home: Path, models: Callable[[], list[Entry]], command: Sequence[str] = ()) -> None:
        self.home, self.models = home, models
        self.folder = home / "fine_tuning"
        self.files = UploadedFiles(home / "files")
        self.command = list(command) or [sys.executable, "-m", "kaiwa"]
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._turn = threading.RLock()
        self._watching: threading.Thread | None = None
        self._closed = threading.Event()

    def create(self, request: TuningRequest, owner: str = "") -> JobFolder:
        """Check and convert the files, register the job, and start the job if no other is training.

        UserError for an unsuitable file (field: the request's field, code: "invalid_" and the field) and for a method
        unsupported by the base. owner: the name of the key that asks, if it has one.
        """
        base = entry_by_name(request.model, self.models())
        method = request.method.type if request.method is not None else "supervised"
        id = f"ftjob-{secrets.token_hex(12)}"
        work = self.folder / f".{id}"
        work.mkdir(parents=True)
        try:
            n = self._convert(request.training_file, work / "train.jsonl", method, "training_file")
            if request.validation_file is not None:
                if method == "reward":
                    message = "a reward model takes its held-out prompts from the training file"
                    raise UserError(message, field="validation_file", code="invalid_validation_file")
                self._convert(request.validation_file, work / "validation.jsonl", method, "validation_file", 1)
            plan = make_plan(request, base, n)
            job = {
                "created_at": int(time.time()),
                "model": base.name,
                "base_path": str(base.path.resolve()),
                "name": model_name(base.name, request.suffix or "", id),
                "method": plan.method,
                "stage": plan.stage,
                "config": dict(plan.config)
                | ({"validation_share": 0.1} if plan.method == "reward" and n >= 10 else {}),
                "hyperparameters": dict(plan.hyperparameters),
                "seed": secrets.randbelow(2**31) if request.seed is None else request.seed,
                "suffix": request.suffix,
                "metadata": request.metadata,
                "training_file": request.training_file,
                "validation_file": request.validation_file,
                "examples": n,
                "owner": owner,
                "languages": list(base.languages),
            }
            write_atomic(work / JOB, json.dumps(job, ensure_ascii=False, indent=1))
            job_folder = JobFolder(self.folder / id)
            work.rename(job_folder.path)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        job_folder.change(status="queued", attempts=0)
        options = json.dumps(dict(plan.hyperparameters))
        job_folder.say(f"created: {plan.method} on {base.name}, {n} examples, {options}")
        self.update()
        self.watch()
        return job_folder

    def _convert(self, file: str, target: Path, method: str, field: str, least: int = 2) -> int:
        try:
            return convert(self.files.path(file), target, method, least)
        except UserError as error:
            raise UserError(str(error), field=field, code=f"invalid_{field}") from None

    def all(self, owner: str | None = None) -> list[JobFolder]:
        """Return the jobs that a request may see (keys.owner_of), newest first."""
        folders = self.folder.iterdir() if self.folder.is_dir() else []
        jobs = [JobFolder(path) for path in folders if JOB_ID.fullmatch(path.name) and (path / JOB).is_file()]
        jobs = [job for job in jobs if is_visible(job.owner, owner)]
        return sorted(jobs, key=lambda job: (-float(job.job()["created_at"]), job.id))

    def get(self, id: str, owner: str | None = None) -> JobFolder:
        """Return a job. UserError for an unknown id, or another key's."""
        job = JobFolder(self.folder / id)
        known = JOB_ID.fullmatch(id) is not None and (job.path / JOB).is_file()
        if not known or not is_visible(job.owner, owner):
            raise UserError(f"no fine-tuning job {id[:60]!r}")
        return job

    def stop(self, id: str, wish: str) -> JobFolder:
        """Cancel or pause a job (wish "cancel" or "pause"). UserError for an ended job."""
        job = self.get(id)
        with self._turn:
            self.update()
            status = job.state()["status"]
            if status in TERMINAL or (wish == "pause" and status == "paused"):
                raise UserError(f"{id} is {status} already")
            write_atomic(job.path / WISH, wish)
            pid = self.children[id].pid if id in self.children else holder(job.path)
            if status == "running" and pid:
                job.say(f"asked to {wish}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            self.update()
        self.watch()
        return job

    def resume(self, id: str) -> JobFolder:
        """Resume a paused job. UserError for any other."""
        job = self.get(id)
        with self._turn:
            self.update()
            if job.to_json()["status"] != "paused":
                raise UserError(f"{id} is {job.state()['status']}; only a paused job can be resumed")
            (job.path / WISH).unlink(missing_ok=True)
            if job.state()["status"] == "paused":
                job.change(status="queued", attempts=0)
            job.say("resumed")
            self.update()
        self.watch()
        return job

    def update(self) -> bool:
        """Bring all states up to date, start the next job, and return whether any runs or waits."""
        with self._turn:
            jobs = sorted(self.all(), key=lambda job: float(job.job()["created_at"]))
            for job in jobs:
                self._settle(job)
            running = [job for job in jobs if job.state()["status"] == "running"]
            waiting = [job for job in jobs if job.state()["status"] == "queued"]
            if waiting and not running and not self._closed.is_set():
                self._start(waiting[0])
            return bool(running or waiting)

    def _settle(self, job: JobFolder) -> None:
        """Bring a job's state up to date: ended processes, and wishes to cancel or pause."""
        state, wish = job.state(), job.wish
        if state["status"] == "running" and not self._alive(job):
            log = job.path / "train.log"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
            if wish or state.get("stopped"):
                state = job.change(status="queued", stopped=False)
            elif state["attempts"] < MOST_ATTEMPTS:
                job.say("the training process ended unexpectedly; it goes on from its checkpoint", "warn")
                state = job.change(status="queued")
            else:
                last = lines[-1][:300] if lines else "no message"
                message = f"the training process ended {MOST_ATTEMPTS} times; it last said: {last}"
                error = {"code": "server_error", "message": message, "param": None}
                state = job.change(status="failed", error=error, finished_at=int(time.time()))
                job.say(message, "error")
        if state["status"] in ("queued", "paused") and wish == "cancel":
            job.change(status="cancelled", finished_at=int(time.time()))
            shutil.rmtree(self.home / "models" / f".{job.job()['name']}.work", ignore_errors=True)
            job.say("cancelled")
        elif state["status"] == "queued" and wish == "pause":
            job.change(status="paused")
            job.say("paused")

    def _alive(self, job: JobFolder) -> bool:
        child = self.children.get(job.id)
        if child is not None and child.poll() is None:
            return True
        self.children.pop(job.id, None)
        return holder(job.path) is not None

    def _start(self, job: JobFolder) -> None:
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        environment["KAIWA_HOME"] = str(self.home)
        state = job.state()
        job.change(
            status="running", attempts=state["attempts"] + 1, started_at=state.get("started_at") or int(time.time())
        )
        with open(job.path / "train.log", "ab") as log:
            child = subprocess.Popen(
                ["nice", "-n", str(NICE), *self.command, "tune", str(job.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # it outlives the server
            )
        self.children[job.id] = child
        lower_session_priority(child.pid)
        job.say("training started" if not state["attempts"] else "training goes on")

    def watch(self) -> None:
        """Look at the jobs now and then, in a thread, as long as any runs or waits."""
        with self._turn:
            if self._watching is None or not self._watching.is_alive():
                self._watching = threading.Thread(target=self._watch, daemon=True)
                self._watching.start()

    def _watch(self) -> None:
        trouble = ""
        while not self._closed.wait(UPDATE_SECONDS):
            with self._turn:
                try:
                    goes_on = self.update()
                except OSError as error:  # such as a full disk: the jobs' states are written when there is room again
                    goes_on = True
                    if str(error) != trouble:
                        trouble = str(error)
                        log.error("the state of fine-tuning jobs cannot be written (%s); trying again", error)
                if not goes_on:
                    self._watching = None
                    return

    def close(self) -> None:
        """Start no more jobs. A running job continues, and the next server finds the job again."""
        self._closed.set()

    def delete_model(self, name: str) -> None:
        """Delete a fine-tuned model. UserError for any other model."""
        folder = self.home / "models" / name
        if not name.startswith("ft:") or Path(name).name != name or not (folder / "kaiwa.json").is_file():
            raise UserError(f"{name[:100]!r} is no fine-tuned model; only those can be deleted")
        doomed = folder.with_name(f".{name}.deleted")
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def model_name(base: str, suffix: str, id: str) -> str:
    """Return a model's name such as "ft:laptop.sft:polite:1a2b3c4d", which is also its folder's name.

    If the base was fine-tuned itself, the name contains the original base.
    """
    first = base.split(":")[1] if base.startswith("ft:") else base
    return f"ft:{first.replace('/', '.')}:{suffix}:{id[6:14]}"
