"""`kaiwa pull ORG/NAME[:BRANCH]`: download of a model from a Hugging Face hub into KAIWA_HOME/models.

Small files come first, and they are checked before the weights: a model that kaiwa cannot run costs kilobytes, not
gigabytes. All files are written to a hidden folder, which is renamed after the last checksum. After a kill the same
command continues. Only safetensors and GGUF are read; no code of the repository is run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from kaiwa.core.artifact import write_atomic
from kaiwa.core.errors import UserError
from kaiwa.core.lock import lock
from kaiwa.hub.download import fetch
from kaiwa.hub.source import Listing, RemoteFile, ask, choose, parse

ENDPOINT = "https://huggingface.co"
CARD = "pulled.json"
SPARE = 64 << 20  # bytes to keep free on the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOutput:
    """The caller\'s output functions. line: prints a message; bar: shows (downloaded bytes, total bytes, file)."""

    line: Callable[[str], None] = lambda text: None
    bar: Callable[[int, int, str], None] = lambda done, total, name: None


def pull(name: str, models: Path, *, endpoint: str = "", pattern: str = "", output: PullOutput | None = None) -> Path:
    """Download a model and return its folder under `models`.

    endpoint: another hub (default HF_ENDPOINT, else huggingface.co). pattern: which GGUF file.
    """
    output = output or PullOutput()
    model = parse(name)
    endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    token = os.environ.get("HF_TOKEN") or None
    target = models / model.folder
    listing = ask(model, endpoint, token)
    if pulled_commit(target) == listing.commit and not pattern:
        output.line(f"{model.label} is here already, at commit {listing.commit[:12]}")
        return target
    files = choose(listing, pattern)
    output.line(_summary(listing, files))
    with lock(models / ".locks" / model.folder):
        _replace_model(listing, files, models, output, endpoint=endpoint, token=token)
    return target


def _summary(listing: Listing, files: list[RemoteFile]) -> str:
    """Return a line about what will be downloaded: commit, size, licence, languages."""
    size = f"{sum(f.size for f in files) / 1e6:,.1f} MB in {len(files)} file{'s'[: len(files) != 1]}"
    licence = f"licence {listing.licence}" if listing.licence else "no licence named"
    first = listing.languages[:8]
    languages = f"languages {' '.join(first)}" if first else "no languages named"
    more = f" and {len(listing.languages) - len(first)} more" if len(listing.languages) > len(first) else ""
    return f"{listing.model.label} at commit {listing.commit[:12]}: {size}; {licence}; {languages}{more}"


def _replace_model(
    listing: Listing, files: list[RemoteFile], models: Path, output: PullOutput, *, endpoint: str, token: str | None
) -> None:
    """Download the files into a hidden folder, and replace the model's folder by it. The caller holds the lock."""
    model, target = listing.model, models / listing.model.folder
    work = models / f".pulling-{model.folder}"
    work.mkdir(parents=True, exist_ok=True)
    _check_space(work, files)
    _fetch_all(listing, files, work, output, endpoint=endpoint, token=token)
    card = {
        "name": model.label,
        "endpoint": endpoint,
        "commit": listing.commit,
        "licence": listing.licence,
        "languages": list(listing.languages),
        "files": {f.local: f.sha256 or f"git:{f.git_sha1}" for f in files},
    }
    write_atomic(work / CARD, json.dumps(card, indent=1, sort_keys=True) + "\n")
    for file in [file for file in work.rglob("*") if file.is_file()]:  # delete files of an earlier commit
        if file.relative_to(work).as_posix() not in (CARD, *card["files"]):
            file.unlink()
    for old in target.glob("*.gguf"):
        if old.name not in card["files"]:
            output.line(f"{old.name} goes: a folder holds one GGUF file, now that of {model.label}")
    _swap(work, target)


def pulled_commit(folder: Path) -> str:
    """Return the commit of a pulled folder, or ""."""
    try:
        return str(json.loads((folder / CARD).read_text(encoding="utf-8"))["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _check_space(work: Path, files: list[RemoteFile]) -> None:
    here = _size(work)
    need, free = sum(f.size for f in files) - here + SPARE, shutil.disk_usage(work).free
    if need > free:
        raise UserError(f"{work.parent}: {need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free on this disk")


def _fetch_all(
    listing: Listing, files: list[RemoteFile], work: Path, output: PullOutput, *, endpoint: str, token: str | None
) -> None:
    from huggingface_hub import hf_hub_url

    total, done, checked = sum(f.size for f in files), 0, False
    headers = {"User-Agent": "kaiwa"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(follow_redirects=True, headers=headers) as client:  # httpx keeps the token from other hosts
        for file in files:
            url = hf_hub_url(listing.model.repo, file.name, revision=listing.commit, endpoint=endpoint)
            before, place = done, work / file.local
            if not checked and file.name.endswith(".safetensors"):
                _check_config(work)
                checked = True

            def show(here: int, before: int = before, short: str = place.name) -> None:
                output.bar(before + here, total, short)

            place.parent.mkdir(exist_ok=True)
            fetch(client, url, file, place, show=show, say=output.line)
            done += file.size


def _check_config(work: Path) -> None:
    """Raise UserError for an architecture that kaiwa cannot run, before the weights are downloaded."""
    from kaiwa.model.formats.encoder_folder import is_encoder, read_encoder_config, read_pooling
    from kaiwa.model.formats.hf_config import read_config, read_json

    try:
        if is_encoder(read_json(work / "config.json")):
            read_pooling(work, read_encoder_config(work))
        else:
            read_config(work)
    except UserError as error:
        raise UserError(f"{str(error).replace(str(work), 'this model')} (no weights were fetched)") from None


def _swap(work: Path, target: Path) -> None:
    """Replace the old folder by the new one. After a kill in between, the next pull completes this without download."""
    old = target.with_name(f".old-{target.name}")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    work.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def remove(name: str, models: Path, forget: Callable[[Path], int] = lambda folder: 0) -> tuple[Path, int]:
    """Delete a model of KAIWA_HOME/models by name. Return its path and the bytes freed.

    forget: deletes cached files of a model and returns their bytes. UserError for a name that is not in the folder.
    """
    for folder in sorted(models.iterdir()) if models.is_dir() else []:
        if folder.name.startswith("."):
            continue
        if name in (folder.name, folder.stem if folder.is_file() else folder.name, _name(folder)):
            freed = _size(folder) + forget(folder)
            removed = folder.with_name(f".removing-{folder.name}")
            _delete(removed)  # left by a killed removal
            folder.rename(removed)
            _delete(removed)
            return folder, freed
    raise UserError(f"{name!r} is not in {models}; only pulled or copied models are removed (builds lie under runs/)")


def _delete(path: Path) -> None:
    """Delete a file, a folder with its contents, or a link without its target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _size(path: Path) -> int:
    """Return the bytes of a file or of a folder's files, not counting targets of links."""
    files = [path] if path.is_file() else path.rglob("*")
    return 0 if path.is_symlink() else sum(f.lstat().st_size for f in files if f.is_file())


def _name(folder: Path) -> str:
    try:
        return str(json.loads((folder / CARD).read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
