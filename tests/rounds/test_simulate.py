"""The village's labellers at a queue; the same judgements from the page are equal bytes, tokens and weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.context import Context
from kaiwa.core.rng import python_rng
from kaiwa.feedback.batch_records import ItemAnswer, NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import comparisons, export_lines
from kaiwa.feedback.label_queue import LabelQueue
from kaiwa.feedback.ranking import write_ranking
from kaiwa.feedback.store import FILE
from kaiwa.reward import run as reward
from kaiwa.reward.comparisons import read_comparisons
from kaiwa.reward.config import RewardConfig
from kaiwa.rounds.simulate import label_batch
from kaiwa.sft.demonstrations import read_demonstrations
from kaiwa.text.records import Comparison, Message, write_jsonl
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.demonstrations import MIXED, write_answer
from kaiwa.world.labeller import Labeller, labellers
from kaiwa.world.prompts import write_prompts
from kaiwa.world.village import VillageConfig, build_village
from tests.rounds.small_build import build_smallest
from tests.web.fake import app, fakes

VILLAGE = build_village(VillageConfig(n_taught=6, n_held_out=2))
PEOPLE = labellers(0, n=6, held_out=2)
K = 4


def items(n: int) -> list[NewItem]:
    """Items whose outputs were written with the faults of mixed demonstrations."""
    rng = python_rng(3, "items")
    prompts = write_prompts(VILLAGE, n=n, purpose="reward")
    return [
        NewItem(
            prompt=p.messages, outputs=tuple(write_answer(VILLAGE, p, rng, MIXED) for _ in range(K)),
            sources=tuple(OutputSource(model=f"model-{i}") for i in range(K)),
            meta={"prompt": p.to_json(), "ended": [True] * K},
        )
        for p in prompts
    ]  # fmt: skip


def queued(file: Path, n: int, n_labels: int = 1) -> BatchStore:
    store = BatchStore(file)
    store.create("round", k=K, n_labels=n_labels)
    store.add_items("round", items(n))
    return store


def simulate(store: BatchStore, seed: int = 0, people: Sequence[Labeller] = PEOPLE) -> int:
    return label_batch(store, store.batch("round"), VILLAGE, people, Context(), seed=seed)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_smallest(tmp_path_factory.mktemp("page") / "toy")


def test_labellers_finish_what_is_wanted_and_judge_as_in_a_build(tmp_path: Path) -> None:
    store = queued(tmp_path / "a.sqlite", 40, n_labels=2)
    assert simulate(store) == 80
    assert simulate(store) == 0
    records = list(comparisons(store, store.batch("round")))
    by_item: dict[str, list[Comparison]] = {}
    for record in records:
        by_item.setdefault(repr((record.prompt, record.completions)), []).append(record)
    assert all(len({r.labeller for r in pair}) == 2 for pair in by_item.values())
    share = sum(r.labeller in ("labeller-4", "labeller-5") for r in records) / len(records)
    assert 0 < share < 0.4  # the held-out ones judge, but few
    same = queued(tmp_path / "b.sqlite", 40, n_labels=2)
    simulate(same)
    assert list(export_lines(same, "round")) == list(export_lines(store, "round"))
    other = queued(tmp_path / "c.sqlite", 40, n_labels=2)
    simulate(other, seed=1)
    assert list(export_lines(other, "round")) != list(export_lines(store, "round"))


def on_the_page(home: Path, runs: Path, n: int, judgements: BatchStore) -> BatchStore:
    """Post another store's judgements through the page, each labeller by a link; return the page's store."""
    store = queued(home / FILE, n, n_labels=2)
    with TestClient(app(fakes(home, runs).services)) as client:
        for name in ("labeller-0", "labeller-5"):
            base, other = (
                f"/label/q/{store.invite('round', name)}",
                LabelQueue(judgements, judgements.batch("round"), name),
            )
            state = client.get(f"{base}/item").json()
            while (shown := state["item"]) is not None:
                own = other.at(other.open_item(LabelQueue(store, store.batch("round"), name).at(shown["id"]).item).id)
                assert own.answer is not None
                assert tuple(shown["outputs"]) == own.outputs  # in the same blind order
                body = {"assignment": shown["id"], "key": f"{name}-{shown['id']:08}", "seconds": 12.5,
                        "ranking": write_ranking(own.answer.ranks), "instruction": state["instruction"]}  # fmt: skip
                state = client.post(f"{base}/finish", json=body).json()
    return store


def test_judgements_of_the_page_and_of_a_labeller_are_the_same_data_and_the_same_model(
    built: Path, tmp_path: Path
) -> None:
    """Byte-equal JSONL, equal token rows, and reward models that are equal to the last bit on the same seed."""
    n = 60
    simulated = queued(tmp_path / "simulated.sqlite", n, n_labels=2)
    assert simulate(simulated, people=(PEOPLE[0], PEOPLE[5])) == 2 * n
    page = on_the_page(tmp_path / "home", tmp_path / "runs", n, simulated)
    files = {}
    for name, store in (("simulated", simulated), ("page", page)):
        files[name] = tmp_path / name / "comparisons.jsonl"
        files[name].parent.mkdir()
        assert write_jsonl(files[name], export_lines(store, "round")) == 2 * n
    assert files["page"].read_bytes() == files["simulated"].read_bytes()
    tokenizer = Tokenizer.load(built / "sft")
    rows = [read_comparisons(file, tokenizer, 512, print) for file in files.values()]
    assert rows[0] == rows[1]
    config = RewardConfig(prompts=8, evaluate_every=50, held_out_labellers=("labeller-5",))
    models: list[Artifact] = [
        reward.run(
            config, Context(seed=2), policy=open_artifact(built / "sft"), comparisons=file, out=file.parent / "rm"
        )
        for file in files.values()
    ]
    assert models[0].hash == models[1].hash
    weights = [(file.parent / "rm" / "model.safetensors").read_bytes() for file in files.values()]
    assert weights[0] == weights[1]


def test_demonstrations_of_the_page_and_of_the_queue_are_the_same_data(built: Path, tmp_path: Path) -> None:
    def dialogues(file: Path) -> BatchStore:
        store = BatchStore(file)
        store.create("write", task="demonstrate", k=0)
        store.add_items("write", [NewItem(prompt=p.messages) for p in write_prompts(VILLAGE, n=5)])
        return store

    plain, home = dialogues(tmp_path / "plain.sqlite"), tmp_path / "home"
    queue = LabelQueue(plain, plain.batch("write"), "Aoi")
    while (one := queue.next()) is not None:
        turns = (*one.prompt, Message("assistant", f"an answer to {one.place}"))
        meta: dict[str, Any] = {"turns": [{"how": "written"}] * len(turns), "own_share": 1.0}
        queue.finish(one.id, f"plain-{one.id:08}", ItemAnswer(messages=turns, meta=meta, seconds=3.0))
    page = dialogues(home / FILE)
    with TestClient(app(fakes(home, tmp_path / "runs").services)) as client:
        base = f"/demonstrate/q/{page.invite('write', 'Aoi')}"
        for place in range(5):
            shown = LabelQueue(page, page.batch("write"), "Aoi").next()
            assert shown is not None
            turns_sent = [{"role": m.role, "content": m.content} for m in shown.prompt]
            turns_sent.append({"role": "assistant", "content": f"an answer to {place}"})
            body = {"assignment": shown.id, "key": f"page-{place:08}", "turns": turns_sent}
            assert client.post(f"{base}/finish", json=body).status_code == 200
    files = []
    for name, store in (("plain", plain), ("page", page)):
        files.append(tmp_path / f"{name}.jsonl")
        write_jsonl(files[-1], export_lines(store, "write"))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(json.loads(files[0].read_text().splitlines()[0])["messages"]) >= 2
    tokenizer = Tokenizer.load(built / "sft")
    one, two = (read_demonstrations(file, tokenizer, 128, user_weight=0.0, say=print) for file in files)
    assert (one.ids, one.masks) == (two.ids, two.masks)
