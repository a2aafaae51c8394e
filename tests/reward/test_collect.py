"""Collecting comparisons: which replies are strays, and what the configuration allows."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.recipes.labels import with_labellers
from kaiwa.recipes.laptop import laptop
from kaiwa.reward.collect import most_frequent, run, strays
from kaiwa.reward.collect_config import CollectConfig, Labellers
from kaiwa.text.records import Comparison, Completion, comparison, conversation, read_jsonl, write_jsonl
from tests.tiny_models import policy_folder


def test_the_most_frequent_replies_that_ended() -> None:
    answers = [Completion(text=t) for t in ("no", "yes", "no", "perhaps", "yes", "no")]
    answers += [Completion(text="endless", finish_reason="length")] * 9
    assert [a.text for a in most_frequent(answers, 2)] == ["no", "yes"]


def test_strays_come_from_the_frequent_replies_and_from_any_other() -> None:
    common, theirs = [Completion(text="no")], [Completion(text=t) for t in ("no", "On Oak Hill.", "You're welcome.")]
    drawn = [a.text for a in strays(Random(0), 600, common, theirs)]
    assert drawn[::2] == ["no"] * 300
    assert abs(drawn[1::2].count("You're welcome.") - 100) < 40
    assert [a.text for a in strays(Random(0), 1, [], theirs[1:2])] == ["On Oak Hill."]
    assert strays(Random(0), 2, [], []) == []


@pytest.mark.parametrize("bad", [{"k_min": 1}, {"k_min": 5, "k_max": 4}, {"k_min": 4, "strays": 3}, {"strays": -1}])
def test_impossible_numbers_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UserError):
        CollectConfig(**bad)


def test_a_recipe_follows_its_village_in_who_ranks() -> None:
    usual = with_labellers(laptop())
    assert usual.reward.held_out_labellers == ("labeller-4", "labeller-5")
    assert with_labellers(usual) == usual
    more = with_labellers(override(laptop(), {"village.n_labellers": "8", "village.n_held_out_labellers": "1"}))
    assert more.reward.held_out_labellers == ("labeller-7",)
    assert more.compare.labellers == Labellers(number=8, held_out=1)
    chosen = with_labellers(override(laptop(), {"reward.held_out_labellers": "labeller-0"}))
    assert chosen.reward.held_out_labellers == ("labeller-0",)
    with pytest.raises(UserError, match=r"give village\.n_labellers"):
        with_labellers(override(laptop(), {"compare.labellers.number": "8"}))


def by_length(row: dict[str, Any], completions: Sequence[str], ended: Sequence[bool], number: int) -> Comparison:
    """A labeller to whom the shortest reply is the best."""
    places = sorted({len(text) for text in completions})
    meta = {"ended": list(ended), "number": number}
    return Comparison(
        prompt=conversation(row["prompt"]), completions=tuple(completions), labeller="short", meta=meta,
        ranks=tuple(places.index(len(text)) for text in completions),
    )  # fmt: skip


def collected(folder: Path, rows: list[dict[str, Any]], seed: int = 1, **numbers: int) -> Artifact:
    file = folder / "prompts.jsonl"
    write_jsonl(file, rows)
    policy = policy_folder(folder / "policy")
    config = CollectConfig(**({"k_min": 2, "k_max": 4, "max_tokens": 5} | numbers))  # type: ignore[arg-type]
    return run(config, Context(seed=seed), policy=policy, prompts=file, label=by_length, out=folder / "comparisons")


def test_every_prompt_is_ranked_once_and_counted(tmp_path: Path) -> None:
    artifact = collected(tmp_path, [{"prompt": f"the cat {i}"} for i in range(12)])
    records = [comparison(row) for row in read_jsonl(artifact.path / "comparisons.jsonl")]
    assert [r.prompt[0].content for r in records] == [f"the cat {i}" for i in range(12)]
    assert [r.meta["number"] for r in records] == list(range(12))
    assert {len(r.completions) for r in records} == {2, 3, 4}
    n = sum(len(r.completions) for r in records)
    assert (artifact.metrics["prompts"], artifact.metrics["completions"]) == (12, n)
    decided = sum(r.ranks[i] != r.ranks[j] for r in records for i in range(len(r.ranks)) for j in range(i))
    assert artifact.metrics["pairs"] == decided
    assert artifact.metrics["ended"] == sum(sum(r.meta["ended"]) for r in records) / n


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    rows = [{"prompt": f"the dog {i}"} for i in range(4)]
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        texts.append((collected(tmp_path / name, rows, seed).path / "comparisons.jsonl").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_bad_prompts_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="record 2: no prompt in it"):
        collected(tmp_path, [{"prompt": "a"}, {"text": "b"}])
    with pytest.raises(UserError, match="no prompt in it"):
        collected(tmp_path, [])
    assert not (tmp_path / "comparisons").exists()
