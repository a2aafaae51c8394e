"""The arms of an experiment's file: techniques, each with its own prompt and sampling if it has them, the same
techniques over several prompts, and over several models.

    [[arms]]     name, technique and its options, controls, task, prompt (a table, or a .toml or .md file), sampling
    [[prompts]]  name and a prompt: every arm without a prompt of its own is asked with each of them

Without registered contrasts each arm meets the first. Two techniques over two prompts are a 2 x 2 design: the effect of
the technique under each prompt, of the prompt under each technique, and their interaction are registered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.sampling_values import change_sampling
from kaiwa.lab.experiments.experiment import Arm, Contrast
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.prompt_file import prompt_from_values, read_prompt
from kaiwa.lab.techniques.by_name import read_technique
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.technique import GREEDY
from kaiwa.text.sampling import Sampling

ARM_FIELDS = ("name", "controls", "task", "prompt", "sampling")  # beside the technique's own


def read_arms(values: Mapping[str, Any], path: Path) -> tuple[list[Arm], list[Contrast]]:
    """Read an experiment's arms and contrasts from its file's values. UserError names the file and the arm."""
    contrasts = [_contrast(row, path) for row in values.get("contrasts", ())]
    prompts = _named_prompts(values.get("prompts", ()), path)
    arms: list[Arm] = []
    with_controls = False
    for i, row in enumerate(values.get("arms", ())):
        arms += _read_arm(row, f"{path}, arm {row.get('name', i + 1)}", path)
        with_controls = with_controls or bool(row.get("controls"))
    if prompts and not arms:
        arms = [Arm(name=ZeroShot().name, technique=ZeroShot())]
    if prompts:
        arms, designed = spread_over_prompts(arms, prompts, where=str(path))
        return arms, contrasts or designed
    if with_controls and not contrasts:
        contrasts = _with_controls(arms)
    return arms, contrasts


def _read_arm(row: Mapping[str, Any], where: str, path: Path) -> list[Arm]:
    """Read one arm, and its controls where the file asks for them."""
    options = {k: v for k, v in row.items() if k not in ARM_FIELDS}
    technique = read_technique({"technique": "zero-shot"} | options if "prompt" in row else options, where)
    name = row.get("name", technique.name)
    own = Arm(
        name=name,
        technique=technique,
        task=row.get("task", ""),
        prompt=prompt_from_value(row["prompt"], path) if "prompt" in row else None,
        sampling=read_sampling(GREEDY, row["sampling"], where) if "sampling" in row else None,
    )
    if not row.get("controls"):
        return [own]
    controls = technique.controls().items()
    return [own, *(dataclasses.replace(own, name=f"{name}: {c}", technique=control) for c, control in controls)]


def prompt_from_value(value: Any, path: Path) -> Prompt:
    """Read a prompt that a file gives as a table, or by the name of a .toml or .md file beside `path`."""
    if isinstance(value, str):
        return read_prompt(path.parent / value)
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: a prompt is a table of its elements or the name of a file, not {value!r:.60}")
    return prompt_from_values(dict(value), str(path))


def _named_prompts(rows: Any, path: Path) -> dict[str, Prompt]:
    prompts: dict[str, Prompt] = {}
    for i, row in enumerate(rows):
        name = str(row.get("name", f"prompt {i + 1}"))
        if name in prompts:
            raise UserError(f"{path}: two prompts are called {name!r}")
        if "file" in row and len(row) > 1 + ("name" in row):
            raise UserError(f"{path}, prompt {name}: a file, or its elements here, not both")
        elements = {k: v for k, v in row.items() if k != "name"}
        prompts[name] = prompt_from_value(row.get("file", elements), path)
    return prompts


def spread_over_prompts(
    arms: Sequence[Arm], prompts: Mapping[str, Prompt], where: str = "prompts"
) -> tuple[list[Arm], list[Contrast]]:
    """Put every arm without a prompt of its own on every prompt, as "arm / prompt". Return all arms and contrasts.

    A single technique's arms are named by their prompts alone. UserError where every arm has its own prompt.
    """
    free = [arm for arm in arms if arm.prompt is None]
    own = [arm for arm in arms if arm.prompt is not None]
    if not free:
        raise UserError(f"{where}: every arm has a prompt of its own, so nothing is left for [[prompts]]")
    single = len(free) == 1

    def cell(arm: Arm, prompt: str) -> str:
        return prompt if single else f"{arm.name} / {prompt}"

    spread = [
        dataclasses.replace(arm, name=cell(arm, name), prompt=prompt)
        for arm in free
        for name, prompt in prompts.items()
    ]
    if len(free) != 2 or len(prompts) != 2 or own:
        return [*spread, *own], []
    (first, second), (one, two) = free, prompts
    return spread, [
        Contrast(a=cell(first, one), b=cell(second, one), claim=f"{second.name} under {one}"),
        Contrast(a=cell(first, two), b=cell(second, two), claim=f"{second.name} under {two}"),
        Contrast(a=cell(first, one), b=cell(first, two), claim=f"{two} with {first.name}"),
        Contrast(a=cell(second, one), b=cell(second, two), claim=f"{two} with {second.name}"),
        Contrast(
            a=cell(first, two),
            b=cell(second, two),
            less=(cell(first, one), cell(second, one)),
            claim=f"interaction: {second.name} gains more under {two} than under {one}",
        ),
    ]


def read_sampling(sampling: Sampling, values: Mapping[str, Any], where: str) -> Sampling:
    """Return an experiment's sampling with some fields replaced. UserError for a value that no sampler can use.

    max_tokens belong to tasks and techniques, seeds to the experiment: both are refused here.
    """
    return change_sampling(sampling, values, where, fixed=("max_tokens", "seed"))


def spread_over_models(
    arms: list[Arm], contrasts: list[Contrast], models: tuple[str, ...]
) -> tuple[list[Arm], list[Contrast]]:
    """Put every arm on every model, as "arm @ model". Return all arms and contrasts.

    Compared are, within each model, the registered contrasts (without any, each arm against the first), and each arm on
    every further model against the same arm on the first. UserError for a model named twice.
    """
    if len(set(models)) < len(models):
        raise UserError(f"models: {', '.join(models)} has one twice")
    model_arms = [
        dataclasses.replace(arm, name=f"{arm.name} @ {model}", model=model) for model in models for arm in arms
    ]
    registered = contrasts or [Contrast(a=arms[0].name, b=arm.name, task=arm.task) for arm in arms[1:]]
    within = [
        dataclasses.replace(
            c, a=f"{c.a} @ {model}", b=f"{c.b} @ {model}", less=tuple(f"{name} @ {model}" for name in c.less)
        )
        for model in models
        for c in registered
        if "@" not in c.a + c.b
    ]
    within += [c for c in registered if "@" in c.a + c.b]
    across = [
        Contrast(a=f"{arm.name} @ {models[0]}", b=f"{arm.name} @ {model}", task=arm.task)
        for model in models[1:]
        for arm in arms
    ]
    return model_arms, within + across


def _with_controls(arms: list[Arm]) -> list[Contrast]:
    """Return contrasts of each arm with the first, and of each arm with the arm's controls."""
    main = [arm.name for arm in arms if ": " not in arm.name]
    against_first = [Contrast(a=main[0], b=name) for name in main[1:]]
    return against_first + [Contrast(a=arm.name, b=arm.name.split(": ")[0]) for arm in arms if ": " in arm.name]


def _contrast(row: Mapping[str, Any], path: Path) -> Contrast:
    try:
        return Contrast(**{**row, "less": tuple(row.get("less", ()))})
    except TypeError:
        raise UserError(f"{path}: a contrast has a, b and perhaps claim, task and less, got {', '.join(row)}") from None
