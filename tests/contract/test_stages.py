"""What every stage promises, on the smallest configuration there is."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from kaiwa.core.artifact import Artifact, content_hash, open_artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.metrics import read_metrics
from tests.contract.smallest import CONFIG_OF, DOCS, RECIPE, RESUMABLE, STAGES

pytestmark = pytest.mark.masked
DOCUMENTED = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", STAGES)
def test_the_manifest_tells_what_and_from_what(chain: dict[str, Artifact], name: str) -> None:
    artifact = chain[name]
    manifest = json.loads((artifact.path / "kaiwa.json").read_text())
    assert manifest["hash"] == content_hash(artifact.path)
    assert manifest["seed"] == 1
    assert manifest["seconds"] > 0
    assert manifest["versions"]["torch"]
    by_hash = {a.hash for a in chain.values()}
    in_chain = [p for p in manifest["parents"].values() if (artifact.path.parent / p["path"] / "kaiwa.json").is_file()]
    assert all(parent["hash"] in by_hash for parent in in_chain)
    assert not (artifact.path / "checkpoint").exists()


@pytest.mark.parametrize("name", STAGES)
def test_same_config_parents_and_seed_give_the_same_bytes(
    chain: dict[str, Artifact], name: str, tmp_path: Path
) -> None:
    again = STAGES[name](Context(seed=1), tmp_path / "elsewhere" / name, chain, RECIPE)
    assert again.hash == chain[name].hash


@pytest.mark.parametrize("name", RESUMABLE)
def test_another_seed_gives_other_bytes(chain: dict[str, Artifact], name: str, tmp_path: Path) -> None:
    assert STAGES[name](Context(seed=2), tmp_path / name, chain, RECIPE).hash != chain[name].hash


@pytest.mark.parametrize("name", STAGES)
def test_a_finished_stage_is_not_run_again(chain: dict[str, Artifact], name: str) -> None:
    before = (chain[name].path / "kaiwa.json").stat().st_mtime_ns
    said: list[str] = []
    again = STAGES[name](Context(seed=1, say=said.append), chain[name].path, chain, RECIPE)
    assert again.hash == chain[name].hash
    assert (chain[name].path / "kaiwa.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", RESUMABLE)
def test_stopped_at_every_step_and_resumed_equals_never_stopped(
    chain: dict[str, Artifact], name: str, tmp_path: Path
) -> None:
    stops = 0
    while True:
        asked = iter([False, False, True])  # asked three times: two steps, then the wish to stop
        ctx = Context(seed=1, stop=lambda asked=asked: next(asked, True), logs=tmp_path / "logs")
        try:
            artifact = STAGES[name](ctx, tmp_path / name, chain, RECIPE)
            break
        except Stopped:
            stops += 1
            assert not (tmp_path / name).exists(), "a stopped stage must not publish"
            assert stops < 50
    assert stops >= 1
    assert artifact.hash == chain[name].hash
    logged = [
        [(row["step"], *sorted(row)) for row in read_metrics(folder / "logs" / f"{name}.jsonl")]
        for folder in (tmp_path, chain[name].path.parent)
    ]
    assert logged[0] == logged[1], "every row is logged once, evaluations included, also after a resume"


@pytest.mark.parametrize("name", RESUMABLE)
def test_killed_between_checkpoints_and_resumed_equals_never_killed(
    chain: dict[str, Artifact], name: str, tmp_path: Path
) -> None:
    class Killed(BaseException):
        """Stands for kill -9: nothing gets to clean up or save."""

    shown = 0

    def show(progress: object) -> None:
        nonlocal shown
        shown += 1
        if shown == 3:
            raise Killed

    with pytest.raises(Killed):
        STAGES[name](Context(seed=1, show=show, checkpoint_seconds=0.0), tmp_path / name, chain, RECIPE)
    assert not (tmp_path / name).exists()
    assert STAGES[name](Context(seed=1), tmp_path / name, chain, RECIPE).hash == chain[name].hash


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_changed_config_says_what_changed(chain: dict[str, Artifact], name: str, tmp_path: Path) -> None:
    shutil.copytree(chain[name].path, tmp_path / name)
    said: list[str] = []
    stage = CONFIG_OF[name]
    changed = override(RECIPE, {f"{stage}.lr": "0.00123"})
    STAGES[name](Context(seed=1, say=said.append), tmp_path / name, chain, changed)
    assert any("config.lr" in line and "0.00123" in line for line in said), said
    assert open_artifact(tmp_path / name).hash != chain[name].hash


def test_other_labellers_rank_again(chain: dict[str, Artifact], tmp_path: Path) -> None:
    said: list[str] = []
    for n, what in (("6", []), ("8", ["comparisons is built again: config.labellers.number: 6 -> 8"])):
        folder = tmp_path / n / "comparisons"
        shutil.copytree(chain["comparisons"].path, folder)
        changed = override(RECIPE, {"village.n_labellers": n})
        STAGES["comparisons"](Context(seed=1, say=said.append), folder, chain, changed)
        assert said == what


@pytest.mark.parametrize("stage", sorted(set(CONFIG_OF.values())))
def test_a_typo_gets_a_suggestion(stage: str) -> None:
    import dataclasses

    field = dataclasses.fields(getattr(RECIPE, stage))[0].name
    with pytest.raises(UserError, match=f"did you mean '{field}'"):
        override(RECIPE, {f"{stage}.{field}x": "1"})
    with pytest.raises(UserError, match=f"did you mean '{stage}'"):
        override(RECIPE, {f"{stage}q.{field}": "1"})


@pytest.mark.parametrize("name", STAGES)
def test_every_logged_metric_is_explained(chain: dict[str, Artifact], name: str) -> None:
    rows = read_metrics(chain[name].path.parent / "logs" / f"{name}.jsonl")
    page = (DOCUMENTED / f"{DOCS.get(name, 'rlhf' if name == 'rlhf' else name)}.md").read_text()
    logged = {key for row in rows for key in row} - {"step", "time"}
    general = {key.replace("_village", "_SOURCE") for key in logged}
    missing = {key for key in general if f"`{key}`" not in page}
    assert missing == set()


@pytest.mark.parametrize("name", ["base", "sft", "rlhf", "reward", "lora", "soft", "dpo", "rloo", "adapter"])
def test_model_artifacts_are_hugging_face_folders(chain: dict[str, Artifact], name: str) -> None:
    transformers = pytest.importorskip("transformers")
    kind = "AutoModelForSequenceClassification" if name == "reward" else "AutoModelForCausalLM"
    model = getattr(transformers, kind).from_pretrained(chain[name].path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(chain[name].path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    logits = model(**rendered).logits
    assert bool(torch.isfinite(logits).all())
