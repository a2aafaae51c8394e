"""kaiwa tune: training of a fine-tuning job, from its folder to a model in KAIWA_HOME/models.

The server starts this command; users can too. After a kill the same command continues from the checkpoint; SIGINT saves
the state first.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kaiwa.commands.console import make_context
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.artifact import Artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.home import home
from kaiwa.core.lock import lock
from kaiwa.serve.tuning.job_folder import JOB, TERMINAL, JobFolder, as_openai
from kaiwa.serve.tuning.uploaded_files import UploadedFiles

SHOW_SECONDS = 0.5
STARTERS = 3


@dataclass(kw_only=True)
class Options:
    """Train a fine-tuning job (KAIWA_HOME/fine_tuning/ftjob-…), or continue a stopped job.

    The server creates jobs: POST /v1/files and POST /v1/fine_tuning/jobs, with any OpenAI client.
    """

    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]]


def main(words: list[str]) -> None:
    """Train the job. Exit codes: 0 trained, 2 bad data, 130 stopped."""
    folder = JobFolder(read_options(Options, "kaiwa tune", words).folder.resolve())
    if not (folder.path / JOB).is_file():
        raise UserError(f"{folder.path}: no fine-tuning job here ({JOB} is missing)")
    with lock(folder.path):
        train_job(folder)


def train_job(folder: JobFolder) -> None:
    if folder.state()["status"] in TERMINAL:
        print(f"{folder.id}: {folder.state()['status']} already", file=sys.stderr)
        return
    folder.change(status="running")
    job = folder.job()
    ctx = make_context(seed=job["seed"], device="", logs=folder.path / "logs")
    _report_to_folder(ctx, folder)
    try:
        if folder.wish:
            raise Stopped
        artifact = train(job, folder.path, ctx)
    except Stopped:
        folder.change(stopped=True)
        raise
    except UserError as error:
        _failed(folder, str(error), error.code or "invalid_training_file")
        raise
    except Exception as error:
        _failed(folder, f"training failed ({type(error).__name__}: {error}); see train.log", "server_error")
        raise
    results = UploadedFiles(home() / "files")
    id = f"file-{folder.id[6:]}"
    results.add("step_metrics.csv", "fine-tune-results", io.BytesIO(_csv(folder)), id, owner=folder.owner)
    tokens = artifact.metrics.get("trained_tokens")
    folder.change(status="succeeded", finished_at=int(time.time()), trained_tokens=tokens, result_files=[id])
    folder.say(f"finished: {job['name']}")


def _report_to_folder(ctx: Context, folder: JobFolder) -> None:
    """Write progress into state.json and warnings into the events."""
    bar, say, last = ctx.show, ctx.say, 0.0
    first: list[tuple[int, float]] = []

    def show(progress: Progress) -> None:
        nonlocal last
        bar(progress)
        now = time.monotonic()
        if not first:
            first.append((progress.done, now))
        if now - last < SHOW_SECONDS and progress.done < progress.total:
            return
        last = now
        done = progress.done - first[0][0]
        seconds_left = (now - first[0][1]) / done * (progress.total - progress.done) if done else None
        folder.change(done=progress.done, total=progress.total, text=progress.text, seconds_left=seconds_left)

    def warn(line: str) -> None:
        say(line)
        folder.say(line, "warn")

    ctx.show, ctx.say = show, warn


def _failed(folder: JobFolder, message: str, code: str) -> None:
    param = "training_file" if code == "invalid_training_file" else None
    error = {"code": code, "message": message, "param": param}
    folder.change(status="failed", error=error, finished_at=int(time.time()))
    folder.say(message, "error")


def train(job: dict[str, Any], folder: Path, ctx: Context) -> Artifact:
    """Run the job's stage and return the model, published under its name in KAIWA_HOME/models."""
    from kaiwa.catalog.trainable import as_parent, context_length
    from kaiwa.dpo import run as dpo
    from kaiwa.dpo.config import DPOConfig
    from kaiwa.reward import run as reward
    from kaiwa.reward.config import RewardConfig
    from kaiwa.sft import run as sft
    from kaiwa.sft.config import SFTConfig

    base = as_parent(Path(job["base_path"]))
    out, data = home() / "models" / job["name"], folder / "train.jsonl"
    validation = folder / "validation.jsonl"
    held_out = validation if validation.is_file() else None
    width = min(int(job["config"]["width"]), context_length(base.path))
    changes = {**job["config"], "width": width}
    if job["stage"] == "reward":
        return reward.run(override(RewardConfig(), changes), ctx, policy=base, comparisons=data, out=out)
    chat = card(job, base.path, data)
    if job["stage"] == "dpo":
        config = override(DPOConfig(), changes)
        return dpo.run(config, ctx, policy=base, comparisons=data, validation_file=held_out, out=out, chat=chat)
    tuned = override(SFTConfig(), changes)
    return sft.run(tuned, ctx, base=base, demonstrations=data, validation_file=held_out, out=out, chat=chat)


def card(job: dict[str, Any], base: Path, data: Path) -> dict[str, Any]:
    """Return the new model's chat.json: a description of its training, and prompts from the training file."""
    from kaiwa.catalog.trainable import card_of
    from kaiwa.text.records import read_jsonl

    n, method, model = job["examples"], job["method"], job["model"]
    about = {
        "en": f"Fine-tuned from {model} on {n} examples ({method}).",
        "ja": f"{model} を {n} 件の例で追加学習したモデルです({method})。",
    }
    starters: list[str] = []
    for row in read_jsonl(data):
        prompt = row.get("messages") or row.get("prompt") or row.get("text", "")[:121]
        turns = [prompt] if isinstance(prompt, str) else [m["content"] for m in prompt or () if m["role"] == "user"]
        if turns and len(turns[-1]) <= 120 and turns[-1] not in starters:
            starters.append(turns[-1])
        if len(starters) == STARTERS:
            break
    languages = list(card_of(base).get("languages") or job["languages"])
    return {"languages": languages, "about": about, "starters": {"en": starters, "ja": starters}}


def _csv(folder: JobFolder) -> bytes:
    """Return the metrics of every logged step as CSV."""
    rows = [as_openai(row) for row in folder.log_rows()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
