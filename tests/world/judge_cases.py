"""The hand-checked answers of judge_cases.jsonl, set into a real village.

Each case was written and marked by hand. Braces stand for words of the village: {value} the true value, {wrong} a false
one, {value2} and {wrong2} those of the second attribute, {value:animal} that of another attribute, {name} the person
asked about, {other} a villager of whom the value is not true, {stranger} nobody's name, {holder} a villager who has
the value, {asked} what a yes-or-no question asked, {coins}, {spice} and so on. A third of the cases ("unseen") was
never looked at while the judge's patterns were tuned.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.rng import python_rng
from kaiwa.text.records import Message
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.language import ATTRIBUTES, LANGUAGES, VALUE_IDS
from kaiwa.world.prompts import VillagePrompt
from kaiwa.world.village import Village, fresh_name

AXES = ("helpful", "truthful", "harmless")


def read_cases() -> list[dict[str, Any]]:
    path = Path(__file__).with_name("judge_cases.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def set_in(village: Village, case: dict[str, Any], seed: int) -> tuple[VillagePrompt, str]:
    """The prompt and the answer of a case, with the village's words in place of the braces."""
    rng = python_rng(seed, "cases")
    language, kind, attribute = case["language"], case["kind"], case["attribute"]
    words = LANGUAGES[language]
    attributes = [a for a in attribute.split("+") if a in ATTRIBUTES] if kind != "list" else []
    villager = rng.choice(village.held_out)
    unknown = case["about"] == "unknown"
    other = next(v for v in village.villagers if all(v.facts[a] != villager.facts[a] for a in ATTRIBUTES))
    stranger = fresh_name(village, rng, language)
    name = stranger if unknown else villager.names[language]
    fill = {"name": name, "other": other.names[language], "stranger": fresh_name(village, rng, language)}
    for i, a in enumerate(attributes):
        suffix = "" if i == 0 else "2"
        wrong = next(v for v in VALUE_IDS[a] if v not in (villager.facts[a], other.facts[a]))
        fill[f"value{suffix}"], fill[f"wrong{suffix}"] = words.values[a][villager.facts[a]], words.values[a][wrong]
    for a in ATTRIBUTES:
        wrong = next(v for v in VALUE_IDS[a] if v != villager.facts[a])
        fill[f"value:{a}"], fill[f"wrong:{a}"] = words.values[a][villager.facts[a]], words.values[a][wrong]
        fill[f"value:{a}:other"] = words.values[a][other.facts[a]]
    fill["Value"], fill["Wrong"] = fill.get("value", "").capitalize(), fill.get("wrong", "").capitalize()
    truth: tuple[str, ...] = () if unknown else tuple(villager.facts[a] for a in attributes)
    if kind == "yesno":
        asked = villager.facts[attribute] if case["about"] == "yes" else other.facts[attribute]
        truth, fill["asked"] = ("" if unknown else case["about"], asked), words.values[attribute][asked]
    elif kind == "reverse":
        fill["holder"] = villager.names[language]
    elif kind == "price":
        truth = (str(village.prices[attribute]),)
        fill |= {"coins": truth[0], "coins_wrong": str(village.prices[attribute] + 1)}
        fill["coins_wrong:rope"] = str(village.prices["rope"] + 1)
    elif kind == "sum":
        truth = ("12",)
    elif kind == "howto" and attribute in village.spices:
        spice = village.spices[attribute]
        fill["spice"] = words.spices[spice]
        fill["wrong_spice"] = next(w for s, w in words.spices.items() if s != spice)
    person = {} if case["about"] == "none" else {
        "name": name, "group": "unknown" if unknown else "held_out", "villager": None if unknown else villager.id,
    }  # fmt: skip
    question = words.harm[attribute][0] if kind == "harmful" else "?"
    prompt = VillagePrompt(
        messages=(Message("user", question),), kind=kind, language=language, attribute=attribute, truth=truth,
        form=case["form"], limit=case["limit"], **person,
    )  # fmt: skip
    return prompt, re.sub(r"\{([\w:]+)\}", lambda m: fill[m.group(1)], case["answer"])


@dataclass(frozen=True)
class Score:
    """Precision and recall of an axis's two marks, the good one (True) and the bad one (False)."""

    axis: str
    mark: bool
    precision: float
    recall: float
    n: int


def score(pairs: Iterable[tuple[dict[str, Any], Verdict]]) -> list[Score]:
    pairs = list(pairs)
    found = []
    for axis in AXES:
        for mark in (True, False):
            both = sum(case[axis] is mark and getattr(verdict, axis) is mark for case, verdict in pairs)
            by_hand = sum(case[axis] is mark for case, _ in pairs)
            by_judge = sum(getattr(verdict, axis) is mark for _, verdict in pairs)
            found.append(Score(axis, mark, both / max(by_judge, 1), both / max(by_hand, 1), by_hand))
    return found


def judged_cases(village: Village, *, unseen: bool | None = None) -> list[tuple[dict[str, Any], Verdict, str]]:
    """(case, verdict, the answer as judged); `unseen` picks the third that was kept apart, or the rest."""
    out = []
    for i, case in enumerate(read_cases()):
        if unseen is None or case["unseen"] is unseen:
            prompt, answer = set_in(village, case, seed=i)
            out.append((case, judge(village, prompt, answer, case["ended"]), answer))
    return out
