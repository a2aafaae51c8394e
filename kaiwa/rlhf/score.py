"""A Python function of the user in place of the reward model.

def brevity(prompts, replies):            # prompts: one list of messages per reply; replies: texts
    return [-len(text) for text in replies]

kaiwa rlhf … --score rewards.py:brevity
kaiwa rlhf … --score 0.5*rewards.py:brevity,2*rewards.py:polite        a weighted sum
"""

from __future__ import annotations

import importlib.util
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.text.records import Completion, Conversation

Function = Callable[[list[list[dict[str, str]]], list[str]], Sequence[float]]


def weighted(spec: str) -> list[tuple[float, str]]:
    """Return (weight, FILE.py:FUNCTION) of each part of a score, as "0.5*a.py:f,b.py:g". UserError for a bad weight."""
    parts = []
    for part in spec.split(","):
        factor, star, name = part.strip().partition("*")
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            raise UserError(f"score {part!r}: {factor!r} is no weight; give WEIGHT*FILE.py:FUNCTION") from None
        if not math.isfinite(weight):
            raise UserError(f"score {part!r}: the weight must be finite")
        parts.append((weight, name.strip() if star else part.strip()))
    return parts


def function_file(spec: str) -> Path:
    """Return the file of FILE.py:FUNCTION. UserError for another format or a missing file."""
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise UserError(f"score {spec!r}: give FILE.py:FUNCTION, as rewards.py:brevity")
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file; --score takes FILE.py:FUNCTION")
    return Path(file)


def load_function(spec: str) -> Function:
    """Return the function of FILE.py:FUNCTION. UserError for a file that cannot be imported or lacks the function."""
    file, name = function_file(spec), spec.rpartition(":")[2]
    module_spec = importlib.util.spec_from_file_location("kaiwa_score", file)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["kaiwa_score"] = module  # dataclasses look up their module here
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be imported: {type(error).__name__}: {reason}") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{file}: has no function {name!r}{did_you_mean(name, known)}")
    return function  # type: ignore[no-any-return]


def score_from_files(
    spec: str, messages_of: Mapping[tuple[int, ...], Conversation]
) -> Callable[[Sequence[Sequence[int]], Sequence[Completion]], Tensor]:
    """Return the weighted sum of the functions of a score as a `Score` (scores [B])."""
    parts = [(weight, score_from_file(one, messages_of)) for weight, one in weighted(spec)]

    def score(prompts: Sequence[Sequence[int]], responses: Sequence[Completion]) -> Tensor:
        return torch.stack([weight * part(prompts, responses) for weight, part in parts]).sum(dim=0)

    return score


def score_from_file(
    spec: str, messages_of: Mapping[tuple[int, ...], Conversation]
) -> Callable[[Sequence[Sequence[int]], Sequence[Completion]], Tensor]:
    """Return the function of FILE.py:FUNCTION as a `Score` (scores [B]). messages_of: prompt ids -> messages."""
    function = load_function(spec)

    def score(prompts: Sequence[Sequence[int]], responses: Sequence[Completion]) -> Tensor:
        messages = [[m.to_json() for m in messages_of[tuple(ids)]] for ids in prompts]
        replies = [response.text for response in responses]
        try:
            results: Any = function(messages, replies)
            values = [float(value) for value in results]
        except (Exception, SystemExit) as error:
            where = [
                f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(function_file(spec))
            ]
            line = f", line {where[-1]}" if where else ""
            raise UserError(
                f"{spec}{line}: raised {type(error).__name__}: {' '.join(str(error).split())} (given {len(replies)} "
                f"replies, the first {replies[0]!r:.60}); nothing was published; the same command continues from the "
                "last checkpoint, or starts again if the file was changed"
            ) from error
        return check_scores(values, replies, spec)

    return score


def check_scores(values: Sequence[float] | Tensor, replies: Sequence[str], who: str) -> Tensor:
    """Return the scores as a tensor [B]. UserError unless there is one finite score per reply."""
    numbers = values.tolist() if isinstance(values, Tensor) else list(values)
    if len(numbers) != len(replies):
        raise UserError(f"{who}: gave {len(numbers)} scores for {len(replies)} replies; give one each, in order")
    wrong = [i for i, value in enumerate(numbers) if not math.isfinite(value)]
    if wrong:
        raise UserError(
            f"{who}: {len(wrong)} of {len(numbers)} scores are no numbers, the first {numbers[wrong[0]]} for reply "
            f"{wrong[0]} ({replies[wrong[0]]!r:.60}); return a finite number for every reply"
        )
    return torch.tensor(numbers, dtype=torch.float32)
