"""The words of a command line: read into a dataclass, and every mistake one line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from kaiwa.cli import main
from kaiwa.commands.options import (
    Flat,
    Positional,
    Repeated,
    arg,
    option_names,
    read_options,
    run_group,
    take_overrides,
)
from kaiwa.core.errors import UserError
from kaiwa.sft.config import SFTConfig


@dataclass(kw_only=True)
class Options:
    """Do what the test wants.

    FILES are read in their order.
    """

    files: Positional[tuple[Path, ...]] = ()
    out: Path  # where it goes
    prompt: Annotated[str | None, tyro.conf.arg(aliases=["-p"])] = None
    port: int = 7860
    rate: float = 0.5
    language: Literal["en", "ja"] = "en"
    gate: Repeated[tuple[str, ...]] = ()
    no_browser: bool = False  # do not open it
    compile: bool = True


@dataclass(kw_only=True)
class Lists:
    """Do it to models."""

    models: Positional[tuple[str, ...]] = ()
    tasks: tuple[str, ...] = ()
    n: int = 0


@dataclass(kw_only=True)
class Nested:
    """A stage's options."""

    base: Path
    config: Flat[SFTConfig] = field(default_factory=SFTConfig)


def read(*words: str) -> Options:
    return read_options(Options, "kaiwa test", words)


def message(*words: str) -> str:
    with pytest.raises(UserError) as error:
        read(*words)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_words_become_values() -> None:
    options = read("a.txt", "b.txt", "--out", "x", "-p", "hi", "--port=1", "--gate", "A", "--gate", "B", "--no-browser")
    assert options.files == (Path("a.txt"), Path("b.txt"))
    assert (options.out, options.prompt, options.port, options.gate) == (Path("x"), "hi", 1, ("A", "B"))
    assert options.no_browser
    assert (options.rate, options.language) == (0.5, "en")


def test_a_value_may_begin_with_a_dash_or_hold_an_equals_sign() -> None:
    assert read("--out=x", "--prompt=-1 + 1 = ?").prompt == "-1 + 1 = ?"
    assert read("--out", "x", "--port", "-3").port == -3


@pytest.mark.parametrize("text", ["-hello", "--be brief", "- one", "None", "none", "", "--", "--port=3"])
def test_the_word_after_an_option_is_its_value_whatever_it_looks_like(text: str) -> None:
    for words in (["--prompt", text], [f"--prompt={text}"], ["-p", text], [f"-p={text}"]):
        assert read("--out", "x", *words).prompt == text


def test_options_as_other_programs_write_them() -> None:
    assert read("-out", "x", "--no_browser").no_browser
    assert read("--out", "x", "--p", "hi").prompt == "hi"
    assert read("--out", "x", "--port", "1", "--port=2").port == 2


@pytest.mark.parametrize(
    ("words", "on"),
    [
        (("--no-browser=true",), True),
        (("--no-browser=1", "--no-browser"), True),
        (("--no-browser=False",), False),
        (("--no-browser", "--no-browser=no"), False),
        (("--no-browser", "--no-no-browser"), False),
        (("--no-no-browser", "--no-browser"), True),
    ],
)
def test_a_flag_may_be_written_with_its_value_and_taken_back(words: tuple[str, ...], on: bool) -> None:
    assert read("--out", "x", *words).no_browser is on


@pytest.mark.parametrize(
    ("words", "on"),
    [
        ((), True),
        (("--compile",), True),
        (("--no-compile",), False),
        (("--no-compile", "--compile"), True),
        (("--compile", "--no-compile"), False),
        (("--compile=false",), False),
        (("--compile=true", "--no-compile=no"), True),
    ],
)
def test_a_flag_that_is_on_may_be_written_both_ways(words: tuple[str, ...], on: bool) -> None:
    assert read("--out", "x", *words).compile is on


@pytest.mark.parametrize("dash", ["\u2013", "\u2014", "\u2212", "-\u2010"])
def test_the_dash_of_a_word_processor_is_named(dash: str) -> None:
    with pytest.raises(UserError, match="begins with a dash of a word processor; type --port"):
        read("--out", "x", f"{dash}port", "3")
    assert read("--out", "x", f"{dash} a file").files == (Path(f"{dash} a file"),)


def test_help_anywhere_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read("--port", "x", "-p", "-h")
    assert end.value.code == 0
    assert "usage: kaiwa test" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_option_names_do_not_depend_on_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = option_names(Nested)
    monkeypatch.setenv("COLUMNS", columns)
    assert option_names(Nested) == before
    assert "--language-model-weight" in before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--out", "x", "--no-browser=maybe"), "--no-browser takes no value, but is given 'maybe'"),
        (("--out", "x", "--port"), "--port needs a value"),
        (("--out", "x", "--poort", "3"), "no option '--poort'; did you mean 'port'?"),
        (("--out", "x", "--no-brwser"), "no option '--no-brwser'; did you mean 'no-browser'?"),
        (("--out", "x", "--port", "x"), "--port 'x' is not a whole number; see kaiwa test --help"),
        (("--out", "x", "--port", "1.5"), "--port '1.5' is not a whole number; see kaiwa test --help"),
        (("--out", "x", "--rate", "much"), "--rate 'much' is not a number; see kaiwa test --help"),
        (("--port", "1"), "--out is missing; see kaiwa test --help"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], expected: str) -> None:
    assert message(*words) == expected


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--out", "x", "--language", "fr"), ("fr", "en", "ja")),
        (("--out", "x", "--port"), ("--port", "value")),
        (("--out", "x", "-q"), ("-q",)),
    ],
)
def test_other_mistakes_name_word_and_limit(words: tuple[str, ...], parts: tuple[str, ...]) -> None:
    text = message(*words)
    assert all(part in text for part in parts), text


def test_one_missing_option_or_two() -> None:
    @dataclass(kw_only=True)
    class Two:
        """Needs two."""

        first: Path  # an input, --such as this (required)
        second: Path
        file: Annotated[Positional[Path], tyro.conf.arg(metavar="FILE")]  # FILE.toml
        third: int = 0

    with pytest.raises(UserError, match=r"^FILE, --first, --second are missing; see kaiwa test --help$"):
        read_options(Two, "kaiwa test", ["--third", "1"])
    with pytest.raises(UserError, match=r"^--second is missing"):
        read_options(Two, "kaiwa test", ["x", "--first", "1"])


def test_a_missing_or_bad_word_without_an_option_is_named() -> None:
    @dataclass(kw_only=True)
    class One:
        """Takes one number."""

        level: Annotated[Positional[int], tyro.conf.arg(metavar="LEVEL")] = 1

    @dataclass(kw_only=True)
    class Needed:
        """Needs one word."""

        name: Annotated[Positional[str], tyro.conf.arg(metavar="NAME")]

    with pytest.raises(UserError, match=r"^LEVEL 'x' is not a whole number"):
        read_options(One, "kaiwa one", ["x"])
    with pytest.raises(UserError, match=r"^no option '--x'"):
        read_options(One, "kaiwa one", ["--x"])
    with pytest.raises(UserError, match=r"^NAME is missing"):
        read_options(Needed, "kaiwa one", ["--"])


def test_a_missing_argument_is_named_as_the_help_names_it() -> None:
    @dataclass(kw_only=True)
    class File:
        """Needs a file."""

        file: Positional[Annotated[Path, arg(metavar="FILE")]]
        judge: str  # who judges
        n: int = 1

    with pytest.raises(UserError, match=r"^FILE, --judge are missing; see kaiwa test --help$"):
        read_options(File, "kaiwa test", ["--n", "2"])
    with pytest.raises(UserError, match=r"^FILE is missing; see kaiwa test --help$"):
        read_options(File, "kaiwa test", ["--judge", "x"])


def test_help_leaves_out_what_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(kw_only=True)
    class Absent:
        """Take options that may be absent."""

        out: Path | None = None  # where it goes
        device: str = ""
        plan: bool = False
        port: int = 3

    with pytest.raises(SystemExit):
        read_options(Absent, "kaiwa test", ["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "  --out PATH    where it goes" in lines
    assert "  --device STR" in lines
    assert "  --plan" in lines
    assert "  --port INT    (default: 3)" in lines
    assert not any(line.endswith(" ") or line.strip("- ") == "" != line for line in lines)


def test_words_may_stand_between_options() -> None:
    options = read("a.txt", "--out", "x", "b.txt", "--no-browser", "c.txt")
    assert options.files == (Path("a.txt"), Path("b.txt"), Path("c.txt"))


def test_words_after_a_list_belong_to_it() -> None:
    options = read_options(Lists, "kaiwa test", ["m", "--tasks", "f", "g", "--n", "2", "k"])
    assert (options.models, options.tasks, options.n) == (("m", "k"), ("f", "g"), 2)


def test_a_word_too_many() -> None:
    @dataclass(kw_only=True)
    class One:
        """Takes one word."""

        name: Positional[str] = ""

    with pytest.raises(UserError, match="unexpected 'b'; see kaiwa one --help"):
        read_options(One, "kaiwa one", ["a", "b"])


def test_a_configuration_refuses_in_its_own_words() -> None:
    with pytest.raises(UserError, match=r"^sft.epochs is 0; it must be at least 1; see kaiwa sft --help$"):
        read_options(Nested, "kaiwa sft", ["--base", "x", "--epochs", "0"])
    assert read_options(Nested, "kaiwa sft", ["--base", "x", "--epochs", "3"]).config.epochs == 3


def test_defaults_of_an_instance_go_before_the_fields() -> None:
    default = Nested(base=tyro.MISSING, config=SFTConfig(epochs=16, lr=1e-5))
    options = read_options(Nested, "kaiwa sft", ["--base", "x", "--lr", "1e-3"], default)
    assert (options.config.epochs, options.config.lr) == (16, 1e-3)
    with pytest.raises(UserError, match="--base is missing"):
        read_options(Nested, "kaiwa sft", ["--lr", "1e-3"], default)


def test_help_says_what_each_option_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read("--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "usage: kaiwa test" in text
    for part in ("Do what the test wants.", "where it goes", "do not open it", "--port INT", "-p"):
        assert part in text
    assert "--no-no-browser" not in text
    assert "-p STR, --prompt STR" in text


def test_a_command_by_itself_that_needs_something_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read()
    assert end.value.code == 0
    assert "usage: kaiwa test" in capsys.readouterr().out


def test_option_names() -> None:
    names = option_names(Options)
    assert {"--out", "--prompt", "-p", "--port", "--gate", "--no-browser", "--language"} <= set(names)
    assert names == sorted(names)


def test_fields_of_a_build_are_taken_out_of_the_words() -> None:
    words = ["tiny", "--out", "x", "--pretrain.steps", "5", "--rlhf.kl-coefficient=0.2", "--seed", "3"]
    rest, changes = take_overrides(words, Options)
    assert rest == ["tiny", "--out", "x"]
    assert changes == {"pretrain.steps": "5", "rlhf.kl_coefficient": "0.2", "seed": "3"}
    assert take_overrides(["--help"], Options) == (["--help"], {})
    with pytest.raises(UserError, match=r"--pretrain\.steps needs a value"):
        take_overrides(["tiny", "--pretrain.steps"], Options)


@pytest.mark.parametrize("words", [["redteam", "run"], ["lab", "run"]])
def test_sampling_is_a_group_of_its_own_in_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "--help"])
    text = capsys.readouterr().out
    assert "sampling options" in text
    assert "options options" not in text
    assert "options." not in text
    assert "{None}" not in text


def test_a_word_too_many_for_chat_says_where_a_message_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["chat", "hello", "there"])
    assert capsys.readouterr().err == "kaiwa: unexpected 'there'; a message goes after -p, in quotes\n"


def test_groups(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"run": "an experiment", "tasks": "the tasks"}
    run_group("lab", commands, [])
    text = capsys.readouterr().out
    assert "usage: kaiwa lab COMMAND" in text
    assert "run    an experiment" in text
    with pytest.raises(UserError, match="no command 'lab rnu'; did you mean 'run'"):
        run_group("lab", commands, ["rnu"])
    run_group("lab", commands, ["tasks"])
    assert "techniques" in capsys.readouterr().out


def test_a_command_called_as_a_word_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_group("redteam", {"import": "results of others"}, ["import", "--help"])
    assert "usage: kaiwa redteam import" in capsys.readouterr().out
