"""Verdicts into figures: who is counted, who wins, what the ceiling is."""

import json
from pathlib import Path

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.rng import python_rng
from kaiwa.evaluate.answers import Answer
from kaiwa.evaluate.rates import against, clusters, rates
from kaiwa.evaluate.reward_card import gold_pairs, reward_card
from kaiwa.text.records import Message
from kaiwa.world.demonstrations import GOOD, MIXED, write_answer
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.labeller import label_comparison, labellers
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.village import Village, VillageConfig, build_village


@pytest.fixture(scope="module")
def village() -> Village:
    return build_village(VillageConfig(n_taught=12, n_held_out=6))


@pytest.fixture(scope="module")
def prompts(village: Village) -> list[VillagePrompt]:
    return write_prompts(village, n=200, seed=1, split="test", purpose="test")


def answer(village: Village, prompt: VillagePrompt, text: str) -> Answer:
    return Answer(text, True, 5, (1, 2), -1.0, judge(village, prompt, text, True))


def good(village: Village, prompts: list[VillagePrompt]) -> list[Answer]:
    rng = python_rng(1)
    return [answer(village, p, write_answer(village, p, rng, GOOD)) for p in prompts]


def test_good_answers_get_full_marks(village: Village, prompts: list[VillagePrompt]) -> None:
    table = rates(prompts, good(village, prompts))
    for name in ("helpful", "truthful", "harmless", "ended", "known_held_out_right", "harmful_refused"):
        assert table[name]["mean"] == pytest.approx(1.0, abs=0.02), name
    assert table["invented_about_unknown"]["mean"] == 0
    assert table["unknown_said_where_known"]["mean"] == 0
    assert table["known_held_out_right"]["n"] <= 6  # the villagers are the units, not the prompts about them


def test_always_not_knowing_shows_in_its_own_row(village: Village, prompts: list[VillagePrompt]) -> None:
    table = rates(prompts, [answer(village, p, "I don't know.") for p in prompts])
    assert table["unknown_said_where_known"]["mean"] == 1
    assert table["known_held_out_right"]["mean"] == 0
    assert table["invented_about_unknown"]["mean"] == 0


def test_wins_are_paired_and_equal_answers_tie(village: Village, prompts: list[VillagePrompt]) -> None:
    best = good(village, prompts)
    idle = [answer(village, p, "I don't know.") for p in prompts]
    won = against(prompts, best, idle)
    assert won["losses"] == 0
    assert won["decided"]["mean"] == 1
    same = against(prompts, best, best)
    assert (same["wins"], same["losses"]) == (0, 0)
    assert same["all"]["mean"] == 0.5
    assert same["decided"]["mean"] is None


def test_clusters_join_prompts_about_one_person(prompts: list[VillagePrompt]) -> None:
    by = clusters(prompts)
    people = [p for p in prompts if p.villager]
    assert len({c for c, p in zip(by, prompts, strict=True) if p.villager}) == len({p.villager for p in people})


def test_the_ceiling_is_below_one_and_above_chance(village: Village, tmp_path: Path) -> None:
    rng = python_rng(5)
    people = labellers(0)
    rows = []
    for prompt in write_prompts(village, n=150, seed=2, purpose="reward"):
        texts = [write_answer(village, prompt, rng, MIXED) for _ in range(5)]
        rows.append(label_comparison(village, prompt, texts, rng.choice(people), rng))
    right = n = 0.0
    for row in rows:
        a, b = gold_pairs(row, village)
        right, n = right + a, n + b
    assert 0.7 < right / n < 0.9
    file = tmp_path / "comparisons.jsonl"
    file.write_text("\n".join(json.dumps(row.to_json()) for row in rows), encoding="utf-8")
    metrics = {"held_out_accuracy": right / n, "held_out_pairs": 10}
    card = reward_card(Artifact(tmp_path, {"metrics": metrics}), file, village, ("labeller-5",))
    assert card["held_out"]["share_of_ceiling"] == pytest.approx(1.0, abs=0.1)
    assert card["held_out_labellers"]["accuracy"] is None


def asked(kind: str, **changes: object) -> VillagePrompt:
    return VillagePrompt(messages=(Message("user", "?"),), kind=kind, language="en", **changes)  # type: ignore[arg-type]


def scored(utility: float) -> Answer:
    verdict = Verdict(
        helpful=utility > 0, truthful=True, harmless=True, utility=utility, scores=(utility, 0.0, 0.0),
        right=utility > 0, says_unknown=False, refused=False, invented=False, in_form=True, padded=False, claims=(),
        reason="",
    )  # fmt: skip
    return Answer("", True, 1, (1,), -1.0, verdict)


def test_the_cluster_of_each_prompt_by_hand() -> None:
    prompts = [
        asked("known", villager="v001", name="Nori", attribute="trade"),
        asked("facts", villager="v001", name="Nori", attribute="food+home"),
        asked("unknown", name="Balt", attribute="trade", group="unknown"),
        asked("price", attribute="bread"),
        asked("howto", attribute="bread"),
    ]
    assert clusters(prompts) == ["v001", "v001", "Balt", "price:bread", "howto:bread"]


def test_the_rows_of_the_table_by_hand() -> None:
    prompts = [
        asked("known", group="held_out", villager="v1"),
        asked("known", group="held_out", villager="v2"),
        asked("yesno", group="held_out", villager="v3"),  # asks for yes or no, not for a fact
        asked("facts", group="taught", villager="v4"),
        asked("price", attribute="bread", form="words"),
    ]
    table = rates(prompts, [scored(u) for u in (1.0, -1.0, 1.0, -1.0, 1.0)])
    assert (table["known_held_out_right"]["mean"], table["known_held_out_right"]["n"]) == (0.5, 2)
    assert (table["known_taught_right"]["mean"], table["known_taught_right"]["n"]) == (0.0, 1)
    assert table["helpful"]["mean"] == 0.6
    assert (table["in_form"]["mean"], table["in_form"]["n"]) == (1.0, 1)
    assert table["utility"]["mean"] == pytest.approx(0.2)
    assert {kind: row["mean"] for kind, row in table["right_by_kind"].items()} == {
        "facts": 0.0, "known": 0.5, "price": 1.0, "yesno": 1.0,
    }  # fmt: skip


def test_a_rate_of_nobody_is_no_number() -> None:
    table = rates([asked("price", attribute="bread")], [scored(1.0)])
    assert table["harmful_refused"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert json.dumps(table)  # JSON has no NaN


def test_limits_of_one_person_are_those_of_one_and_not_of_many_prompts() -> None:
    one = [asked("known", group="taught", villager="v1") for _ in range(50)]
    table = rates(one, [scored(1.0)] * 25 + [scored(-1.0)] * 25)
    assert table["known_taught_right"] == {"mean": 0.5, "low": 0.0, "high": 1.0, "n": 1}


def test_wins_by_wording_by_hand() -> None:
    prompts = [asked("price", attribute=str(i), held_out_template=i % 2 == 1) for i in range(6)]
    ours = [scored(u) for u in (1.0, 0.0, 1.0, 0.0, 0.5, 0.5)]
    theirs = [scored(u) for u in (0.0, 1.0, 0.0, 0.0, 0.5, 0.0)]
    table = against(prompts, ours, theirs)
    assert (table["wins"], table["ties"], table["losses"]) == (3, 2, 1)
    assert table["all"]["mean"] == pytest.approx((3 + 2 / 2) / 6)
    assert table["decided"]["mean"] == pytest.approx(3 / 4)
    assert table["utility_difference"]["mean"] == pytest.approx((1 - 1 + 1 + 0 + 0 + 0.5) / 6)
    assert table["trained_wording"]["mean"] == 1.0  # two wins and a tie, which is not decided
    assert table["held_out_wording"]["mean"] == 0.5
    assert "held_out_wording" not in against(prompts[::2], ours[::2], theirs[::2])
