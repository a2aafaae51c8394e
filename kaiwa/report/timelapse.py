"""Time-lapse: one prompt answered by every checkpoint, in the order of training, as a list that a slider steps
through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kaiwa.core.stages import STAGES
from kaiwa.report.html import join, tag
from kaiwa.report.words import Words

MOST_FRAMES = 60


def frames(samples: Mapping[str, Sequence[Mapping[str, Any]]], probe: str) -> list[tuple[str, int, str]]:
    """Return (stage, step, answer) of one probe over all stages, thinned evenly to MOST_FRAMES."""
    answers = [
        (stage.name, int(row["step"]), str(row["text"]))
        for stage in STAGES
        if stage.lapse
        for row in samples.get(stage.name, ())
        if row.get("id") == probe
    ]
    if len(answers) <= MOST_FRAMES:
        return answers
    return [answers[round(i * (len(answers) - 1) / (MOST_FRAMES - 1))] for i in range(MOST_FRAMES)]


def time_lapse(
    prompt: str,
    answers: Sequence[tuple[str, int, str]],
    words: Words,
    language: str,
    link: Callable[[str], Markup],
) -> Markup:
    items = [
        tag(
            "li",
            tag("span", words("lapse.at", stage=stage, step=f"{step:,}"), class_="small"),
            tag("p", link(text) or words("answers.silent"), class_="said", lang=language),
        )
        for stage, step, text in answers
    ]
    starts = []
    for i, (stage, _, _) in enumerate(answers):
        if i == 0 or stage != answers[i - 1][0]:
            starts.append(f"{i}:{stage}")
    return tag(
        "figure",
        tag("figcaption", link(prompt), lang=language),
        tag("ol", join(items), data_starts=" ".join(starts), data_label=words("lapse.slider")),
        class_="lapse",
    )
