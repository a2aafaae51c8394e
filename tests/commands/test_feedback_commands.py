"""kaiwa feedback: batches from files, links, export and import, through the command line."""

import json
from pathlib import Path

import pytest

from kaiwa.cli import main
from kaiwa.core.home import home
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.sample_outputs import mixed_models, sample_items
from kaiwa.feedback.store import FILE
from kaiwa.text.records import Completion, Message
from kaiwa.text.sampling import Sampling
from tests.feedback.judging import label_all, queue


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def rows(path: Path, values: list[dict]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def comparisons(tmp_path: Path, n: int = 3, k: int = 4) -> Path:
    completions = [f"answer {i} to it" for i in range(k)]
    values = [{"prompt": f"Q{i}", "completions": completions, "ranks": list(range(k))} for i in range(n)]
    return rows(tmp_path / "comparisons.jsonl", values)


def test_a_batch_from_a_file_to_its_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = comparisons(tmp_path)
    known = rows(tmp_path / "known.jsonl", [{"prompt": "K", "completions": list("abcd"), "ranks": [0, 1, 2, 3]}])
    main(["feedback", "new", "first", str(file), "--labels", "2", "--screening", str(known)])
    assert "first: 3 items, 4 outputs each, to rate and rank; 1 for screening" in capsys.readouterr().out
    store = BatchStore(home() / FILE)
    assert [item.known_ranks for item in store.items("first")] == [(0, 1, 2, 3), (), (), ()]
    main(["feedback", "invite", "first", "Aoi", "--listen", "--port", "9999"])
    url, *code = capsys.readouterr().out.splitlines()
    assert store.invited(url.rpartition("/")[2])[1] == "Aoi"
    assert ":9999/label/q/" in url
    assert len(code) > 10
    with store.transaction() as db:
        db.execute("DELETE FROM items WHERE known_ranks > ''")
    label_all(queue(store, "Aoi"))
    main(["feedback", "export", "first", "--out", "out.jsonl"])
    assert "first: 3 records" in capsys.readouterr().err
    assert [json.loads(line)["ranks"] for line in Path("out.jsonl").read_text().splitlines()] == [[0, 1, 2, 3]] * 3
    main(["feedback"])
    assert "3 of 6" in capsys.readouterr().out
    main(["feedback", "list", "first"])
    assert "Aoi" in capsys.readouterr().out
    main(["feedback", "close", "first"])
    assert not store.batch("first").is_open
    main(["feedback", "reopen", "first"])
    assert store.batch("first").is_open
    main(["feedback", "revoke", "first", "Aoi"])
    assert "revoked 1 link of Aoi" in capsys.readouterr().out
    main(["feedback", "import", "out.jsonl", "--batch", "again"])
    assert capsys.readouterr().out == "out.jsonl: 3 records in batch again; rankings; 0 of 3 rows left out\n"
    main(["feedback", "export", "again"])
    assert capsys.readouterr().out == Path("out.jsonl").read_text()


def test_sheets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["feedback", "new", "first", str(comparisons(tmp_path)), "--purpose", "evaluation"])
    main(["feedback", "sheet", "first"])
    assert "evaluation-" in capsys.readouterr().out
    (tmp_path / "en.md").write_text("Be kind.")
    main(["feedback", "sheet", "first", "--en", "en.md"])
    main(["feedback", "sheet", "first"])
    assert capsys.readouterr().out.endswith("Be kind.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new", "first"], "FILE is missing"),
        (["new", "Bad Name", "comparisons.jsonl"], "1 to 40 small letters"),
        (["new", "first", "ten.jsonl"], "K = 10: a batch to rank has 2 to 9"),
        (["new", "first", "comparisons.jsonl", "--labels", "0"], "1 to 100 labellers"),
        (["invite", "nothing", "Aoi"], "there is no batch 'nothing'"),
        (["export", "nothing"], "there is no batch 'nothing'"),
        (["import", "missing.jsonl"], "no such file"),
        (["nwe"], "did you mean"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    comparisons(tmp_path)
    rows(tmp_path / "ten.jsonl", [{"prompt": "Q", "completions": list("abcdefghij")}])
    with pytest.raises(SystemExit) as exit:
        main(["feedback", *words])
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


class EchoModel:
    """Answers with its name and seed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def generate(self, prompt: object, sampling: Sampling) -> Completion:
        return Completion(text=f"{self.name} {sampling.seed}", finish_reason="stop", n_tokens=2)

    def score(self, context: object, continuation: str) -> list[float]:
        return []


def test_outputs_are_drawn_from_the_mix() -> None:
    prompts = [(Message("user", f"Q{i}"),) for i in range(8)]
    models = {"sft": EchoModel("sft"), "ppo": EchoModel("ppo")}
    weights = {"sft": 3.0, "ppo": 1.0}
    draw = {"k": 4, "sampling": Sampling(max_tokens=8), "seed": 5}
    items = list(sample_items(prompts, models, weights, **draw))
    for item in items:
        assert sorted(source.model for source in item.sources) == ["ppo", "sft", "sft", "sft"]
        assert [f"{s.model} {s.seed}" for s in item.sources] == list(item.outputs)
        assert item.meta == {"ended": [True] * 4}
    assert items == list(sample_items(prompts, models, weights, **draw))
    assert len({tuple(s.model for s in item.sources) for item in items}) > 1
    assert sorted(mixed_models(["a", "b", "c"], [1, 1, 0], 5, 0)).count("c") == 0
