"""Evaluation's own checks: limits of its configuration, the baseline, the answers side by side."""

from pathlib import Path

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import from_json
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.evaluate.answers import Answer
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.evaluate.run import _side_by_side, run
from kaiwa.world.judge import judge
from kaiwa.world.prompts import write_prompts
from kaiwa.world.village import VillageConfig, build_village


@pytest.mark.parametrize("name", ["prompts", "max_tokens", "evaluate_rows", "width"])
def test_counts_are_from_one(name: str) -> None:
    with pytest.raises(UserError, match=f"evaluate.{name} is 0; it must be at least 1"):
        from_json(EvaluateConfig, {name: 0})
    assert getattr(from_json(EvaluateConfig, {name: "1"}), name) == 1


def test_the_baseline_must_be_a_model(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path, {"hash": "0"})
    with pytest.raises(UserError, match=r"evaluate.baseline 'sff' is no model; did you mean 'sft'\?"):
        run(
            EvaluateConfig(baseline="sff"), Context(), models={"sft": artifact, "base": artifact}, village=artifact,
            tokens=artifact, out=tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_answers_stand_beside_their_prompt_by_model_and_mode() -> None:
    village = build_village(VillageConfig(n_taught=6, n_held_out=2))
    prompts = write_prompts(village, n=3, split="test", purpose="test")
    answers = {
        name: {
            mode: [
                Answer(f"{name} {mode} {i}", True, 1, (1,), -1.0, judge(village, p, "yes"))
                for i, p in enumerate(prompts)
            ]
            for mode in ("sampled", "greedy")
        }
        for name in ("sft", "base")
    }
    rows = _side_by_side(prompts, answers, ["base", "sft"])
    assert [row["prompt"] for row in rows] == [p.to_json() for p in prompts]
    assert list(rows[1]["answers"]) == ["base", "sft"]
    assert rows[1]["answers"]["base"]["greedy"]["text"] == "base greedy 1"
    assert rows[2]["answers"]["sft"]["sampled"]["text"] == "sft sampled 2"
