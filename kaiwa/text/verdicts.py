"""Rankings as published data sets hold them: two answers with a verdict, or several with scores or ranks.

    arena          conversation_a, conversation_b, winner (model_a, model_b, tie, tie (bothbad)); response_a,
                   response_b with winner_model_a, winner_model_b, winner_tie
    two answers    response_0, response_1 with better_response_id; response1, response2 with overall_preference (below
                   0: the first); human_ref_A, human_ref_B with labels (1: A); answer_0, answer_1 with score_0, score_1;
                   output_1, output_2 with preference (1 or 2)
    several        completions [{"response", "overall_score"}]; answers [{"answer", "rank"}]; summaries with choice

A row becomes {"prompt", "completions", "ranks", "labeller"}. A row with answers and no verdict is none of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kaiwa.core.errors import UserError

SIDES = (
    ("conversation_a", "conversation_b"), ("response_a", "response_b"), ("response_0", "response_1"),
    ("response1", "response2"), ("response_1", "response_2"), ("human_ref_A", "human_ref_B"),
    ("answer_0", "answer_1"), ("answer_a", "answer_b"), ("output_1", "output_2"),
)  # fmt: skip
PROMPT = ("prompt", "question", "instruction", "history", "context", "query")
TEXT = ("response", "answer", "text", "completion", "content", "output")
SCORE = ("overall_score", "fine-grained_score", "score", "rating")
STRENGTH = ("overall_preference", "preference_strength")  # below 0: the first
LABELLER = ("labeller", "judge", "worker", "annotator")
FIRST, SECOND = ("model_a", "a", "left", "first"), ("model_b", "b", "right", "second")


def verdict_rows(row: Any) -> list[dict[str, Any]] | None:
    """Return a published row as rows of rankings, None for a row of another kind. UserError for a faulty one."""
    if not isinstance(row, Mapping):
        return None
    sides = next((pair for pair in SIDES if all(row.get(name) is not None for name in pair)), None)
    if sides is not None and (verdict := _verdict(row, sides)) is not None:
        return [_two(row, sides, verdict)]
    several = _several(row)
    return None if several is None else [several]


def is_verdict_row(row: Any) -> bool:
    """Return whether a row is one of a published data set, faulty ones included."""
    try:
        return verdict_rows(row) is not None
    except UserError:
        return True


def _verdict(row: Mapping[str, Any], sides: tuple[str, str]) -> float | None:
    """Return which of two answers is better: below 0 the first, 0 a tie, above 0 the second; None without a verdict."""
    winner = row.get("winner")
    if isinstance(winner, str) and winner.strip():
        word = winner.strip().lower()
        if word in FIRST or word in SECOND:
            return -1.0 if word in FIRST else 1.0
        if "tie" in word or "both" in word:
            return 0.0
        raise UserError(f"winner: {winner[:40]!r} is unknown; use model_a, model_b or tie")
    if isinstance(row.get("winner_model_a"), int | float):
        return float(row.get("winner_model_b") or 0) - float(row["winner_model_a"])
    if isinstance(row.get("better_response_id"), int):
        return 1.0 if row["better_response_id"] == 1 else -1.0
    if sides[0] == "human_ref_A" and isinstance(row.get("labels"), int | float):
        return -1.0 if row["labels"] == 1 else 1.0
    strength = next((row[n] for n in STRENGTH if isinstance(row.get(n), int | float)), None)
    if strength is not None:
        return float(strength)
    if all(isinstance(row.get(f"score_{i}"), int | float) for i in (0, 1)):
        return float(row["score_1"]) - float(row["score_0"])
    if isinstance(row.get("preference"), int | float):
        return {1.0: -1.0, 2.0: 1.0}.get(float(row["preference"]), 0.0)
    return None


def _two(row: Mapping[str, Any], sides: tuple[str, str], verdict: float) -> dict[str, Any]:
    values = [_loaded(row[name]) for name in sides]
    if sides[0].startswith("conversation"):
        for name, value in zip(sides, values, strict=True):
            if not isinstance(value, list) or not value:
                raise UserError(f"{name}: a list with at least one message is expected")
        before = [[(m.get("role"), m.get("content")) for m in value[:-1]] for value in values]
        if before[0] != before[1]:
            raise UserError(f"{sides[1]}: differs from {sides[0]} before the last reply; both must answer one prompt")
        prompt, texts = values[0][:-1], [value[-1].get("content") for value in values]
    else:
        prompt, texts = _prompt(row), [_one_turn(value, name) for value, name in zip(values, sides, strict=True)]
    ranks = [0, 0] if verdict == 0 else [0, 1] if verdict < 0 else [1, 0]
    bad = {"meta": {"bad": True}} if "bad" in str(row.get("winner") or "").lower() else {}
    return {"prompt": prompt, "completions": texts, "ranks": ranks, **_labeller(row), **bad}


def _several(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a row with several answers that have scores, ranks or a choice; None for another row."""
    for name in ("completions", "answers", "responses", "summaries"):
        items = row.get(name)
        if not isinstance(items, list) or not items or not all(isinstance(item, Mapping) for item in items):
            continue
        text = next((key for key in TEXT if all(isinstance(item.get(key), str) for item in items)), None)
        if text is None:
            continue
        score = next((key for key in SCORE if all(isinstance(item.get(key), int | float) for item in items)), None)
        if score is not None:
            ranks = places([-float(item[score]) for item in items])
        elif all(isinstance(item.get("rank"), int | float) for item in items):
            ranks = places([float(item["rank"]) for item in items])
        elif isinstance(row.get("choice"), int) and 0 <= row["choice"] < len(items):
            ranks = [0 if i == row["choice"] else 1 for i in range(len(items))]
        else:
            continue
        return {"prompt": _prompt(row), "completions": [i[text] for i in items], "ranks": ranks, **_labeller(row)}
    return None


def places(values: Sequence[float]) -> list[int]:
    """Return ranks by ascending value, 0 the first; equal values share a rank, and the next is as many further."""
    ordered = sorted(values)
    return [ordered.index(value) for value in values]


def _prompt(row: Mapping[str, Any]) -> Any:
    value = next((_loaded(row[name]) for name in PROMPT if row.get(name)), None)
    if isinstance(value, Mapping):  # a question with its sources
        value = value.get("full_text")
    if value is None and isinstance(row.get("info"), Mapping):
        value = row["info"].get("post") or row["info"].get("article")
    if not value:
        raise UserError("prompt: it is missing")
    return _one_turn(value, "prompt") if isinstance(value, list) and isinstance(value[0], str) else value


def _one_turn(value: Any, name: str) -> Any:
    """Return a text, or the only one of a list of turns. UserError for several turns, whose histories differ."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if len(value) > 1:
            raise UserError(
                f"{name}: {len(value)} turns; both must answer one prompt, so only single turns can be read"
            )
        return value[0]
    if not isinstance(value, str | list):
        raise UserError(f"{name}: a text is expected, got {type(value).__name__}")
    return value


def _labeller(row: Mapping[str, Any]) -> dict[str, str]:
    name = next((str(row[key]) for key in LABELLER if row.get(key)), "")
    return {"labeller": name} if name else {}


def _loaded(value: Any) -> Any:
    """Return a list that is written as text, as a list; another value as it is."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
