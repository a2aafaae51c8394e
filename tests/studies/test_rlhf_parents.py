"""What the arms of the RLHF study share, and in what they differ."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from kaiwa.studies.rlhf_parents import TEST_SHARE, arms, rank_by_length, split_comparisons
from kaiwa.studies.rlhf_sizes import size


@pytest.mark.parametrize("name", ["tiny", "laptop"])
def test_arms_differ_from_one_in_what_their_names_say(name: str) -> None:
    one = size(name)
    base = one.recipe.rlhf
    made = arms(one, base)
    assert made["ppo_beta_small"] == base
    changed = {
        arm: {f.name for f in fields(base) if getattr(config, f.name) != getattr(base, f.name)}
        for arm, config in made.items()
    }
    assert changed == {
        "ppo_beta_0": {"penalty"},
        "ppo_beta_small": set(),
        "ppo_beta_large": {"penalty"},
        "ppo_ptx_small": {"pretraining"},
        "ppo_ptx_tuned": {"pretraining"},
        "rloo": {"method", "group"},
    }
    none, some, much = (made[f"ppo_beta_{b}"].penalty.kl_coefficient for b in ("0", "small", "large"))
    assert none == 0.0 < some < much
    assert made["ppo_ptx_small"].pretraining.ptx_coefficient > 0 < made["ppo_ptx_tuned"].pretraining.ptx_ratio


def test_ranks_by_length_have_ties() -> None:
    row = {"completions": ["", "ab", "ab", "abc"], "ranks": [0, 1, 2, 3], "prompt": "x"}
    assert rank_by_length(row) == {**row, "ranks": [2, 1, 1, 0]}


def test_the_parts_of_the_comparisons(tmp_path: Path) -> None:
    rows = [{"prompt": i, "completions": ["a" * (i % 3), "bb"], "ranks": [0, 1]} for i in range(20)]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = split_comparisons(file, tmp_path / "deep" / "cut", (0.1, 0.5, 1.0))
    read = {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in files.items()}
    n = round(20 * (1 - TEST_SHARE))
    assert {name: len(part) for name, part in read.items()} == {"0.1": 4, "0.5": 8, "1": n, "test": 3, "length": n}
    assert read["test"] == rows[n:]
    assert read["0.1"] == rows[:4], "at least four, however small the share"
    assert [row["ranks"] for row in read["length"][:4]] == [[0, 1], [1, 0], [0, 1], [1, 0]]
    assert read["1"] == rows[:n], "ranking by length changes nothing else"
