"""Dialogues: what every model makes of the held-out ones, of a question at turn 3, and of it without turn 1.

Accuracy without turn 1 must be near chance: only then does the question need that turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.evaluate.answers import Answer, answer_all
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.evaluate.rates import against, clusters
from kaiwa.model.decoder import Decoder
from kaiwa.stats.paired import mean_difference
from kaiwa.stats.shares import share
from kaiwa.text.records import read_jsonl
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.dialogues import without_turn
from kaiwa.world.prompts import VillagePrompt, prompt_from_json
from kaiwa.world.village import Village


@dataclass(frozen=True, slots=True)
class DialogueTests:
    """The held-out dialogues of a village."""

    dialogues: list[VillagePrompt]
    turn3: list[VillagePrompt]


@dataclass(frozen=True, slots=True)
class DialogueAnswers:
    """A model's answers to the dialogues, and (greedy) to the questions at turn 3 with and without turn 1."""

    sampled: list[Answer]
    greedy: list[Answer]
    turn3: list[Answer]
    turn3_without_turn1: list[Answer]


def read_dialogues(folder: Path) -> DialogueTests:
    """Return the held-out dialogues of a village's folder. UserError for a village without dialogues."""
    files = [folder / f"{name}.jsonl" for name in ("dialogues", "turn3")]
    if not all(file.is_file() for file in files):
        raise UserError(
            f"{folder}: this village has no dialogues; set village.dialogues, or leave evaluate.rival empty"
        )
    dialogues, turn3 = ([prompt_from_json(row) for row in read_jsonl(file)] for file in files)
    return DialogueTests(dialogues, turn3)


def answer_dialogues(
    model: Decoder, tokenizer: Tokenizer, village: Village, tests: DialogueTests, config: EvaluateConfig, *, seed: int
) -> DialogueAnswers:
    """Return a model's answers to all dialogues."""

    def answers(prompts: Sequence[VillagePrompt], temperature: float) -> list[Answer]:
        return answer_all(
            model, tokenizer, village, prompts, max_tokens=config.max_tokens, temperature=temperature, seed=seed
        )

    return DialogueAnswers(
        sampled=answers(tests.dialogues, config.temperature),
        greedy=answers(tests.dialogues, 0.0),
        turn3=answers(tests.turn3, 0.0),
        turn3_without_turn1=answers([without_turn(prompt) for prompt in tests.turn3], 0.0),
    )


def accuracy(prompts: Sequence[VillagePrompt], answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the share of right answers with its interval, and the same by link and by language."""
    right = [float(a.verdict.right) for a in answers]
    groups = clusters(prompts)

    def part(name: str, value: str) -> dict[str, Any]:
        chosen = [i for i, p in enumerate(prompts) if getattr(p, name) == value]
        return share([right[i] for i in chosen], [groups[i] for i in chosen]).to_json()

    by = {name: sorted({getattr(p, name) for p in prompts}) for name in ("link", "language")}
    parts = {f"by_{name}": {value: part(name, value) for value in values} for name, values in by.items()}
    return share(right, groups).to_json() | parts


def compare_dialogues(
    tests: DialogueTests, answers: Mapping[str, DialogueAnswers], rival: str
) -> dict[str, dict[str, Any]]:
    """Return each model's figures on dialogues: win rates against the rival, accuracy at turn 3, and differences."""
    theirs = answers[rival]
    right = [float(a.verdict.right) for a in theirs.turn3]
    figures: dict[str, dict[str, Any]] = {}
    for name, ours in answers.items():
        turn3 = accuracy(tests.turn3, ours.turn3)
        ratio = turn3["mean"] / max(sum(right) / len(right), 1e-9) if any(right) else None
        difference = mean_difference([float(a.verdict.right) for a in ours.turn3], right, clusters(tests.turn3))
        figures[name] = {
            "turn3": turn3,
            "turn3_without_turn1": accuracy(tests.turn3, ours.turn3_without_turn1),
            "turn3_difference": difference.to_json(),
            "turn3_times_rival": None if ratio is None else round(ratio, 3),
            "against_rival": {
                mode: against(tests.dialogues, getattr(ours, mode), getattr(theirs, mode))
                for mode in ("sampled", "greedy")
            },
        }
        figures[name]["win_rate_vs_rival"] = figures[name]["against_rival"]["sampled"]["decided"]
    return figures


def single_questions(
    prompts: Sequence[VillagePrompt], ours: Sequence[Answer], theirs: Sequence[Answer], margin: float
) -> dict[str, Any]:
    """Return the difference in helpful answers to single questions, and whether all its interval is above -margin."""
    helpful = [[float(a.verdict.helpful) for a in answers] for answers in (ours, theirs)]
    difference = mean_difference(helpful[0], helpful[1], clusters(prompts))
    within = difference.low > -margin
    return {"helpful_difference": difference.to_json(), "margin": margin, "held": within}
