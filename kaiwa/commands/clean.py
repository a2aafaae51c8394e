"""kaiwa clean: the caches under KAIWA_HOME, and what of them can be freed.

    packed copies       4-bit models packed for this processor; old: the model's folder is gone, or a newer copy exists
    compiled libraries  the C++ step and kernels; old: a newer one exists
    torch               compiled training steps (torch.compile)
    unfinished          files of processes that were killed

All of it comes back by itself: a packed copy takes seconds to half a minute, a library seconds.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.env import folder_bytes, without_home
from kaiwa.commands.options import read_options
from kaiwa.core.home import home


@dataclass(kw_only=True)
class Options:
    """Show the caches and their sizes, and delete what is old: copies of deleted models, earlier states, leftovers.

    Models, chats, builds and results are never touched.
    """

    all: bool = False  # delete the caches in use too; the next load makes them again
    dry_run: bool = False  # show only


@dataclass(frozen=True, slots=True)
class CacheFile:
    """A file or folder of a cache. kind: as in this module's table; old: cannot be used again."""

    path: Path
    kind: str
    size: int
    old: bool


def main(words: list[str]) -> None:
    """Print the caches, delete the old files, print the bytes freed."""
    options = read_options(Options, "kaiwa clean", words)
    files = list(cache_files(home() / "cache"))
    kinds = sorted({file.kind for file in files})
    for kind in kinds:
        group = [file for file in files if file.kind == kind]
        total, old = sum(f.size for f in group), sum(f.size for f in group if f.old)
        print(f"{kind:<18}  {total / 1e6:>10,.1f} MB   of these old {old / 1e6:>10,.1f} MB   {len(group)} files")
    freed = 0
    for file in files:
        if (options.all or file.old) and not options.dry_run:
            freed += delete(file)
    place = without_home(str(home() / "cache"))
    if options.dry_run:
        print(f"{place}: nothing deleted (--dry-run)")
    else:
        print(f"{place}: {freed / 1e6:,.1f} MB freed")


def cache_files(cache: Path) -> Iterator[CacheFile]:
    """Yield the files of a cache folder; none if there is no folder."""
    from kaiwa.core.compiled import BUILDING
    from kaiwa.core.machine import is_running
    from kaiwa.engine.native.packed_folder import read_owner

    copies: dict[str, list[Path]] = {}
    for file in (cache / "packed").glob("*.safetensors"):
        copies.setdefault(read_owner(file), []).append(file)
    for owner, files in copies.items():
        newest = max(files, key=lambda f: f.stat().st_mtime)
        for file in files:
            lost = not owner or not Path(owner).exists()
            yield CacheFile(file, "packed copies", file.stat().st_size, lost or file != newest)
    libraries: dict[str, list[Path]] = {}
    for file in cache.glob("*.so"):
        libraries.setdefault(file.name.rpartition("-")[0], []).append(file)
    for files in libraries.values():
        newest = max(files, key=lambda f: f.stat().st_mtime)
        for file in files:
            yield CacheFile(file, "compiled libraries", file.stat().st_size, file != newest)
    for part in (cache / "packed").glob("*.part*"):
        alive = is_running(part.suffix.removeprefix(".part").partition("-")[0])
        yield CacheFile(part, "unfinished", part.stat().st_size, not alive)
    for folder in cache.glob(f"{BUILDING}*"):
        alive = is_running(folder.name.removeprefix(BUILDING).partition("-")[0])
        yield CacheFile(folder, "unfinished", folder_bytes(folder), not alive)
    if (cache / "torch").is_dir():
        yield CacheFile(cache / "torch", "torch", folder_bytes(cache / "torch"), False)


def delete(file: CacheFile) -> int:
    """Delete a file or folder; return the bytes freed, 0 with one line if the system refuses."""
    try:
        shutil.rmtree(file.path) if file.path.is_dir() else file.path.unlink(missing_ok=True)
    except OSError as error:
        print(f"kaiwa: {file.path} stays: {error.strerror}", file=sys.stderr)
        return 0
    return file.size
