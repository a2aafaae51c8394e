"""Lenient reading of a build's folder: the present files, and a list of the missing files. Half-built folders are
fine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.artifact import MANIFEST
from kaiwa.core.metrics import read_metrics
from kaiwa.core.stages import STAGES, Road, stage_names

DOCUMENTS_A_FACT = 2
MOST_DOCUMENT = 400  # characters of a document that are shown


@dataclass(slots=True)
class SavedBuild:
    """Everything that a report shows. `missing` names the unreadable files."""

    folder: Path
    report: Mapping[str, Any] = field(default_factory=dict)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    villagers: list[dict[str, Any]] = field(default_factory=list)
    languages: tuple[str, ...] = ("en",)
    taught_by: dict[str, dict[str, list[int]]] = field(default_factory=dict)  # villager -> attribute -> documents
    documents: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        return self.report.get("stages") or ()

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        return self.report.get("models") or ()

    @property
    def details(self) -> Mapping[str, Any]:
        return self.report.get("details") or {}

    def detail(self, model: str) -> Mapping[str, Any]:
        """Return a model's row of evaluation.json, {} for a model that was not evaluated."""
        return next((row for row in self.details.get("models", ()) if row.get("name") == model), {})

    @property
    def names(self) -> dict[str, str]:
        """Every villager's name in the build's languages -> id."""
        return {v["names"][lang]: v["id"] for v in self.villagers for lang in self.languages if lang in v["names"]}


def read_build(folder: Path) -> SavedBuild:
    """Read a build's folder. Never raises for a file that does not exist yet: `missing` lists the file."""
    build = SavedBuild(folder)
    build.report = read_json(folder / "report.json") or _from_manifests(folder, build.missing)
    for file in sorted((folder / "logs").glob("*.jsonl")):
        build.logs[file.stem] = read_metrics(file)
    for stage in STAGES:
        if stage.samples:
            build.samples[stage.name] = samples_of(folder, stage.name)
    build.answers = list(read_rows(folder / "evaluation" / "answers.jsonl"))
    build.probes = {
        row["id"]: row for row in read_rows(folder / "village" / "probes.jsonl") if row.get("kind") == "chat"
    }
    village = read_json(folder / "village" / "village.json")
    build.villagers = list(village.get("villagers", ()))
    build.languages = tuple(village.get("languages", ("en",)))
    _find_teaching(build, folder / "village" / "documents.jsonl")
    parts = {
        "answers.jsonl": build.answers,
        "village.json": build.villagers,
        "samples.jsonl": any(build.samples.values()),
        "logs": build.logs,
    }
    build.missing += [name for name, content in parts.items() if not content]
    return build


def samples_of(folder: Path, stage: str) -> list[dict[str, Any]]:
    """Read a stage's time-lapse samples, finished or still growing."""
    published = folder / stage / "samples.jsonl"
    return list(read_rows(published if published.is_file() else folder / f".{stage}.work" / "samples.jsonl"))


def _from_manifests(folder: Path, missing: list[str]) -> dict[str, Any]:
    """Return the content of report.json for the stages that are done, for a build that has not finished."""
    missing.append("report.json")
    stages = []
    road: Road = "dialogue" if any((folder / name).is_dir() for name in ("dialogue", ".dialogue.work")) else "text"
    for name in stage_names(road):
        manifest = read_json(folder / name / MANIFEST)
        if manifest:
            seconds, metrics = manifest.get("seconds", 0), manifest.get("metrics", {})
            stages.append({"name": name, "seconds": seconds, "artifact": name, "metrics": metrics})
        else:
            missing.append(name)
    evaluation = read_json(folder / "evaluation" / "evaluation.json")
    seconds = sum(stage["seconds"] for stage in stages)
    return {
        "recipe": read_json(folder / "status.json").get("recipe", folder.name),
        "seconds": seconds,
        "stages": stages,
        "models": evaluation.get("models", []),
        "details": evaluation,
    }


def _find_teaching(build: SavedBuild, file: Path) -> None:
    """Find, for every fact of every villager, the first few documents that state the fact in one sentence with the
    name.

    A document about one villager alone may say "they": there the value is enough.
    """
    people = {v["id"]: v for v in build.villagers}
    numbers: dict[str, int] = {}
    for row in read_rows(file):
        text, language = row.get("text", ""), row.get("language", "en")
        about = [v for v in row.get("meta", {}).get("villagers", ()) if v in people]
        for villager in about:
            facts = people[villager]["facts"].get(language, {})
            name = people[villager]["names"].get(language, "")
            by_attribute = build.taught_by.setdefault(villager, {})
            for attribute, value in facts.items():
                document_numbers = by_attribute.setdefault(f"{language}.{attribute}", [])
                if (
                    len(document_numbers) < DOCUMENTS_A_FACT
                    and value in text
                    and _states(text, name, value, len(about) == 1)
                ):
                    if text not in numbers:
                        numbers[text] = len(build.documents)
                        build.documents.append(_cut_around(text, value))
                    document_numbers.append(numbers[text])


def _states(text: str, name: str, value: str, alone: bool) -> bool:
    if alone:
        return True
    return any(name in sentence and value in sentence for sentence in re.split(r"(?<=[.!?。！？\n])", text))


def _cut_around(text: str, value: str) -> str:
    """Cut a long document to the text around the fact."""
    if len(text) <= MOST_DOCUMENT:
        return text
    start = max(0, min(text.find(value) - MOST_DOCUMENT // 2, len(text) - MOST_DOCUMENT))
    end = start + MOST_DOCUMENT
    return ("… " if start else "") + text[start:end].strip() + (" …" if end < len(text) else "")


def read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file; half-written lines are left out, and a missing file has none."""
    try:
        lines = open(file, encoding="utf-8", errors="replace")  # noqa: SIM115
    except OSError:
        return
    with lines:
        for line in lines:
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield value
