"""A build of dialogues in its report: the tables, and a finding for each aim with its state."""

from pathlib import Path
from typing import Any

import pytest

from kaiwa.report.build_report import body
from kaiwa.report.dialogues import dialogue_findings, dialogue_tables
from kaiwa.report.findings import best_model, headline
from kaiwa.report.read import SavedBuild
from kaiwa.report.words import Words


def share(mean: float, half: float = 0.05) -> dict[str, Any]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": 90}


def row(name: str, turn3: float, *, difference: float = 0.0, win: float = 0.5, without: float = 0.06) -> dict[str, Any]:
    parts = {"by_link": {"pronoun": share(turn3)}, "by_language": {"en": share(turn3)}}
    against = {mode: {"decided": share(win)} for mode in ("sampled", "greedy")}
    return {
        "name": name, "turn3": share(turn3) | parts, "turn3_without_turn1": share(without, 0.03),
        "turn3_difference": share(difference), "turn3_times_rival": turn3 / 0.2, "against_rival": against,
        "single_questions": {"helpful_difference": share(-0.01), "margin": 0.1, "held": True},
        "bits_change": {"share": 0.03, "margin": 0.02, "held": False},
    }  # fmt: skip


def saved(*rows: dict[str, Any]) -> SavedBuild:
    details = {"models": list(rows), "dialogues": {"rival": "ppo_ptx", "prompts": 60, "turn3": 40}}
    return SavedBuild(folder=Path("runs/chatgpt"), report={"recipe": "chatgpt", "seconds": 700, "details": details})


@pytest.mark.parametrize(
    ("ours", "states"),
    [
        (row("dialogue", 0.6, difference=0.4, win=0.7), ["met", "met", "met", "met", "short"]),
        (row("dialogue", 0.3, difference=0.1, win=0.52), ["open", "met", "open", "met", "short"]),
        (row("dialogue", 0.1, difference=-0.1, win=0.3, without=0.3), ["short", "short", "short", "met", "short"]),
    ],
)
def test_each_aim_has_a_finding(ours: dict[str, Any], states: list[str]) -> None:
    build = saved(row("ppo_ptx", 0.2), ours)
    for language in ("en", "ja"):
        results = dialogue_findings(build, Words(language))
        assert [state for state, _ in results] == states
        assert all("{" not in text and "find." not in text for _, text in results)


def test_tables_name_every_model_link_and_language() -> None:
    html = str(dialogue_tables(saved(row("ppo_ptx", 0.2), row("dialogue", 0.6)).details, Words("en")))
    assert html.count("right at turn 3") == 3  # in all, for a link, for a language
    assert "a pronoun" in html
    assert "English" in html
    assert "dialogue · sampled" in html
    assert "ppo_ptx · sampled" not in html  # the rival against itself


def test_the_report_aims_at_the_dialogue_model() -> None:
    build = saved(row("ppo_ptx", 0.2), row("dialogue", 0.6), row("sft", 0.4))
    assert best_model(build) == "dialogue"
    assert headline(build, Words("en"))[0] == "chatgpt: from a base model to dialogues in 11 min 40 s."
    assert "Without turn 1 it is right in" in str(body(build, "en"))
