"""The real model's recipe: how preferences are divided, and how its results read."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.recipes import smollm2
from kaiwa.recipes.smollm2 import SmolLM2, build, split_preferences, summary
from kaiwa.text.records import read_jsonl


def row(prompt: str, chosen: str = "yes", rejected: str = "no") -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": prompt}], "chosen": chosen, "rejected": rejected}


def divided(config: SmolLM2, rows: list[dict[str, Any]], folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: list(read_jsonl(file)) for name, file in split_preferences(config, rows, folder).items()}


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(0, 5), st.integers(40, 90))
def test_no_prompt_is_in_two_parts_and_nothing_is_used_twice(n_prompts: int, seed: int, n: int) -> None:
    import tempfile

    rows = [row(f"question {i % (n_prompts * 4)}", f"yes {i}") for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        parts = divided(SmolLM2(test=8, seed=seed), rows, Path(folder))
    prompts = {name: {json.dumps(r["prompt"]) for r in parts[name]} for name in ("test", "reward", "judge")}
    assert not prompts["test"] & (prompts["reward"] | prompts["judge"])
    used = Counter(r["chosen"] for name in ("test", "reward", "judge") for r in parts[name])
    assert max(used.values()) == 1
    assert len(parts["test"]) == 8
    assert abs(len(parts["reward"]) - len(parts["judge"])) <= 1


def test_demonstrations_and_prompts_are_those_of_the_reward_model(tmp_path: Path) -> None:
    parts = divided(SmolLM2(test=4), [row(f"q{i}", f"a{i}") for i in range(40)], tmp_path)
    assert [r["messages"][0]["content"] for r in parts["prompts"]] == [
        r["prompt"][0]["content"] for r in parts["reward"]
    ]
    for demonstration, preference in zip(parts["demonstrations"], parts["reward"], strict=True):
        assert demonstration["messages"] == [
            *preference["prompt"], {"role": "assistant", "content": preference["chosen"]},
        ]  # fmt: skip


def test_long_ones_are_left_out_by_prompt_and_longer_answer(tmp_path: Path) -> None:
    config = SmolLM2(test=4, characters=10)
    fit = [row(f"{i:04d}", "123456", "1") for i in range(30)]  # 4 + 6 characters: just short enough
    long = [row("12345", "123456", "1"), row("1234", "1", "1234567")]
    parts = divided(config, fit + long, tmp_path)
    texts = [r for name in ("test", "reward", "judge") for r in parts[name]]
    assert len(texts) == 30
    assert all(len(r["prompt"][0]["content"]) == 4 and r["rejected"] == "1" for r in texts)


def test_at_most_so_many_and_the_same_ones_for_a_seed(tmp_path: Path) -> None:
    rows = [row(f"q{i}") for i in range(80)]
    first = divided(SmolLM2(most=30, test=4), rows, tmp_path / "a")
    assert sum(len(first[name]) for name in ("test", "reward", "judge")) == 30
    assert first == divided(SmolLM2(most=30, test=4), rows, tmp_path / "b")
    assert first != divided(SmolLM2(most=30, test=4, seed=1), rows, tmp_path / "c")


def test_too_few_are_told_with_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="23 preferences of at most 700 characters; 24 are needed: give more"):
        split_preferences(SmolLM2(test=4), [row(f"q{i}") for i in range(23)], tmp_path)
    split_preferences(SmolLM2(test=4), [row(f"q{i}") for i in range(24)], tmp_path)


def test_without_its_weights_it_says_how_to_install_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "smollm2", lambda: None)
    with pytest.raises(UserError, match="its weights are not installed; "):
        build(SmolLM2(), Context(), [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_summary_by_hand() -> None:
    share = {"mean": 0.625, "low": 0.5, "high": 0.75, "n": 40}
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    models = [
        {"name": "sft", "wins_by_judge": nothing, "wins_by_reward": nothing, "tokens": 10.04, "ended": 0.5},
        {"name": "ppo_ptx", "wins_by_judge": share, "wins_by_reward": nothing, "tokens": 20.0, "ended": 1.0},
    ]
    report = {"accuracy": {"reward": share}, "models": models, "seconds": {"sft": 61.4, "ppo_ptx": 3.6}}
    assert summary(report).splitlines() == [
        "reward model's accuracy on comparisons kept aside: 0.625 [0.500, 0.750] (n = 40)",
        "sft: 10.0 tokens a reply, 50% end",
        "ppo_ptx against sft: by the judge 0.625 [0.500, 0.750] (n = 40), by its own reward model –",
        "ppo_ptx: 20.0 tokens a reply, 100% end",
        "seconds: sft 61, ppo_ptx 4",
    ]
