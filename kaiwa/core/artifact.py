"""An artifact: the folder that a stage published, with its manifest.

    OUT/                 the published files (records or a model) and kaiwa.json, the manifest
    OUT.parent/.OUT.work the same folder while the stage is running (checkpoint included)

Publishing is one rename, so OUT exists completely or not at all. The manifest is written last: a work folder with a
manifest is finished, and `finished` publishes the folder if the process was killed before the rename. `hash` in the
manifest covers the published bytes: sha256 over the sorted names and contents of all files except kaiwa.json. Values
that depend on the clock (seconds, speed) are in the manifest or in the metrics log, never in the hashed files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kaiwa.core import config as configs
from kaiwa.core.errors import UserError

MANIFEST = "kaiwa.json"
RUN_FILE = "run.toml"  # the options of the command that made an artifact, not part of its content
CHECKPOINT = "checkpoint"  # a folder inside the work folder; never published
STAMP, SECONDS = "plan.json", "seconds"  # files inside the work folder; never published
MOST_CHANGES = 3  # changes listed when a stage is built again
DISK_FULL = "insufficient_storage"  # the code of the error
FULL = 1 << 20  # free bytes; with fewer, an error is taken for a full disk
LIBRARIES = ("torch", "tokenizers", "numpy", "safetensors")


@dataclass(frozen=True, slots=True)
class Artifact:
    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def hash(self) -> str:
        return str(self.manifest["hash"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest.get("metrics", {}))


def open_artifact(path: Path | str, kind: str | None = None) -> Artifact:
    """Return the artifact in a folder. UserError if the folder holds no artifact, or an artifact of another kind."""
    path = Path(path)
    file = path / MANIFEST
    if not file.is_file():
        raise UserError(f"{path}: no artifact here ({MANIFEST} is missing); give a folder that a stage published")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON ({error.msg}); build the stage again") from None
    if kind is not None and manifest.get("kind") != kind:
        raise UserError(f"{path}: is a {manifest.get('kind')!r} artifact, a {kind!r} is needed")
    return Artifact(path, manifest)


def fingerprint(file: Path) -> Artifact:
    """Return a single file as a parent artifact whose hash is the sha256 of its bytes."""
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    with open(file, "rb") as f:
        return Artifact(file, {"hash": hashlib.file_digest(f, "sha256").hexdigest()})


def data_parent(path: Path) -> Artifact:
    """Return a data file as a parent by its bytes, or a folder of data files by all their names and bytes."""
    return Artifact(path, {"hash": content_hash(path)}) if path.is_dir() else fingerprint(path)


def content_hash(folder: Path) -> str:
    """Return the sha256 over the sorted relative names and the bytes of every published file except the manifest."""
    total = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        if file.relative_to(folder).parts[0] in (MANIFEST, RUN_FILE, STAMP, SECONDS, CHECKPOINT):
            continue
        digest = hashlib.sha256()
        with open(file, "rb") as f:
            while chunk := f.read(1 << 20):
                digest.update(chunk)
        total.update(f"{file.relative_to(folder).as_posix()}\0{digest.hexdigest()}\n".encode())
    return total.hexdigest()


@dataclass(slots=True)
class Work:
    """A running stage: the folder for its files, and the metrics for its manifest."""

    path: Path
    metrics: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT


@dataclass(frozen=True, slots=True)
class Plan:
    """The identity of an artifact before it exists: equal plans build equal bytes."""

    kind: str
    config: Any
    parents: Mapping[str, Artifact]
    seed: int

    def identity(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "config": configs.to_json(self.config),
            "parents": {name: parent.hash for name, parent in self.parents.items()},
            "seed": self.seed,
        }


def finished(out: Path, plan: Plan, say: Callable[[str], None]) -> Artifact | None:
    """Return the artifact at `out` if its plan equals `plan`; otherwise report the changes in one line and return None.

    A finished work folder that was not yet renamed is published first.
    """
    work = _work_folder(out)
    if (work / MANIFEST).is_file() and not _changed(work, plan):
        _rename(work, out)
    _keep_others(out, plan)
    if not (out / MANIFEST).is_file():
        return None
    changed = _changed(out, plan)
    if not changed:
        return open_artifact(out)
    more = f"; and {len(changed) - MOST_CHANGES} more" if len(changed) > MOST_CHANGES else ""
    say(f"{out.name} is built again: {'; '.join(changed[:MOST_CHANGES])}{more}")
    return None


def _keep_others(out: Path, plan: Plan) -> None:
    """Raise UserError where a stage would be published over another stage's artifact, or over its own parent."""
    for name, parent in plan.parents.items():
        if parent.path.resolve() == out.resolve():
            raise UserError(f"{out}: is this run's own {name}, which it would replace; give another --out")
    if (out / MANIFEST).is_file() and (kind := open_artifact(out).kind) != plan.kind:
        raise UserError(f"{out}: holds a {kind!r} artifact; give another --out, or delete it first")


def _changed(folder: Path, plan: Plan) -> list[str]:
    """Return the differences between a folder's manifest and the plan, one text each."""
    manifest = open_artifact(folder).manifest
    old = {k: manifest.get(k) for k in ("kind", "config", "parents", "seed")}
    old["config"] = _with_defaults(plan.config, old["config"])
    old["parents"] = {name: parent["hash"] for name, parent in (old["parents"] or {}).items()}
    return configs.differences(old, plan.identity())


def _work_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.work"


def _with_defaults(config: Any, old: Any) -> Any:
    """Return the configuration of an older manifest with the fields added since then at their defaults."""
    try:
        return configs.to_json(configs.from_json(type(config), old))
    except (UserError, TypeError, ValueError, AttributeError):
        return old


@contextlib.contextmanager
def publish(out: Path, plan: Plan) -> Iterator[Work]:
    """Yield the work folder of a stage and publish the folder when the block ends without an exception.

    After an exception the folder stays for the next try. A work folder of another plan is deleted first, since its
    checkpoint belongs to another run.
    """
    work = _work_folder(out)
    identity = json.dumps(plan.identity(), sort_keys=True, ensure_ascii=False)
    stamp = work / STAMP
    if work.exists() and (not stamp.is_file() or stamp.read_text(encoding="utf-8") != identity):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    for leftover in (work / MANIFEST, *work.glob(".*.tmp")):  # of a process that was killed while writing
        leftover.unlink(missing_ok=True)
    if not stamp.is_file():
        write_atomic(stamp, identity)
    state = Work(work, {})
    started = time.monotonic()
    before = _seconds_spent(work)
    try:
        yield state
    except Exception as error:
        if disk_is_full(error, work):
            message = f"{work}: the disk is full; free some space and run the same command again"
            raise UserError(message, code=DISK_FULL) from error
        raise
    finally:
        if work.exists():
            with contextlib.suppress(OSError):
                (work / SECONDS).write_text(f"{before + time.monotonic() - started:.3f}")
    manifest = {
        **plan.identity(),
        "parents": {n: {"hash": p.hash, "path": os.path.relpath(p.path, out.parent)} for n, p in plan.parents.items()},
        "hash": content_hash(work),
        "metrics": finite(state.metrics),
        "seconds": round(_seconds_spent(work), 3),
        "versions": {"python": platform.python_version(), **_versions()},
    }
    _sync(work)
    write_atomic(work / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False))
    _rename(work, out)


def _rename(work: Path, out: Path) -> None:
    """Publish a work folder that has its manifest. A kill at any point leaves a state that a second call completes."""
    for leftover in (work / SECONDS, work / STAMP):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(work / CHECKPOINT, ignore_errors=True)
    _sync_folder(work)
    old = out.parent / f".{out.name}.old"
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    work.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    _sync_folder(out.parent)


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Return whether a full disk caused an error, judged by the error's number or else by the free space."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        at = at.__cause__ or at.__context__
    try:
        return shutil.disk_usage(folder).free < FULL
    except OSError:
        return False


def finite(value: Any) -> Any:
    """Return the same JSON value with null in place of numbers that JSON cannot express (NaN, infinities)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _seconds_spent(work: Path) -> float:
    try:
        return float((work / SECONDS).read_text())
    except (OSError, ValueError):
        return 0.0


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("kaiwa", *LIBRARIES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def write_atomic(path: Path, text: str) -> None:
    """Write a small text file completely or not at all, by a rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with open(file, "rb") as f:
                os.fsync(f.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
