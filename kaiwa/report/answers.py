"""Answers side by side: one prompt, the truth, and each model's answer with the judge's three verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kaiwa.report.html import Child, join, tag
from kaiwa.report.words import Words

AXES = ("helpful", "truthful", "harmless")


def linker(names: Mapping[str, str]) -> Callable[[str], Markup]:
    """Return a function that makes every villager's name in a text a button. `names`: name -> villager id."""
    if not names:
        return lambda text: join([text])
    pattern = re.compile("|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)))

    def link(text: str) -> Markup:
        parts: list[Child] = []
        end = 0
        for match in pattern.finditer(text):
            parts.append(text[end : match.start()])
            parts.append(tag("button", match[0], type="button", class_="villager", data_villager=names[match[0]]))
            end = match.end()
        return join([*parts, text[end:]])

    return link


def verdicts(answer: Mapping[str, Any], words: Words) -> Markup:
    """Draw the three verdicts on an answer as words; failed verdicts are struck through, and worded so for screen
    readers.
    """
    marks = []
    for axis in AXES:
        good = bool(answer.get(axis))
        label = words(f"axis.{axis}" if good else f"axis.not_{axis}")
        marks.append(tag("span", label, class_="good" if good else "bad"))
    return tag("p", *marks, class_="verdicts")


def side_by_side(
    prompt: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Mapping[str, Any]]],
    models: Sequence[str],
    *,
    words: Words,
    link: Callable[[str], Markup],
    truth: str = "",
) -> Markup:
    """Draw one prompt with every model's sampled answer; the greedy answer is folded in below.

    answers: model -> "sampled" or "greedy" -> {"text", "ended", verdicts}. link: makes names in texts buttons.
    """
    turns = [
        tag("p", tag("span", words(f"role.{m['role']}"), class_="small"), " ", link(m["content"]), class_="turn")
        for m in prompt["messages"]
    ]
    kind = words.first(f"kind.{prompt['kind']}") or prompt["kind"]
    group = words.first(f"group.{prompt.get('group', '')}")
    known = tag("p", words("answers.truth"), " ", link(truth), class_="small") if truth else None
    columns = []
    for model in models:
        modes = answers.get(model, {})
        if not modes:
            continue
        sampled, greedy = modes.get("sampled", {}), modes.get("greedy", {})
        folded = None
        if greedy:
            folded = tag(
                "details",
                tag("summary", words("answers.greedy")),
                tag("p", link(greedy.get("text", "")) or words("answers.silent"), class_="said"),
                verdicts(greedy, words),
            )
        text = link(sampled.get("text", "")) or tag("span", words("answers.silent"), class_="small")
        cut = tag("span", words("answers.cut"), class_="small") if sampled and not sampled.get("ended", True) else None
        columns.append(
            tag("div", tag("h4", model), tag("p", text, cut, class_="said"), verdicts(sampled, words), folded)
        )
    head = tag("p", " · ".join(part for part in (kind, group) if part), class_="small")
    return tag("article", head, *turns, known, tag("div", *columns, class_="columns"), class_="asked")
