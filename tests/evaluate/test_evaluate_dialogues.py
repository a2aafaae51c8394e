"""Accuracy at turn 3, win rates against the rival, and margins, on answers written by hand."""

from pathlib import Path
from random import Random

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.evaluate.answers import Answer
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.evaluate.dialogues import (
    DialogueAnswers,
    DialogueTests,
    accuracy,
    compare_dialogues,
    read_dialogues,
    single_questions,
)
from kaiwa.evaluate.run import run
from kaiwa.world.demonstrations import write_answer
from kaiwa.world.dialogues import LINKS, write_dialogues, write_turn3
from kaiwa.world.judge import judge
from kaiwa.world.prompts import VillagePrompt
from kaiwa.world.village import VillageConfig, build_village

VILLAGE = build_village(VillageConfig(n_taught=24, n_held_out=8, languages=("en", "ja")))
TURN3 = write_turn3(VILLAGE, n=4)
TALKS = DialogueTests(write_dialogues(VILLAGE, n=30, split="test", purpose="test"), TURN3)


def answers(prompts: list[VillagePrompt], right: set[int]) -> list[Answer]:
    """Return best answers at the numbers in `right`, and silence elsewhere."""
    texts = [write_answer(VILLAGE, p, Random(i)) if i in right else "" for i, p in enumerate(prompts)]
    return [Answer(t, True, 1, (1,), -1.0, judge(VILLAGE, p, t)) for p, t in zip(prompts, texts, strict=True)]


def talk(right: set[int], won: set[int]) -> DialogueAnswers:
    said = answers(TALKS.dialogues, won)
    return DialogueAnswers(said, said, answers(TURN3, right), answers(TURN3, set()))


def test_accuracy_by_link_and_language() -> None:
    pronouns = {i for i, p in enumerate(TURN3) if p.link == "pronoun"}
    english = {i for i, p in enumerate(TURN3) if p.link == "name" and p.language == "en"}
    figures = accuracy(TURN3, answers(TURN3, pronouns | english))
    assert figures["mean"] == pytest.approx(12 / 40)
    by_link = {"pronoun": 1.0, "name": 0.5} | dict.fromkeys({"sister", "correction", "return"}, 0.0)
    assert {k: v["mean"] for k, v in figures["by_link"].items()} == pytest.approx(by_link)
    assert set(figures["by_link"]) == set(LINKS)
    assert {k: v["mean"] for k, v in figures["by_language"].items()} == pytest.approx({"en": 8 / 20, "ja": 4 / 20})


def test_a_model_against_its_rival() -> None:
    everything, few = set(range(40)), {0, 1, 2, 3, 4}
    rows = compare_dialogues(TALKS, {"old": talk(few, set()), "new": talk(everything, set(range(30)))}, "old")
    new, old = rows["new"], rows["old"]
    assert new["turn3"]["mean"] == 1.0
    assert new["turn3_times_rival"] == pytest.approx(8.0)
    assert new["turn3_difference"]["mean"] == pytest.approx(35 / 40)
    assert new["turn3_difference"]["low"] > 0
    assert new["turn3_without_turn1"]["mean"] == 0.0
    assert new["win_rate_vs_rival"]["mean"] == pytest.approx(1.0, abs=0.1)
    assert (old["turn3_difference"]["mean"], old["turn3_times_rival"]) == (0.0, 1.0)
    assert old["win_rate_vs_rival"]["mean"] is None  # only ties
    none = compare_dialogues(TALKS, {"old": talk(set(), set()), "new": talk(few, set())}, "old")
    assert none["new"]["turn3_times_rival"] is None  # nothing to divide by


@pytest.mark.parametrize(("n_lost", "held"), [(0, True), (20, False)])
def test_single_questions_keep_their_margin(n_lost: int, held: bool) -> None:
    prompts = TALKS.dialogues
    theirs, ours = answers(prompts, set(range(30))), answers(prompts, set(range(n_lost, 30)))
    figures = single_questions(prompts, ours, theirs, margin=0.05)
    assert figures["helpful_difference"]["mean"] == pytest.approx(-n_lost / 30)
    assert figures["held"] is held


def test_a_village_without_dialogues_and_a_rival_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no dialogues; set village\.dialogues, or leave"):
        read_dialogues(tmp_path)
    artifact = Artifact(tmp_path, {"hash": "0"})
    given = {"village": artifact, "tokens": artifact, "out": tmp_path / "out"}
    with pytest.raises(UserError, match=r"evaluate.rival 'ppo_ptc' is no model; did you mean 'ppo_ptx'\?"):
        run(EvaluateConfig(rival="ppo_ptc"), Context(), models={"sft": artifact, "ppo_ptx": artifact}, **given)
