"""The report of a build as one self-contained file: style, script, plots and data inside, both languages, no outside
address. The Report page shows the same body inside the frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kaiwa.core.stages import STAGES, model_names
from kaiwa.report import sections
from kaiwa.report.answers import linker, side_by_side
from kaiwa.report.dialogues import dialogue_tables
from kaiwa.report.findings import findings, headline
from kaiwa.report.html import Child, join, tag
from kaiwa.report.page import page
from kaiwa.report.read import SavedBuild, read_build
from kaiwa.report.receipt import receipt
from kaiwa.report.reward_card import reward_figures
from kaiwa.report.timelapse import frames, time_lapse
from kaiwa.report.words import LANGUAGES, Words

PROMPTS = 10  # a language
ANSWERS_A_VILLAGER = 4


def render_build(folder: Path, language: str = "en") -> str:
    """Render the whole HTML file of a build's folder, `language` shown first. Missing parts are named, never an
    error."""
    build = read_build(folder)
    title = f"{build.report.get('recipe', folder.name)} · kaiwa"
    return page(title, {name: body(build, name) for name in LANGUAGES}, language, data_script(build))


def body(build: SavedBuild, language: str) -> Markup:
    """Draw all sections of the report in one language."""
    words = Words(language)
    link = linker(build.names)
    title, lead = headline(build, words)
    parts: list[Child] = [tag("h1", title), tag("p", lead, class_="lead")]
    if build.missing:
        parts.append(tag("p", words("report.missing", what=", ".join(build.missing)), class_="warn"))
    items = [
        tag("li", tag("b", words(f"state.{f.state}")), tag("span", f.text), class_=f.state)
        for f in findings(build, words)
    ]
    parts.append(section("findings", tag("ul", *items, class_="findings"), words))
    if build.models:
        parts.append(section("models", sections.model_table(build.models, words), words))
        if build.details.get("dialogues"):
            parts.append(section("dialogues", dialogue_tables(build.details, words), words))
        parts.append(section("wins", sections.win_forests(build.details, words), words))
        parts.append(section("rates", sections.rate_tables(build.details, words), words))
    parts.append(lapses(build, words, link))
    parts.append(prompts(build, words, link))
    parts.append(people(build, words, language))
    if build.details.get("reward"):
        card = next((s["metrics"].get("card") for s in build.stages if s["name"] == "reward"), None)
        reward_parts = [sections.reward_card(build.details["reward"], words), reward_figures(card or {}, words)]
        parts.append(section("reward", join(reward_parts), words))
    if build.stages:
        parts.append(section("stages", sections.stage_table(build.stages, words), words))
    curves = [
        tag("details", tag("summary", name), sections.stage_curves(build.logs[name], words), open=name == "base")
        for name in (stage.name for stage in STAGES if stage.curves)
        if build.logs.get(name)
    ]
    if curves:
        parts.append(section("curves", join(curves), words))
    if build.report.get("receipt"):
        pairs = next((s["metrics"].get("pairs") for s in build.stages if s["name"] == "comparisons"), None)
        parts.append(section("receipt", receipt(build.report["receipt"], pairs, words), words))
    return tag("div", *parts, class_="pieces")


def section(name: str, content: Child, words: Words) -> Markup:
    about = words.first(f"section.{name}.about")
    return tag("section", tag("h2", words(f"section.{name}")), tag("p", about) if about else None, content)


def lapses(build: SavedBuild, words: Words, link: Callable[[str], Markup]) -> Markup | None:
    parts = []
    for probe, row in build.probes.items():
        answers = frames(build.samples, probe)
        if len(answers) > 1:
            text = " / ".join(m["content"] for m in row["messages"] if m["role"] == "user")
            parts.append(time_lapse(text, answers, words, row.get("language", "en"), link))
    return section("lapse", tag("div", *parts, class_="lapses"), words) if parts else None


def prompts(build: SavedBuild, words: Words, link: Callable[[str], Markup]) -> Markup | None:
    """Draw ten prompts per language with all models' answers, one prompt of each kind as far as the ten go."""
    parts: list[Child] = []
    for language in build.languages:
        rows = choose([row for row in build.answers if row["prompt"].get("language") == language], PROMPTS)
        if not rows:
            continue
        if len(build.languages) > 1:
            parts.append(tag("h3", words(f"language.{language}")))
        names = _truths(build, language)
        for row in rows:
            truth = ", ".join(names.get(value, value) for value in _truth(row["prompt"], build, language))
            card = side_by_side(row["prompt"], row["answers"], model_names("any"), words=words, link=link, truth=truth)
            parts.append(tag("div", card, lang=language) if language != words.language else card)
    return section("prompts", join(parts), words) if parts else None


def choose(rows: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """Choose at most `most` rows: one of every kind in the kinds' order, then a second of each, and so on."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_kind.setdefault(row["prompt"]["kind"], []).append(row)
    chosen: list[Mapping[str, Any]] = []
    depth = 0
    while len(chosen) < most and any(len(group) > depth for group in by_kind.values()):
        chosen += [group[depth] for group in by_kind.values() if len(group) > depth]
        depth += 1
    return chosen[:most]


def people(build: SavedBuild, words: Words, language: str) -> Markup | None:
    """Draw all villagers as buttons. The script fills the dialog behind a button from the page's data."""
    if not build.villagers:
        return None
    names_language = language if language in build.languages else build.languages[0]
    groups: list[Child] = []
    for group in ("held_out", "taught"):
        buttons = [
            tag(
                "button",
                v["names"].get(names_language, v["id"]),
                type="button",
                class_="villager",
                data_villager=v["id"],
            )
            for v in build.villagers
            if v.get("group") == group
        ]
        if buttons:
            groups += [tag("h3", words(f"group.{group}")), tag("p", join(buttons, " "), class_="names")]
    labels = {k: words(f"people.{k}") for k in ("facts", "documents", "answers", "none", "close")}
    attributes = {
        key.removeprefix("attribute."): text for key, text in words.texts.items() if key.startswith("attribute.")
    }
    values = json.dumps({"labels": labels, "attributes": attributes, "language": names_language}, ensure_ascii=False)
    dialog = tag("dialog", class_="person", data_words=values)
    return section("people", join([*groups, dialog]), words)


def data_script(build: SavedBuild) -> Markup:
    """Return the villagers' data as a JSON element, once for both languages. "<" is escaped: no text can end the
    element."""
    by_villager: dict[str, list[dict[str, Any]]] = {}
    for row in build.answers:
        villager = row["prompt"].get("villager")
        questions = by_villager.setdefault(villager, []) if villager else []
        if villager and len(questions) < ANSWERS_A_VILLAGER:
            answers = {
                model: [modes["greedy"]["text"], bool(modes["greedy"].get("helpful"))]
                for model, modes in row["answers"].items()
                if modes.get("greedy")
            }
            prompt = row["prompt"]
            questions.append({"q": prompt["messages"][-1]["content"], "l": prompt.get("language", "en"), "a": answers})
    value = {
        "people": {
            v["id"]: {
                "names": v["names"],
                "group": v.get("group", ""),
                "facts": v["facts"],
                "taught": build.taught_by.get(v["id"], {}),
                "asked": by_villager.get(v["id"], []),
            }
            for v in build.villagers
        },
        "documents": build.documents,
    }
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return tag("script", Markup(text.replace("<", "\\u003c")), type="application/json", class_="village")


def _truth(prompt: Mapping[str, Any], build: SavedBuild, language: str) -> list[str]:
    """Return the truth in words: the facts that the prompt asks for, else the truth as noted with the prompt."""
    person = next((v for v in build.villagers if v["id"] == prompt.get("villager")), None)
    if person is not None and prompt["kind"] in ("known", "facts", "dialogue", "yesno"):
        facts = person["facts"].get(language, {})
        attributes = str(prompt.get("attribute", "")).split("+")
        return [facts[a] for a in attributes if a in facts]
    return [] if prompt["kind"] in ("harmful", "small_talk", "howto", "list") else list(prompt.get("truth", ()))


def _truths(build: SavedBuild, language: str) -> dict[str, str]:
    """Return villager ids -> names, for truths that are people."""
    return {v["id"]: v["names"].get(language, v["id"]) for v in build.villagers}
