"""selftest, assignment and the command line on a tiny model."""

import json
from pathlib import Path

import pytest
import torch

from kaiwa.cli import main
from kaiwa.lab.experiments.assignment import assignment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.experiments.selftest import planted_experiment, selftest
from kaiwa.lab.reports.claims import JAPANESE
from kaiwa.lab.tasks.practices import PRACTICES
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train
from tests.lab.fakes import RuleModel


def test_selftest_passes() -> None:
    checks = selftest(trials=150, seed=1)
    assert {check.name: check.value for check in checks if not check.passed} == {}
    assert len(checks) == 14


def test_selftest_notices_a_broken_test(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that calls half of everything different must not pass."""
    import random

    rng = random.Random(0)
    monkeypatch.setattr("kaiwa.stats.comparison.mcnemar", lambda lost, won: rng.random() / 10)
    with pytest.raises(SystemExit) as ended:
        main(["lab", "selftest", "--trials", "60"])
    assert ended.value.code == 1
    assert "FAILED" in capsys.readouterr().out


def test_every_lesson_runs() -> None:
    """All arms of the assignment end without a failed item on a model that says nonsense."""
    experiment = assignment(scale=0.05)
    outcomes = run(experiment, RuleModel(lambda text, t, s: f"Action 1: Calc[1+1]\nThe answer is {s % 5}."))
    assert [o.error for o in outcomes if o.error] == []
    names = {arm.name for arm in experiment.arms}
    assert {"vote of 5", "ReAct", "gold knowledge", "BAD", "GOOD"} <= names
    assert len({p.id for p in PRACTICES}) == 7
    assert {c.claim for c in (*experiment.contrasts, *planted_experiment().contrasts)} <= JAPANESE.keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = train(["Question: the review was good. Label: positive 0123\n"] * 30, TokenizerConfig(vocab_size=290))
    config = DecoderConfig(vocab_size=290, d_model=16, n_layer=1, n_head=2, d_ff=16, max_length=2048)
    save_model(path, make_decoder(config, 0), special_ids(tokenizer), torch.float32)
    save(tokenizer, path)
    (path / "kaiwa.json").write_text(json.dumps({"kind": "sft"}))
    return path


TOML = """
name = "few"
n = 8
[[tasks]]
name = "sentiment-en"
[[arms]]
name = "zero"
technique = "zero-shot"
by = "likelihood"
[[arms]]
name = "few"
technique = "few-shot"
k = 4
inner = { technique = "zero-shot" }
"""


def test_run_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.toml").write_text(TOML)
    words = ["lab", "run", str(tmp_path / "e.toml"), "--model", str(folder), "--out", str(tmp_path / "out")]
    main(words)
    told = capsys.readouterr().out
    assert "finds" in told
    assert "report:" in told
    first = (tmp_path / "out" / "findings.csv").read_text()
    calls = (tmp_path / "out" / "calls.jsonl").read_text()
    main(words)
    assert (tmp_path / "out" / "calls.jsonl").read_text() == calls
    assert (tmp_path / "out" / "findings.csv").read_text() == first
    main([*words, "--pilot", "4"])
    assert "n for 10" in capsys.readouterr().out
    logs = sorted((tmp_path / "out" / "logs").iterdir())
    main(["lab", "compare", str(logs[0]), str(logs[1]), "--json"])
    assert json.loads(capsys.readouterr().out)["n"] == 8


def test_plan_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["lab", "assignment", "--plan", "--quick"])
    assert "answers" in capsys.readouterr().out
    main(["lab", "tasks"])
    assert "word-sums-ja" in capsys.readouterr().out
    for words in (["lab"], ["lab", "run", "--help"], ["lab", "assignment", "--help"], ["lab", "compare", "-h"]):
        main(words)
        assert "usage" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["lab", "rum"])
    assert "did you mean 'run'" in capsys.readouterr().err


def test_a_missing_key_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.toml").write_text(TOML)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "lab",
                "run",
                str(tmp_path / "e.toml"),
                "--url",
                "http://127.0.0.1:9/v1",
                "--model",
                "m",
                "--api-key-env",
                "NO_KEY_X",
                "--out",
                str(tmp_path / "o"),
            ]
        )
    assert ended.value.code == 2
    assert "NO_KEY_X is empty" in capsys.readouterr().err
