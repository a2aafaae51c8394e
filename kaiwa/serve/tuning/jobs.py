"""Fine-tuning jobs as child processes: `python -m kaiwa tune FOLDER`, niced, one after the other.

What a job is, and how far it is, stands in its folder only (fine_tuning_state), so a server that is started again finds
every job as it left it: one that still runs is let run, one whose process died is started again and goes on from its
checkpoint, a few times; what waits gets its turn.
"""

from __future__ import annotations

import contextlib
import json
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

from kaiwa.catalog.entries import Entry, listed
from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.core.lock import holder
from kaiwa.serve.tuning.builds import NICE, step_aside
from kaiwa.serve.tuning.job_folder import JOB, TERMINAL, WISH, JobFolder
from kaiwa.serve.tuning.job_plan import JobRequest, make_plan
from kaiwa.serve.tuning.training_data import convert
from kaiwa.serve.tuning.uploaded_files import Files

JOB_ID = re.compile(r"ftjob-[a-z0-9]{1,40}")
MOST_ATTEMPTS = 3  # starts of a process that dies without a word
LOOK_SECONDS = 1.0


class InvalidFile(UserError):
    """A training or validation file does not fit its method. `param`: which."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class FineTuning:
    """`models`: what /v1/models lists. `command`: what stands before "tune FOLDER" (tests put a stub there)."""

    def __init__(self, home: Path, models: Callable[[], list[Entry]], command: Sequence[str] = ()) -> None:
        self.home, self.models = home, models
        self.folder = home / "fine_tuning"
        self.files = Files(home / "files")
        self.command = list(command) or [sys.executable, "-m", "kaiwa"]
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._turn = threading.RLock()
        self._watching: threading.Thread | None = None
        self._closed = threading.Event()

    def create(self, request: JobRequest) -> JobFolder:
        """Checks and converts the files, registers the job, starts it if nothing else trains."""
        base = listed(request.model, self.models())
        method = request.method.type if request.method is not None else "supervised"
        id = f"ftjob-{secrets.token_hex(12)}"
        work = self.folder / f".{id}"
        work.mkdir(parents=True)
        try:
            n = self._convert(request.training_file, work / "train.jsonl", method, "training_file")
            if request.validation_file is not None:
                if method == "reward":
                    raise InvalidFile(
                        "a reward model takes its held-out prompts from the training file", "validation_file"
                    )
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
                "hyperparameters": dict(plan.told),
                "seed": secrets.randbelow(2**31) if request.seed is None else request.seed,
                "suffix": request.suffix,
                "metadata": request.metadata,
                "training_file": request.training_file,
                "validation_file": request.validation_file,
                "examples": n,
                "languages": list(base.languages),
            }
            write_atomic(work / JOB, json.dumps(job, ensure_ascii=False, indent=1))
            made = JobFolder(self.folder / id)
            work.rename(made.path)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        made.change(status="queued", attempts=0)
        made.say(f"created: {plan.method} on {base.name}, {n} examples, {json.dumps(dict(plan.told))}")
        self.look()
        self.watch()
        return made

    def _convert(self, file: str, target: Path, method: str, param: str, least: int = 2) -> int:
        try:
            return convert(self.files.path(file), target, method, least)
        except UserError as error:
            raise InvalidFile(str(error), param) from None

    def all(self) -> list[JobFolder]:
        """Newest first."""
        folders = self.folder.iterdir() if self.folder.is_dir() else []
        found = [JobFolder(path) for path in folders if JOB_ID.fullmatch(path.name) and (path / JOB).is_file()]
        return sorted(found, key=lambda job: (-float(job.job()["created_at"]), job.id))

    def get(self, id: str) -> JobFolder:
        found = JobFolder(self.folder / id)
        if not JOB_ID.fullmatch(id) or not (found.path / JOB).is_file():
            raise UserError(f"no fine-tuning job {id[:60]!r}")
        return found

    def stop(self, id: str, wish: str) -> JobFolder:
        """wish "cancel" or "pause". UserError for a job that has ended."""
        job = self.get(id)
        with self._turn:
            self.look()
            status = job.state()["status"]
            if status in TERMINAL or (wish == "pause" and status == "paused"):
                raise UserError(f"{id} is {status} already")
            write_atomic(job.path / WISH, wish)
            pid = self.children[id].pid if id in self.children else holder(job.path)
            if status == "running" and pid:
                job.say(f"asked to {wish}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            self.look()
        self.watch()
        return job

    def resume(self, id: str) -> JobFolder:
        """Goes on with a paused job. UserError for any other."""
        job = self.get(id)
        with self._turn:
            self.look()
            if job.to_json()["status"] != "paused":
                raise UserError(f"{id} is {job.state()['status']}; only a paused job can be resumed")
            (job.path / WISH).unlink(missing_ok=True)
            if job.state()["status"] == "paused":
                job.change(status="queued", attempts=0)
            job.say("resumed")
            self.look()
        self.watch()
        return job

    def look(self) -> bool:
        """Brings states up to date and starts what is next; whether anything runs or waits."""
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
        """What has become of a job since anybody looked."""
        state, wish = job.state(), job.wish
        if state["status"] == "running" and not self._alive(job):
            log = job.path / "train.log"
            said = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
            if wish or state.get("stopped"):
                state = job.change(status="queued", stopped=False)
            elif state["attempts"] < MOST_ATTEMPTS:
                job.say("the training process ended unexpectedly; it goes on from its checkpoint", "warn")
                state = job.change(status="queued")
            else:
                last = said[-1][:300] if said else "no message"
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
        step_aside(child.pid)
        job.say("training started" if not state["attempts"] else "training goes on")

    def watch(self) -> None:
        """Looks now and then, as long as anything runs or waits."""
        with self._turn:
            if self._watching is None or not self._watching.is_alive():
                self._watching = threading.Thread(target=self._watch, daemon=True)
                self._watching.start()

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            with self._turn:
                if not self.look():
                    self._watching = None
                    return

    def close(self) -> None:
        """Starts nothing more. What trains goes on; the next server finds it."""
        self._closed.set()

    def delete_model(self, name: str) -> None:
        """Removes a fine-tuned model. UserError for any other model."""
        folder = self.home / "models" / name
        if not name.startswith("ft:") or Path(name).name != name or not (folder / "kaiwa.json").is_file():
            raise UserError(f"{name[:100]!r} is no fine-tuned model; only those can be deleted")
        gone = folder.with_name(f".{name}.deleted")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def model_name(base: str, suffix: str, id: str) -> str:
    """ "ft:laptop.sft:polite:1a2b3c4d", which is a folder's name too. Of a fine-tuned base the first base is told."""
    first = base.split(":")[1] if base.startswith("ft:") else base
    return f"ft:{first.replace('/', '.')}:{suffix}:{id[6:14]}"
