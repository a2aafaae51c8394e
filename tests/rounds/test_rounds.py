"""Rounds on the smallest build: outputs, labels that count, training that goes on, comparisons, and the table."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kaiwa.core.config import from_json
from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.lock import lock
from kaiwa.feedback.batch_records import NewItem
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.report.rounds import progress_lines, read_rounds, rounds_table
from kaiwa.report.words import Words
from kaiwa.rounds.compare import compare_by_people, compare_round
from kaiwa.rounds.folder import RoundConfig, RoundsOf
from kaiwa.rounds.sample import new_round, next_number
from kaiwa.rounds.simulate import label_batch, village_labellers
from kaiwa.rounds.train import curve_points, train_round
from tests.rounds.small_build import build_smallest, label_by_length

SMALL = RoundConfig(number=1, n=10, k=4, max_tokens=6)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_smallest(tmp_path_factory.mktemp("rounds") / "Toy.1")


@pytest.fixture
def rounds(built: Path, tmp_path: Path) -> RoundsOf:
    return RoundsOf.open(Path(shutil.copytree(built, tmp_path / "runs" / "Toy.1")))


@pytest.fixture
def store(tmp_path: Path) -> BatchStore:
    return BatchStore(tmp_path / "conversations.sqlite")


def test_two_rounds_from_outputs_to_the_table(rounds: RoundsOf, store: BatchStore) -> None:
    heard: list[str] = []
    ctx = Context(say=heard.append)
    batch = new_round(rounds, SMALL, ctx, store)
    assert batch.name.startswith("toy-1-round-1-")
    assert (batch.k, batch.purpose) == (4, "training")
    items = store.items(batch.name)
    assert len(items) == 10
    assert all(sorted(s.model for s in item.sources) == ["policy", "sft", "sft", "sft"] for item in items)
    assert new_round(rounds, SMALL, ctx, store) == batch  # a killed command, given again
    assert store.count_items(batch) == (10, 0)
    with pytest.raises(UserError, match=r"round 1 of .* is not trained yet: label it"):
        next_number(rounds)
    assert label_by_length(store, batch, most=8) == 8

    stops = iter([False] * 3 + [True] * 99)  # after the labels were taken, in the reward model's training
    with pytest.raises(Stopped):
        train_round(rounds, Context(stop=lambda: next(stops)), store)
    assert label_by_length(store, batch) == 2  # come during the training
    policy = train_round(rounds, ctx, store)
    assert "2 labels came after the training of round 1 began; for round 2" in heard
    labels = rounds.artifact(1, "comparisons")
    assert labels is not None
    assert labels.metrics["labels"] == 8
    assert set(policy.manifest["parents"]) == {"policy", "reward", "tokens", "prompts"}
    assert policy.manifest["parents"]["policy"]["hash"] == rounds.sft.hash

    first = compare_round(rounds, ctx)
    value = json.loads((first.path / "rounds.json").read_text())
    assert set(value["against"]) == {"sft", "build"}
    assert [row["update"] for row in value["curve"]] == [*curve_points(4), 4]
    assert set(first.manifest["parents"]) == {"sft", "build", "round_1", "village"}

    batch = new_round(
        rounds, from_json(RoundConfig, {"number": next_number(rounds), "n": 6, "max_tokens": 6}), ctx, store
    )
    assert batch.name.startswith("toy-1-round-2-")
    outputs = rounds.artifact(2, "outputs")
    assert outputs is not None
    assert outputs.manifest["parents"]["policy"]["hash"] == policy.hash  # the policy of the round before
    label_by_length(store, batch)
    train_round(rounds, ctx, store)
    labels = rounds.artifact(2, "comparisons")
    assert labels is not None
    assert (labels.metrics["labels"], labels.metrics["new"]) == (10 + 6, 6)
    value = json.loads((compare_round(rounds, ctx).path / "rounds.json").read_text())
    assert set(value["against"]) == {"sft", "build", "round_1"}

    said = progress_lines(rounds.run)
    assert not said or "round 1" in said[0]  # a toy's answers may all be ties
    lines = read_rounds(rounds.run)
    assert [(line.number, line.prompts, line.k, line.labels) for line in lines] == [(1, 10, 4, 8), (2, 6, 4, 16)]
    assert all(line.is_trained for line in lines)
    html = str(rounds_table(lines, Words("en")))
    assert "10 × 4" in html
    assert "wins against the round before" in html


def test_labels_that_do_not_suffice(rounds: RoundsOf, store: BatchStore) -> None:
    with pytest.raises(UserError, match="no round yet; begin with `kaiwa round new"):
        train_round(rounds, Context(), store)
    batch = new_round(rounds, SMALL, Context(), store)
    with pytest.raises(UserError, match=rf"has no label yet: label {batch.name} on the page Label$"):
        train_round(rounds, Context(), store)
    label_by_length(store, batch, most=1)
    with pytest.raises(UserError, match="1 ranking that is not all ties; at least 2 are needed"):
        train_round(rounds, Context(), store)
    shutil.rmtree(rounds.folder(1))  # the round is begun again with other prompts: its labels are another batch's
    other = new_round(rounds, from_json(RoundConfig, {"number": 1, "n": 9, "max_tokens": 6}), Context(), store, seed=5)
    assert other.name != batch.name
    with pytest.raises(UserError, match=f"1 labels in {batch.name} are of an older prompt set and do not count"):
        train_round(rounds, Context(), store)


def test_two_trainings_at_the_same_time(rounds: RoundsOf, store: BatchStore) -> None:
    new_round(rounds, SMALL, Context(), store)
    with lock(rounds.folder(1)), pytest.raises(UserError, match=r"process \d+ is working here; wait for it"):
        train_round(rounds, Context(), store)


def test_prompts_of_ones_own_and_people_who_compare(rounds: RoundsOf, store: BatchStore, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(json.dumps({"prompt": f"what is {i}?"}) + "\n" for i in [*range(20), 0, 1]), encoding="utf-8"
    )
    batch = new_round(rounds, SMALL, Context(), store, prompts=file)
    asked = {item.prompt[0].content for item in store.items(batch.name)}
    outputs = rounds.artifact(1, "outputs")
    assert outputs is not None
    kept = [json.loads(line) for line in (outputs.path / "held_out.jsonl").read_text().splitlines()]
    assert len(kept) == 2  # a tenth of the 20 different prompts
    assert not asked & {row["messages"][0]["content"] for row in kept}
    label_by_length(store, batch)
    label_by_length(store, batch, labeller="Ken")
    train_round(rounds, Context(), store)
    with pytest.raises(UserError, match="these prompts are not the village's"):
        other = store.create("other", k=2)
        store.add_items("other", [NewItem(prompt=store.items(batch.name)[0].prompt, outputs=("a", "b"))])
        label_batch(store, other, rounds.world()[0], village_labellers(rounds, 0), Context(), seed=0)
    store.create(f"{rounds.prefix(1)}compare", purpose="evaluation", k=3)  # by a call that was killed then
    queued, evaluation = compare_by_people(rounds, Context(), store)
    assert evaluation is None
    assert (queued.purpose, queued.k, store.count_items(queued)[0]) == ("evaluation", 3, 2)
    with pytest.raises(UserError, match="nobody has ranked yet"):
        compare_by_people(rounds, Context(), store)
    label_by_length(store, queued)
    _, evaluation = compare_by_people(rounds, Context(), store)
    assert evaluation is not None
    value = json.loads((evaluation.path / "rounds.json").read_text())
    assert (value["judgements"], set(value["against"])) == (2, {"sft", "build"})
    assert read_rounds(rounds.run)[0].against_sft["n"] > 0


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("sft=x", "--mix sft=x: give NAME=WEIGHT, as sft=3,ppo_ptx=1"),
        ("sft=-1", "give NAME=WEIGHT with a weight of 0 or more"),
        ("sft=0", "all weights are 0"),
        ("", "give NAME=WEIGHT"),
        ("=3", "give NAME=WEIGHT"),
    ],
)
def test_a_mix_that_cannot_be_read(mix: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RoundConfig(number=1, mix=mix)


def test_names_of_a_mix_and_folders_without_a_build(rounds: RoundsOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no model 'stf'; did you mean 'sft'\?"):
        rounds.model("stf", 1)
    with pytest.raises(UserError, match=r"has no model '\.\./sft'"):
        rounds.model("../sft", 1)
    with pytest.raises(UserError, match="round 3 is not trained yet"):
        rounds.model("rounds/3/policy", 4)
    with pytest.raises(UserError, match="--k 10: 2 to 9 outputs"):
        RoundConfig(number=1, k=10)
    with pytest.raises(UserError, match="no such folder; give a build's"):
        RoundsOf.open(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no build with sft and a policy"):
        RoundsOf.open(tmp_path / "empty")


def test_the_commands_say_what_comes_next(rounds: RoundsOf, tmp_path: Path) -> None:
    """One process: sampling, then the table of a round that waits for labels."""
    lines = f"from kaiwa.cli import main\nmain(['round','new',{str(rounds.run)!r},'--n','4','--threads','1'])\n"
    lines += f"main(['round','status',{str(rounds.run)!r}])"
    home = {"KAIWA_HOME": str(tmp_path / "home"), "PATH": "", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, env=home, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "4 prompts with 4 outputs each, batch toy-1-round-1-" in done.stdout
    assert "then kaiwa round train" in done.stdout
    assert "0 of 4" in done.stdout
    assert "to be labelled and trained" in done.stdout


@pytest.mark.parametrize("low", [0.52, 0.44])
def test_the_newest_round_against_the_first_in_words(tmp_path: Path, low: float) -> None:
    win = {"decided": {"mean": 0.6, "low": low, "high": 0.68, "n": 90}}
    utility = {"mean": -0.3, "low": -0.4, "high": -0.2, "n": 90}
    for number in (1, 2):
        folder = tmp_path / "rounds" / str(number)
        parts = {
            "outputs/kaiwa.json": {"metrics": {"prompts": 9}, "config": {"k": 4}},
            "reward/kaiwa.json": {"metrics": {"held_out_accuracy": 0.6 + number / 100}},
            "evaluation/rounds.json": {
                "against": {"round_1": {"sampled": win}}, "curve": [{"update": 4, "score": 1.25, "utility": utility}],
            },
        }  # fmt: skip
        for name, value in parts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in progress_lines(tmp_path)]
    if low > 0.5:
        assert lines == ["round 2 beats round 1: 60 % (52–68 %) of decided pairs"]
    else:
        assert lines[0] == "round 2 does not beat round 1 for sure: 60 % (44–68 %) of decided pairs"
        assert "right by round 1: 61 %, 2: 62 %" in lines[1]
        assert "update 4: score 1.25, utility -0.3" in lines[2]
