"""The village as an artifact: its files, its probes, its facts in words; limits of its configuration."""

import json
from pathlib import Path

import pytest

from kaiwa.core.config import from_json
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.text.records import read_jsonl
from kaiwa.world.config import WorldConfig
from kaiwa.world.language import ATTRIBUTES, ENGLISH
from kaiwa.world.run import CHAT_PROBES, describe, run, write_probes
from kaiwa.world.village import Village, VillageConfig

SMALL = WorldConfig(
    village=VillageConfig(n_taught=6, n_held_out=2), document_bytes=4000, neutral_bytes=2000, demonstrations=20,
    reward_prompts=10, rlhf_prompts=12, test_prompts=15, probes=4,
)  # fmt: skip


def test_the_files_have_what_was_asked_for(tmp_path: Path) -> None:
    artifact = run(SMALL, Context(seed=3), out=tmp_path / "village")
    counts = {name: len(list(read_jsonl(artifact.path / f"{name}.jsonl"))) for name in artifact.metrics}
    assert counts == artifact.metrics
    assert (counts["sft"], counts["sft_good"], counts["reward"], counts["rlhf"], counts["test"]) == (20, 20, 10, 12, 15)
    for name, least in (("documents", 4000), ("neutral", 2000)):
        sizes = [len(row["text"].encode()) for row in read_jsonl(artifact.path / f"{name}.jsonl")]
        assert sum(sizes) >= least > sum(sizes[:-1])  # the last document passes the limit
    village = json.loads((artifact.path / "village.json").read_text(encoding="utf-8"))
    assert village
    assert run(SMALL, Context(seed=3), out=tmp_path / "again").hash == artifact.hash
    assert run(SMALL, Context(seed=4), out=tmp_path / "other").hash != artifact.hash


def test_a_cloze_question_is_about_one_villager_after_two_shots(village: Village) -> None:
    probes = [row for row in write_probes(village, 30, 0) if row["kind"] == "cloze"]
    assert [row["id"] for row in probes] == [f"cloze-{i}" for i in range(30)]
    assert [row["language"] for row in probes[:4]] == ["en", "ja", "en", "ja"]
    assert {row["group"] for row in probes} == {"taught", "held_out"}
    for row in (row for row in probes if row["language"] == "en"):
        first, second, last = row["text"].split("Q: ")[1:]
        assert last.rstrip().endswith("A:")
        assert not first.rstrip().endswith("A:")
        named = [v for v in village.villagers if v.names["en"] in last]
        assert len(named) == 1
        assert row["answer"] in {ENGLISH.values[a][named[0].facts[a]] for a in ATTRIBUTES}
        assert named[0].group == row["group"]
        assert named[0].names["en"] not in first + second


def test_there_is_one_chat_of_each_kind_and_language(village: Village) -> None:
    chats = [row for row in write_probes(village, 0, 0) if row["kind"] == "chat"]
    assert [row["id"] for row in chats] == [f"{kind}-{language}" for language in ("en", "ja") for kind in CHAT_PROBES]
    assert all(row["messages"][-1]["role"] == "user" for row in chats)


def test_the_facts_in_words_are_those_of_the_village(village: Village) -> None:
    text = json.dumps(describe(village), ensure_ascii=False)
    for villager in village.villagers:
        assert villager.names["en"] in text
        assert villager.names["ja"] in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"document_bytes": 0}, "world.document_bytes is 0; it must be at least 1"),
        ({"demonstrations": 0}, "world.demonstrations is 0"),
        ({"test_prompts": 0}, "world.test_prompts is 0"),
        ({"faults": 1.5}, "world.faults is 1.5; it is a share, 0 to 1"),
        ({"village": {"n_taught": 3}}, "n_taught = 3 is too small; give at least 4"),
        ({"village": {"languages": ["fr"]}}, "language 'fr' is unknown; use one of en, ja"),
    ],
)
def test_a_limit_names_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(WorldConfig, changes)
