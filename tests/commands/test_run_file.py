"""Options from a TOML file: the command line wins, and a run is repeated with the file in its artifact."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kaiwa.commands.options import Flat, read_options
from kaiwa.commands.stages import sft
from kaiwa.commands.stages.run_file import as_toml, words_with_file
from kaiwa.core.artifact import open_artifact
from kaiwa.core.errors import UserError
from kaiwa.sft.config import SFTConfig
from tests.tiny_models import policy_folder


@dataclass(kw_only=True)
class Options:
    base: Path
    seed: int = 0
    plan: bool = False
    config: Flat[SFTConfig] = field(default_factory=SFTConfig)


def test_the_file_gives_options_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('base = "x"\nseed = 3\nlr = 1e-4\nplan = true\nmap = ["prompt=q", "completion=a"]\nlora-rank = 4\n')
    for words in (["--config", str(file), "--lr", "2e-4"], [f"--config={file}", "--lr=2e-4"]):
        options = read_options(Options, "kaiwa sft", words_with_file(words))
        assert (options.base, options.seed, options.plan) == (Path("x"), 3, True)
        assert (options.config.lr, options.config.lora_rank) == (2e-4, 4)
        assert options.config.data.map == ("prompt=q", "completion=a")
    again = tmp_path / "again.toml"
    again.write_text(as_toml(options))
    assert read_options(Options, "kaiwa sft", words_with_file(["--config", str(again)])) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [("lr = ", "not TOML"), ("a = {b = 1}", "a: a number, a text"), ("learning_rate = 1", "learning-rate")],
)
def test_a_bad_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_options(Options, "kaiwa sft", ["--base", "x", *words_with_file(["--config", str(file)])])
    with pytest.raises(UserError, match="no such file"):
        words_with_file(["--config", str(tmp_path / "none.toml")])
    with pytest.raises(UserError, match="--config needs a file"):
        words_with_file(["--config"])


def test_a_run_is_repeated_with_its_file(tmp_path: Path) -> None:
    policy = policy_folder(tmp_path / "base", max_length=128)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"q": f"cat {i}", "completion": "dog"}) + "\n" for i in range(12)))
    words = ["--base", str(policy.path), "--demonstrations", str(data), "--map", "prompt=q", "--epochs", "1"]
    sft.main([*words, "--device", "cpu", "--out", str(tmp_path / "one")])
    sft.main(["--config", str(tmp_path / "one" / "run.toml"), "--out", str(tmp_path / "two")])
    one, two = open_artifact(tmp_path / "one"), open_artifact(tmp_path / "two")
    assert one.hash == two.hash
    assert one.manifest["config"] == two.manifest["config"]
