"""Pooled figures of the RLHF study, by hand."""

import json
import math
from pathlib import Path

import pytest

from kaiwa.studies.rlhf import AXES, SAME, arm_rows, curves_of, write_study

from .results import PEOPLE, N, arm, results

ARMS = {
    "base": arm(bits=1.0, cloze=0.5),
    "sft": arm(utility=0.0, bits=1.1, cloze=0.0),
    "ppo": arm(utility=1.0, proxy=2.0),
}


def test_figures_are_pooled_over_seeds_and_clustered_by_person() -> None:
    two = results(ARMS)
    assert two.names == ["base", "sft", "ppo"]
    assert two.clusters() == [*PEOPLE, *PEOPLE]
    assert len(two.pool("ppo", "utility")) == 2 * N
    mean = two.mean("ppo", "proxy")
    assert mean.mean == pytest.approx(2.0 + 0.08 / N * (N - 1) / 2)
    assert mean.n == 20, "twenty people, whatever the number of seeds"


def test_wins_are_decided_pairs() -> None:
    one = results(ARMS, n_seeds=1)
    assert one.wins("ppo", "sft").mean == 1.0
    assert one.wins("sft", "ppo").mean == 0.0
    assert one.wins("sft", "sft") == SAME
    assert math.isnan(one.wins("base", "sft").mean), "no pair is decided"


def test_differences_are_paired_item_by_item() -> None:
    one = results(ARMS)
    bits = one.difference("bits", "sft", "base")
    assert bits.mean == pytest.approx(0.1)
    assert bits.high - bits.low == pytest.approx(0.0, abs=1e-9), "every row differs by the same"
    assert bits.n == 4, "the same rows in both seeds are no new rows"
    assert one.difference("cloze", "base", "sft").mean == pytest.approx(0.5 * 3 / 5)


def test_rows_of_the_arms() -> None:
    rows = {row["name"]: row for row in arm_rows(results(ARMS))}
    assert rows["sft"]["gold_win_rate"] == SAME.to_json()
    assert rows["ppo"]["gold_win_rate"]["mean"] == 1.0
    assert rows["ppo"]["seeds"] == 2
    assert rows["base"]["bits_per_byte_delta"] == 0.0
    assert rows["ppo"]["length"] == 10.0
    assert [rows["ppo"][axis]["mean"] for axis in AXES] == [0.5, 1.0, 0.0, 1.0]


def test_curves_are_changes_since_the_start() -> None:
    curves = curves_of(results(ARMS))
    over = {point["update"]: point for point in curves["over_optimisation"]}
    assert (over[0]["proxy"], over[0]["gold"]) == (0.0, 0.0)
    assert over[9]["proxy"] == pytest.approx(3.0)
    assert over[9]["gold"] == pytest.approx(-1.0)
    assert over[5]["root_kl"] == pytest.approx(math.sqrt(0.5))
    sizes = curves["reward_by_comparisons"]
    assert [(p["comparisons"], p["accuracy"]["mean"]) for p in sizes] == [(100.0, 0.5), (200.0, 0.75)]
    assert [p["epoch"] for p in curves["reward_by_epoch"]] == [1, 2]
    assert curves["reward_by_epoch"][1]["epoch_validation_loss"] == pytest.approx(0.7)


def test_a_negative_kl_has_no_root() -> None:
    hacked = {0: arm(), 5: arm(kl=[-0.1] * N)}
    assert curves_of(results(ARMS, hacked=hacked))["over_optimisation"][1]["root_kl"] == 0.0


def test_the_file_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    value = write_study(results(ARMS), [{"name": "x"}], curves_of(results(ARMS)), tmp_path, {"n": 8})
    text = (tmp_path / "study.json").read_text()
    assert json.loads(text) == value
    assert "NaN" not in text
    assert value["claims"] == [{"name": "x"}]
    assert value["about"] == {"n": 8}
