"""The RLHF study: verdicts by hand, ranking by length, and the whole on the smallest chain, stopped and resumed."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.recipes.labels import village_label
from kaiwa.recipes.settings import Recipe
from kaiwa.report.words import Words
from kaiwa.reward.collect import Label
from kaiwa.stats.intervals import Interval
from kaiwa.studies import rlhf_parents
from kaiwa.studies.rlhf import Results, SeedResult, curves_of, study, write_study
from kaiwa.studies.rlhf_claims import CLAIMS, Evidence, judge_claims, over_optimised, verdict
from kaiwa.studies.rlhf_measure import ArmMeasurement
from kaiwa.studies.rlhf_parents import rank_by_length, split_comparisons
from kaiwa.studies.rlhf_report import write_page
from kaiwa.studies.rlhf_sizes import SIZES, Size, size
from kaiwa.text.records import Comparison
from tests.contract.smallest import RECIPE


def smallest() -> Size:
    recipe = replace(
        RECIPE,
        corpus=replace(
            size("tiny").recipe.corpus, sources=size("tiny").recipe.corpus.sources[:1], min_train_bytes=1000
        ),
        rlhf=override(RECIPE.rlhf, {"updates": 2, "ptx_coefficient": 0.0, "ema": 0.0}),
        village=replace(RECIPE.village, reward_prompts=24, test_prompts=12),
        reward=replace(RECIPE.reward, held_out_labellers=()),
        pretrain=replace(RECIPE.pretrain, model=replace(RECIPE.pretrain.model, max_length=256)),
    )
    large = replace(recipe.pretrain, model=DecoderConfig(d_model=64, n_layer=3, n_head=2, d_ff=128), steps=2)
    return Size(
        recipe=recipe, large=large, best_of=2, group=2, hack_updates=3, measured_updates=(1,), fractions=(0.5, 1.0),
        reward_epochs=2, shots=1, prefixes=2, prefix_prompts=4, clozes=6,
    )  # fmt: skip


def by_text(recipe: Recipe, village: Artifact) -> Label:
    """A model this small says nothing that a labeller could tell apart: the shorter text in letters wins here."""
    plain = village_label(recipe, village)

    def label(row: dict[str, Any], completions: Sequence[str], ended: Sequence[bool], number: int) -> Comparison:
        return replace(plain(row, completions, ended, number), ranks=tuple(map(len, completions)))

    return label


def test_stopped_and_gone_on_with_and_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlhf_parents, "village_label", by_text)
    asked, out, stops = 0, tmp_path / "study", 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked % 40 in (0, 1)  # asked twice before a stage gives up

    while True:
        try:
            results = study(smallest(), Context(stop=stop), out, 1)
            break
        except Stopped:
            stops += 1
            assert stops < 40
    assert stops > 1
    about = {"recipe": "smallest", "seeds": 1, "n": len(results.people), "small": 1, "large": 8, "faults": 0.6}
    whole = write_study(results, judge_claims(results), curves_of(results), out, about)
    times = {file: file.stat().st_mtime_ns for file in out.rglob("kaiwa.json")}
    again = study(smallest(), Context(), out, 1)
    assert write_study(again, judge_claims(again), curves_of(again), out, about) == whole
    assert {file: file.stat().st_mtime_ns for file in out.rglob("kaiwa.json")} == times, "nothing is built twice"
    arms = {arm["name"]: arm for arm in whole["arms"]}
    wanted = ("base", "base_few_shot", "large", "large_few_shot", "sft", "sft_good", "ppo_beta_0", "ppo_beta_small",
              "ppo_beta_large", "ppo_ptx_small", "ppo_ptx_tuned", "dpo", "rloo", "best_of_n")  # fmt: skip
    assert set(arms) == set(wanted)
    assert arms["base"]["bits_per_byte_delta"] == 0
    assert arms["sft"]["kl"] == pytest.approx(0, abs=1e-3)
    for key in ("gold_win_rate", "proxy_reward", "kl", "bits_per_byte_delta", "cloze_delta", "seeds"):
        assert all(key in arm for arm in arms.values())
    for claim in whole["claims"]:
        assert {"claim", "source", "verdict", "figures"} <= set(claim)
    assert json.loads((out / "study.json").read_text()) == whole
    page = write_page(whole, out).read_text()
    assert "cannot tell" in page
    assert "決められない" in page
    assert page.count("<figure") >= 8


def test_verdicts_by_hand() -> None:
    above, below, around = (Evidence("x", Interval(m, m - 0.1, m + 0.1, 9), 0.5) for m in (0.7, 0.2, 0.55))
    assert [e.verdict() for e in (above, below, around)] == ["replicated", "not replicated", "cannot tell"]
    assert verdict([above, above]) == "replicated"
    assert verdict([above, around]) == "cannot tell"
    assert verdict([above, below, around]) == "not replicated"
    for claim in CLAIMS:
        assert Words("en")(f"claim.{claim.name}") == claim.text
        assert Words("ja").has(f"claim.{claim.name}")


def hacked(gold: dict[int, float], proxy: dict[int, float], noise: float) -> Results:
    """One seed's run against a flawed reward model: 60 people, two prompts about each, figures by update."""
    rng, people = random.Random(0), [f"person {i // 2}" for i in range(120)]
    empty = {key: [0.0] for key in ("kl", "tokens", "ended", "helpful", "truthful", "harmless", "cloze", "bits")}
    along = {}
    for update in gold:
        drawn = {
            name: [of[update] + rng.gauss(0, noise) for _ in people]
            for name, of in (("utility", gold), ("proxy", proxy))
        }
        along[update] = ArmMeasurement(of="", **drawn, **empty)  # type: ignore[arg-type]
    return Results([SeedResult({}, along, {}, {}, [])], people)


def test_over_optimisation_is_a_fall_from_the_peak_and_luck_is_none() -> None:
    rising = {0: 0.0, 5: 0.5, 15: 1.0, 30: 1.5}
    fallen = over_optimised(hacked({0: 0.0, 5: 0.6, 15: 0.3, 30: -0.5}, rising, 0.5))
    assert [e.what for e in fallen] == ["rise of the proxy from update 5 to 30", "win rate of update 5 over 30"]
    assert fallen[0].interval.mean == pytest.approx(1.0, abs=0.2)
    assert fallen[1].interval.mean == pytest.approx(0.94, abs=0.05)  # P(N(1.1, 0.5 √2) > 0)
    assert verdict(fallen) == "replicated"
    assert verdict(over_optimised(hacked(rising, rising, 0.5))) == "not replicated"
    flat = dict.fromkeys(rising, 0.0)
    assert verdict(over_optimised(hacked(flat, rising, 3.0))) == "cannot tell"


def test_a_labeller_who_likes_length() -> None:
    row = {"prompt": "x", "completions": ["aa", "a", "bbb", "cc"], "ranks": [0, 1, 2, 3]}
    assert rank_by_length(row)["ranks"] == [1, 2, 0, 1]
    assert row["ranks"] == [0, 1, 2, 3]


def test_shares_nest_and_the_test_is_apart(tmp_path: Path) -> None:
    rows = [{"prompt": str(i), "completions": ["a", "bb"], "ranks": [0, 1]} for i in range(40)]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = split_comparisons(file, tmp_path / "cut", (0.25, 1.0))
    read = {name: [json.loads(line) for line in path.read_text().splitlines()] for name, path in files.items()}
    assert len(read["test"]) == 6
    assert read["0.25"] == read["1"][: len(read["0.25"])]
    assert not {r["prompt"] for r in read["1"]} & {r["prompt"] for r in read["test"]}
    assert [r["ranks"] for r in read["length"][:2]] == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", SIZES)
def test_the_large_base_has_eight_times_the_weights(name: str) -> None:
    found = size(name)
    assert 8 <= found.parameters(found.large) / found.parameters(found.recipe.pretrain) < 9
    with pytest.raises(UserError, match="did you mean 'laptop'"):
        size("laptp")
