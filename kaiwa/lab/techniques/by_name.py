"""Techniques by name, as experiment files write them: {technique = "few-shot", k = 4, inner = {technique = …}}."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.prompt_file import prompt_from_values
from kaiwa.lab.techniques.knowledge import GeneratedKnowledge
from kaiwa.lab.techniques.react import ReAct
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.steps import LeastToMost, PromptChain, SelfAsk
from kaiwa.lab.techniques.technique import Technique
from kaiwa.lab.techniques.thought import ChainOfThought, ZeroShotCoT
from kaiwa.lab.techniques.tree import TreeOfThought
from kaiwa.lab.techniques.votes import Longer, SelfConsistency

NAMED: Mapping[str, type] = {
    "zero-shot": ZeroShot,
    "few-shot": FewShot,
    "chain-of-thought": ChainOfThought,
    "zero-shot-cot": ZeroShotCoT,
    "self-consistency": SelfConsistency,
    "generated-knowledge": GeneratedKnowledge,
    "react": ReAct,
    "least-to-most": LeastToMost,
    "self-ask": SelfAsk,
    "tree-of-thought": TreeOfThought,
    "chain": PromptChain,
    "longer": Longer,
}


def read_technique(values: Mapping[str, Any], where: str = "technique") -> Technique:
    """Build a technique from plain values. UserError with a suggestion for an unknown name or option."""
    name = str(values.get("technique", ""))
    if name not in NAMED:
        raise UserError(f"{where}: no technique {name!r}{did_you_mean(name, NAMED)}")
    fields = {f.name for f in dataclasses.fields(NAMED[name])}
    options: dict[str, Any] = {}
    for option, value in values.items():
        if option == "technique":
            continue
        if option not in fields:
            raise UserError(f"{where}: {name} has no option {option!r}{did_you_mean(option, fields or ['none'])}")
        if option == "inner":
            value = read_technique(value, f"{where}.inner")
        elif option == "prompts":
            value = tuple(prompt_from_values(p, f"{where}.prompts") for p in value)
        elif isinstance(value, list):
            value = tuple(value)
        options[option] = value
    try:
        technique: Technique = NAMED[name](**options)
    except TypeError as error:
        raise UserError(f"{where}: {name}: {error}") from None
    return technique


def reseed(technique: Technique, seed: int) -> Technique:
    """Return the technique with other demonstrations, as a second seed of an experiment needs."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(technique):  # type: ignore[arg-type]
        if field.name == "inner":
            changes["inner"] = reseed(technique.inner, seed)  # type: ignore[attr-defined]
        if field.name == "seed":
            changes["seed"] = technique.seed + seed  # type: ignore[attr-defined]
    return dataclasses.replace(technique, **changes) if changes else technique  # type: ignore[type-var]
