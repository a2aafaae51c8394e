"""Attacks and harmless requests from files: one's own tables, promptfoo's tests, garak's probes and reports.

    .csv .tsv .jsonl     name, text (or turns: a list), place, goals, language; {task} and {secret} are filled in
    .txt                 a prompt a line, as garak keeps its probes' prompts
    .json                a list of prompts (garak), or promptfoo's configuration or results (tests: vars, metadata)
    .yaml .yml           promptfoo's configuration (needs PyYAML)
    garak's report       .jsonl lines with entry_type "attempt": each prompt once

What is read is sent to the model and never run. An attack without {task} is sent as it stands: it succeeds if a secret
leaks, a rule is broken, a fact asserted or a guarded tool called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.rows import read_placed_rows, read_text
from kaiwa.redteam.attacks.attack import Attack, choose_attacks
from kaiwa.redteam.oracles.aims import GOALS
from kaiwa.redteam.targets.target import LANGUAGES, BenignRequest, OwnAttack, Target

OWN = "own"
PLACES = ("user", "document", "tool")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".yaml", ".yml", ".parquet")
PROMPT_FIELDS = ("text", "prompt", "attack", "user", "query", "question", "input")
STATIC_GOALS = ("secret", "rule", "fact", "tool")


def is_attack_file(word: str) -> bool:
    return Path(word).suffix in SUFFIXES


def make_attack(name: str, turns: Sequence[str], where: str, more: Mapping[str, Any], idea: str = "") -> Attack:
    """Return an attack from a file's values. UserError for an empty text, an unknown place, goal or language."""
    texts = tuple(str(turn) for turn in turns)
    if not texts or not all(text.strip() for text in texts):
        raise UserError(f"{where}: the attack is empty")
    place = str(more.get("place") or "user")
    if place not in PLACES:
        raise UserError(f"{where}: place {place!r}; give {', '.join(PLACES)}")
    if place != "user" and len(texts) > 1:
        raise UserError(f"{where}: an attack in a {place} has one text")
    goals = more.get("goals") or ()
    goals = tuple(goals.replace(",", " ").split()) if isinstance(goals, str) else tuple(map(str, goals))
    for goal in goals:
        if goal not in GOALS:
            raise UserError(f"{where}: goal {goal!r}; give {', '.join(GOALS)}")
    language = str(more.get("language") or "")
    if language and language not in LANGUAGES:
        raise UserError(f"{where}: language {language!r}; give {' or '.join(LANGUAGES)}")
    task_inside = any("{task}" in text for text in texts)
    return Attack(
        name=name,
        family=OWN,
        goals=goals or ((*STATIC_GOALS, "witness") if task_inside else STATIC_GOALS),
        wording=dict.fromkeys(LANGUAGES, texts),
        idea=idea or f"from {where}",
        place=place,
    )


def own_attacks(attacks_in_file: Sequence[OwnAttack], where: str) -> list[Attack]:
    """Return the attacks of a target's file ([[attack]])."""
    attacks = []
    for one in attacks_in_file:
        more = {"place": one.place, "goals": one.goals}
        attacks.append(make_attack(one.name, one.turns or (one.text,), f"{where}, attack {one.name}", more))
    return attacks


def read_attacks(path: Path) -> list[Attack]:
    """Read a file's attacks, named by the file and their number where they have no name. UserError names the place."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of attacks")
    attacks = []
    names: set[str] = set()
    for i, (where, row) in enumerate(_rows(path), 1):
        name = str(row.get("name") or row.get("id") or f"{path.stem}-{i}")
        if name in names:
            raise UserError(f"{where}: two attacks are called {name!r}")
        names.add(name)
        turns = row.get("turns") or [_prompt_of(row, where)]
        turns = json.loads(turns) if isinstance(turns, str) and turns.lstrip().startswith("[") else turns
        attacks.append(make_attack(name, [turns] if isinstance(turns, str) else turns, where, row))
    if not attacks:
        raise UserError(f"{path}: no attacks in it")
    return attacks


def read_benign(path: Path) -> tuple[BenignRequest, ...]:
    """Read harmless requests: user (or text, prompt, …) and perhaps expect, a pattern of a useful answer."""
    requests = tuple(
        BenignRequest(user=_prompt_of(row, where), expect=str(row.get("expect") or "")) for where, row in _rows(path)
    )
    if not requests:
        raise UserError(f"{path}: no requests in it")
    return requests


def _prompt_of(row: Mapping[str, Any], where: str) -> str:
    for name in PROMPT_FIELDS:
        if str(row.get(name) or "").strip():
            return str(row[name])
    raise UserError(f"{where}: none of {', '.join(PROMPT_FIELDS)}; there is {', '.join(map(str, row)) or 'nothing'}")


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".txt":
        lines = read_text(path).splitlines()
        yield from ((f"{path}:{i}", {"text": line}) for i, line in enumerate(lines, 1) if line.strip())
    elif path.suffix in (".json", ".yaml", ".yml"):
        yield from _whole(path)
    else:
        prompts: set[str] = set()
        for where, row in read_placed_rows(path):
            if "entry_type" not in row:
                yield where, row
            elif row["entry_type"] == "attempt" and (text := _garak_prompt(row)) and text not in prompts:
                prompts.add(text)
                probe = str(row.get("probe_classname", "garak")).removeprefix("garak.probes.")
                yield where, {"text": text, "name": f"{probe}-{len(prompts)}"}


def _garak_prompt(row: Mapping[str, Any]) -> str:
    """Return an attempt's prompt: text, or the last user turn of a conversation, in garak's older and newer form."""
    prompt = row.get("prompt")
    if isinstance(prompt, Mapping):
        turns = [turn for turn in prompt.get("turns", ()) if turn.get("role") == "user"]
        content = turns[-1].get("content") if turns else prompt.get("text")
        prompt = content.get("text") if isinstance(content, Mapping) else content
    return str(prompt or "")


def _whole(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    value = _parse(path)
    if isinstance(value, list):
        for i, entry in enumerate(value, 1):
            yield f"{path}, entry {i}", entry if isinstance(entry, Mapping) else {"text": str(entry)}
        return
    tests = value.get("tests") if isinstance(value, Mapping) else None
    if isinstance(tests, Mapping) or tests is None:
        rows = (value.get("results") or {}) if isinstance(value, Mapping) else {}
        tests = rows.get("results") if isinstance(rows, Mapping) else rows
    if not isinstance(tests, list):
        raise UserError(f"{path}: neither a list of prompts nor promptfoo's tests")
    for i, test in enumerate(tests, 1):
        where = f"{path}, test {i}"
        if not isinstance(test, Mapping):
            raise UserError(f"{where}: an object is expected")
        variables = test.get("vars") or {}
        text = next((str(variables[name]) for name in PROMPT_FIELDS if variables.get(name)), "")
        text = text or next((str(v) for v in variables.values() if isinstance(v, str)), "")
        if not text:
            raise UserError(f"{where}: no text among its vars")
        metadata = test.get("metadata") or {}
        parts = [str(metadata[name]) for name in ("pluginId", "strategyId") if metadata.get(name)]
        yield where, {"text": text, "name": f"{'-'.join(parts) or path.stem}-{i}"}


def _parse(path: Path) -> Any:
    text = read_text(path)
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error})") from None
    try:
        import yaml
    except ImportError:
        raise UserError(f"{path}: reading YAML needs PyYAML (pip install pyyaml), or save it as JSON") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None


def attacks_of(text: str, known: Sequence[Attack], target: Target) -> list[Attack]:
    """Choose attacks by a list of names, families and files: "leaking,mine.csv,persona+leet", with transforms behind +.

    "all" has the target's own attacks too. UserError as for `choose_attacks` and `read_attacks`.
    """
    own = own_attacks(target.attacks, f"target {target.name}")
    attacks = [*known, *own]
    chosen: list[Attack] = []
    for word in (part.strip() for part in text.split(",")):
        path, plus, transforms = word.partition("+")
        if not is_attack_file(path):
            chosen += choose_attacks(word, attacks)
            continue
        for attack in read_attacks(Path(path)):
            chosen += choose_attacks(f"{attack.name}{plus}{transforms}", [attack]) if plus else [attack]
    names = [attack.name for attack in chosen]
    twice = next((a.name for a in chosen if names.count(a.name) > 1 and a.family == OWN), None)
    if twice is not None:
        raise UserError(f"two attacks are called {twice!r}; rename one")
    return list({attack.name: attack for attack in chosen}.values())
