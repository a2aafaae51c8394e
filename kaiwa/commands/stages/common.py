"""Common parts of the stages' commands: --out, --seed, --threads, --device, --preset, and the final line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import tyro

from kaiwa.commands.console import make_context
from kaiwa.commands.curves import CurveFormat, curve_listener
from kaiwa.commands.options import read_options
from kaiwa.commands.stages.run_file import as_toml, words_with_file
from kaiwa.core.artifact import RUN_FILE, Artifact, write_atomic
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class StageOptions:
    """Options of every stage."""

    out: Path  # the folder to publish
    seed: int = 0
    threads: int = 0  # 0: all cores


@dataclass(kw_only=True)
class DeviceOptions(StageOptions):
    """Options of a stage that computes with torch."""

    log: tuple[CurveFormat, ...] = ()  # also write the curves for tensorboard, wandb, trackio, beside the logs
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


Options = TypeVar("Options", bound=StageOptions)


def run_stage(
    name: str,
    options: type[Options],
    words: list[str],
    run: Callable[[Options, Context], Artifact | None],
    default: Options | None = None,
) -> None:
    """Read the words of a stage's command, run the stage, and print the published artifact, if any.

    `--config FILE.toml` gives options by their names; those on the command line win. The artifact gets the options of
    the run as run.toml.
    """
    chosen = read_options(options, f"kaiwa {name}", words_with_file(words), default)
    device = chosen.device if isinstance(chosen, DeviceOptions) else None
    ctx = make_context(seed=chosen.seed, threads=chosen.threads, device=device, logs=chosen.out.parent / "logs")
    if isinstance(chosen, DeviceOptions) and chosen.log:
        formats, folder = chosen.log, chosen.out.parent / "logs"
        ctx.curves = lambda stage: curve_listener(formats, folder, stage)
    artifact = run(chosen, ctx)
    if artifact is not None:
        write_atomic(artifact.path / RUN_FILE, f"# kaiwa {name} --config {RUN_FILE}\n{as_toml(chosen)}")
        print(f"{artifact.path}: {artifact.kind}, {artifact.manifest['seconds']} s, hash {artifact.hash[:16]}")


def run_stage_with_preset(
    name: str, options: type[Options], words: list[str], run: Callable[[Options, Context], Artifact | None]
) -> None:
    """Run a stage's command like `run_stage`; `--preset NAME` sets the options' defaults to the preset's values."""
    at = next((i for i, word in enumerate(words) if word.partition("=")[0] == "--preset"), None)
    if at is None:
        run_stage(name, options, words, run)
        return
    _, equals, preset_name = words[at].partition("=")
    rest = words[at + 1 :]
    if not equals:
        if not rest:
            raise UserError("--preset needs a name, such as instructgpt-1.3b")
        preset_name, rest = rest[0], rest[1:]
    from kaiwa.recipes.instructgpt import preset

    required = {f.name: tyro.MISSING for f in fields(options) if f.default is MISSING and f.default_factory is MISSING}
    values: dict[str, Any] = {**required, "config": preset(preset_name, name)}
    run_stage(name, options, words[:at] + rest, run, options(**values))
