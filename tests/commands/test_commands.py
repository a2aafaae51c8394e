"""Every command of `kaiwa`: its help, what it prints, and one line for every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kaiwa import __version__, cli
from kaiwa.cli import COMMANDS, STAGE_COMMANDS, main
from kaiwa.commands.console import Bar, clock, line, table
from kaiwa.commands.reference import command_names, option_lines
from kaiwa.commands.report import summary
from kaiwa.commands.sampling_options import change_by_options, read_with_sampling
from kaiwa.core.context import Progress
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.stages import STAGES
from kaiwa.text.sampling import NUMBERS, Sampling

ROOT = Path(__file__).parents[2]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(list(words))
    return capsys.readouterr().out


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the line that a wrong command prints, without "kaiwa: "."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("kaiwa: ")
    assert text.count("\n") == 1, text
    return text.removeprefix("kaiwa: ").rstrip("\n")


def test_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["help"]):
        text = printed(capsys, *words)
        assert all(f"  {name}" in text for name in COMMANDS)
    assert printed(capsys, "--version") == f"kaiwa {__version__}\n"
    assert {"corpus", "tokenizer", "pretrain", "sft", "reward", "dpo", "rlhf", "quantize"} <= set(STAGE_COMMANDS)


@pytest.mark.parametrize("words", list(command_names()), ids=" ".join)
def test_every_command_has_a_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *words, "--help")
    assert text.startswith("usage: kaiwa")
    assert len(text.split("\n\n")[1]) > 10, "a command says what it does"


def test_no_help_imports_torch() -> None:
    """It would take seconds: each command imports what it needs when it runs."""
    code = (
        "import sys, contextlib, io\n"
        "from kaiwa.commands.reference import command_names, help_text\n"
        "for words in command_names():\n"
        "    help_text(words)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "no command 'trian'"),
        (["lab", "rnu"], "no command 'lab rnu'; did you mean 'run'?"),
        (["redteam", "attack"], "no command 'redteam attack'; did you mean 'attacks'?"),
        (["models", "remove"], "no command 'models remove'"),
        (["study", "ilc"], "no command 'study ilc'; did you mean 'icl'?"),
        (["show", "/nowhere"], "/nowhere: no artifact here"),
        (["report", "/nowhere"], "/nowhere: no such folder"),
        (["models", "plan", "nothing"], "no model 'nothing'"),
        (["models", "rm", "nothing"], "nothing"),
        (["export", "x", "--for", "gguff", "--out", "y"], "--for gguff: there is"),
        (["export", "x", "--for", "gguf", "--out", "y", "--type", "Q9"], "--type Q9: there is"),
        (["doctor"], "give one URL"),
        (["doctor", "localhost:1"], "'localhost:1' is no URL"),
        (["tune", "/nowhere"], "no fine-tuning job here"),
        (["evaluate", "x", "--tasks"], "models and tasks are needed"),
        (["evaluate", "x", "--tasks", "sentiment-en", "--n", "-1"], "--n -1 is not a number of items"),
        (["build", "smollm2", "--out", "x"], "--preferences is missing"),
        (["up", "--per-key", "0"], "--per-key 0: at least 1"),
        (["lab", "compare", "a"], "two logs are needed, got 1"),
        (["lab", "compare", "a", "b", "--junit", "x"], "--junit reports a gate"),
        (["lab", "search", "x.toml", "--share", "1"], "--share 1.0: give the dev items' share"),
        (["lab", "selftest", "--trials", "3"], "at least 50"),
        (["lab", "assignment", "--scale", "0", "--plan"], "--scale 0.0 must be above 0"),
        (["lab", "assignment", "--language", "fr"], "--language 'fr': en or ja"),
        (["lab", "ladder", "--n", "0"], "--n 0 --train 64: at least 1 item"),
        (["redteam", "run", "nowhere.toml"], "nowhere.toml"),
        (["redteam", "run", "keeper.en", "--top-p", "2", "--plan"], "top_p is 2.0; it must be above 0 and at most 1"),
        (["redteam", "run", "keeper.en", "--sampling", "x", "--plan"], "--sampling is not JSON"),
        (["redteam", "run", "keeper.en", "--sampling", "[1]", "--plan"], "--sampling must be a JSON object"),
        (["redteam", "lessons", "--out", "x", "--n", "0"], "--language en --n 0"),
        (["redteam", "selftest", "--trials", "5"], "at least 100"),
        (["redteam", "targets", "keepr.en"], "no example 'keepr.en'; did you mean 'keeper.en'?"),
        (["study", "rlhf", "--seeds", "0"], "--seeds 0: at least 1 is needed"),
        (["study", "icl", "--n", "1"], "--n 1"),
        (["study", "icl", "--build", "/nowhere"], "/nowhere: no finished build"),
        (["defend", "train", "keeper.en", "--n", "1"], "at least 4 examples"),
        (["sft", "--preset"], "--preset needs a name"),
        (["rlhf", "--preset", "instructgpt-6"], "no preset 'instructgpt-6' of rlhf"),
        (["chat", "--temperature", "-1"], "temperature is -1.0; it must be from 0 to 100"),
    ],
)  # fmt: skip
def test_mistakes(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in mistake(capsys, *words)


def test_a_key_that_is_not_set_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    words = ["redteam", "play", "--url", "http://127.0.0.1:9/v1", "--model", "m", "--api-key-env", "NO_SUCH_KEY"]
    assert mistake(capsys, *words) == "the environment variable NO_SUCH_KEY is empty; it should hold the key"


def test_a_server_needs_the_models_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--model NAME" in mistake(capsys, "redteam", "play", "--url", "http://127.0.0.1:9/v1")


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"^keeper\.en +en ", printed(capsys, "redteam", "targets"), flags=re.M)
    assert "[[secret]]" in (text := printed(capsys, "redteam", "targets", "keeper.en")) or "secret" in text
    assert re.search(r"^\d+ attacks, in English and Japanese", printed(capsys, "redteam", "attacks"), flags=re.M)
    assert "sandwich" in printed(capsys, "redteam", "defences")
    assert re.search(r"^sandwich ", printed(capsys, "defend", "list"), flags=re.M)
    assert "sentiment-en" in printed(capsys, "lab", "tasks")
    assert "worth pulling" in printed(capsys, "models")


def test_plans_ask_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = printed(
        capsys, "redteam", "run", "keeper.en", "--plan", "--attacks", "leaking", "--defences", "none", "--trials", "2"
    )
    assert re.match(r"keeper: \d+ attacks × 1 defences × 2 trials on 1 model", text)
    assert "finds" in printed(capsys, "lab", "assignment", "--plan", "--quick", "--language", "en")
    assert list(tmp_path.iterdir()) == []


def test_train_defence_is_defend_train() -> None:
    from kaiwa.commands.defend.train import main as train
    from kaiwa.commands.redteam.train_defence import main as train_defence

    assert train is train_defence


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> None:
        monkeypatch.setattr(cli, "command", lambda name: lambda words: (_ for _ in ()).throw(error))

    for error, code, text in (
        (UserError("too small"), 2, "kaiwa: too small\n"),
        (Stopped(), 130, "kaiwa: stopped; the same command goes on from here\n"),
        (KeyboardInterrupt(), 130, "kaiwa: stopped; the same command goes on from here\n"),
        (OSError(28, "No space", "a.bin"), 2, "kaiwa: the disk is full (a.bin); free some space\n"),
    ):  # fmt: skip
        raising(error)
        with pytest.raises(SystemExit) as end:
            main(["show"])
        assert end.value.code == code
        assert capsys.readouterr().err == text
    raising(OSError(5, "Input/output error"))
    with pytest.raises(OSError, match="Input/output"):
        main(["show"])


def test_lessons_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lessons.jsonl"
    assert (
        printed(capsys, "redteam", "lessons", "--out", str(out), "--n", "12", "--seed", "3") == f"12 dialogues: {out}\n"
    )
    rows = [json.loads(row) for row in out.read_text().splitlines()]
    assert len(rows) == 12
    assert {row["messages"][-1]["role"] for row in rows} == {"assistant"}


def test_sampling_options_are_all_of_sampling() -> None:
    from kaiwa.commands.lab.run import FIXED_SAMPLING, Options

    values = {name: kind(0.25) if kind is float else 3 for name, kind in NUMBERS.items() if name not in FIXED_SAMPLING}
    words = ["x.toml", *(f"--{name.replace('_', '-')}={value}" for name, value in values.items())]
    options, changes = read_with_sampling(Options, "kaiwa lab run", words, FIXED_SAMPLING)
    assert options.file == Path("x.toml")
    assert changes == values
    assert change_by_options(Sampling(max_tokens=9), changes, FIXED_SAMPLING) == Sampling(max_tokens=9, **values)


def test_sampling_options_that_are_no_numbers() -> None:
    from kaiwa.commands.redteam.run import FIXED_SAMPLING, Options

    text = '{"stop": ["\\n"], "temperature": 0.5}'
    _, changes = read_with_sampling(
        Options, "kaiwa redteam run", ["t", "--sampling", text, "--temperature", "0"], FIXED_SAMPLING
    )
    sampling = change_by_options(Sampling(), changes, FIXED_SAMPLING)
    assert (sampling.stop, sampling.temperature) == (("\n",), 0.0)  # an option goes before the object
    with pytest.raises(UserError, match="seed"):
        change_by_options(Sampling(), {"seed": 4}, FIXED_SAMPLING)


def test_a_table_and_its_columns() -> None:
    text = table([["a", "bb"], ["ccc", "1"], ["d", "22"]])
    assert text.splitlines() == ["a    bb", "───────", "ccc   1", "d    22"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "60:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_line_of_progress() -> None:
    progress = Progress("sft", 5, 10, "loss 2.31", 1234.0, 90.0)
    assert line(progress, 30.0) == "sft          ▓▓▓▓▓▓▓▓░░░░░░░░  50% 5/10 loss 2.31 1.2k tok/s 0:30 left, build 1:30"
    assert line(Progress("sft", 0, 10), 3.0) == "sft          ░░░░░░░░░░░░░░░░   0% 0/10"


def test_a_bar_in_a_log_is_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    assert not bar.live
    for done in range(100):
        bar.show(Progress("sft", done, 100))
    bar.show(Progress("sft", 100, 100))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "100/100" in lines[-1]


def test_the_table_of_a_build(tmp_path: Path) -> None:
    interval = {"mean": 0.7, "low": 0.6, "high": 0.8}
    row = {"win_rate_vs_sft": interval, "helpful": interval, "truthful": interval, "harmless": interval,
           "ended": 0.99, "kl_to_sft": 1.5, "bits_per_byte": 2.5}  # fmt: skip
    none = {"mean": None, "low": None, "high": None}
    report = {
        "stages": [
            {"name": "sft", "seconds": 75.2, "metrics": {"steps": 1000, "loss": 1.23456, "flag": True, "x": "y"}}
        ],
        "models": [row | {"name": "ppo"}, row | {"name": "sft", "win_rate_vs_sft": none}],
        "seconds": 900.0,
        "peak_memory_bytes": 1.5e9,
    }
    text = summary(report, tmp_path)
    assert "steps 1,000, loss 1.23" in text
    assert "flag" not in text
    assert "60% to 80%" in text
    assert text.endswith(f"built in 15:00, peak memory 1.50 GB; report: {tmp_path / 'report.html'}")
    assert [row.split()[1] for row in text.splitlines() if row.startswith("sft ")] == ["1:15", "–"]


def test_the_reference_reads_a_help_text() -> None:
    text = (
        "usage: kaiwa x [-h] MODEL\n\nDo it.\n\n positional arguments\n  MODEL       model (default: a)\n\n"
        " options\n  -h, --help  show this help\n  --out PATH  the\n              folder\n"
        "  --long-name STR\n              text\n"
    )
    assert list(option_lines(text.partition("Do it.")[2])) == [
        "- `MODEL` model (default: a)",
        "- `-h, --help` show this help",
        "- `--out PATH` the folder",
        "- `--long-name STR` text",
    ]


def test_stages_of_the_build_say_what_they_do() -> None:
    for stage in STAGES:
        assert stage.text("en") != stage.text("ja")
        assert stage.seconds > 0
        assert stage.is_model == bool(stage.model_text("ja"))
    assert len({stage.name for stage in STAGES}) == len(STAGES)
