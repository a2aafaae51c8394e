"""Read the words of a command line into a dataclass of options, by tyro. Every command reads its words here.

A command is a module of kaiwa.commands with a dataclass `Options`, whose docstring is the command's help and whose
fields are its options, and a function `main(words)`. Bad words are a UserError of one line.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

# Flat: the fields of a nested dataclass become options without a prefix. Repeated: --gate A --gate B.
from tyro.conf import OmitArgPrefixes as Flat
from tyro.conf import Positional
from tyro.conf import UseAppendAction as Repeated

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

T = TypeVar("T")
HELP = ("-h", "--help")
CONFIG = (tyro.conf.FlagCreatePairsOff,)  # a flag is --plan, without a --no-plan


def read_options(options: type[T], prog: str, words: Sequence[str], default: T | None = None) -> T:
    """Return the words as an instance of the dataclass `options`. `--help` prints the help and exits with 0.

    prog: the command, such as "kaiwa lab run". default: other defaults; tyro.MISSING: required.
    Raise UserError, in one line, for an unknown option, a missing or unreadable value, or a word too many.
    """
    start: Any = tyro.MISSING_NONPROP if default is None else default
    box = io.StringIO()
    # Nothing has been read where tyro fails: its box of several lines becomes one line.
    try:
        with contextlib.redirect_stderr(box):
            parsed: tuple[T, list[str]] = tyro.cli(
                options, prog=prog, args=list(words), default=start, return_unknown_args=True, config=CONFIG
            )
    except SystemExit as exit:  # tyro prints its help, or what is wrong, and exits
        if exit.code in (0, None):
            raise
        if not words:  # a command by itself, and it needs something: show what
            return read_options(options, prog, ["--help"])
        raise UserError(f"{_first_line(box.getvalue())}; see {prog} --help") from None
    values, unknown = parsed
    if unknown:
        raise UserError(_unknown_word(unknown, options, prog))
    return values


def _first_line(box: str) -> str:
    """Return what is wrong out of tyro's box: the text under its title, without frame and help, in our words."""
    lines = [line.strip("│╭╮╰╯ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    body: list[str] = []
    for line in lines:
        if line and not line.strip("─- "):  # a rule: the title stands above the first, help below the second
            if body[1:]:
                break
            continue
        body += [line] if line else []
    text = " ".join(body[1:] or body).rstrip(".:")
    if text.startswith("Missing from ") and (names := re.findall(r"(?<!\S)--[\w.-]+(?= [A-Z{])", text)):
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    numbers = {
        r"invalid literal for int\(\) with base 10:": "a whole number",
        "could not convert string to float:": "a number",
    }
    for theirs, ours in numbers.items():
        text = re.sub(rf"^Error parsing ([^:]*): {theirs} (.*)", rf"\1 \2 is not {ours}", text)
    return re.sub(r"^Error parsing [^:]*: ", "", text)


def _unknown_word(unknown: Sequence[str], options: type[Any], prog: str) -> str:
    """Return the message for words that no option takes."""
    word = next((word for word in unknown if word.startswith("-")), unknown[0])
    if not word.startswith("-"):
        return f"unexpected {word!r}; see {prog} --help"
    name = word.partition("=")[0]
    names = [known.lstrip("-") for known in option_names(options)]
    return f"no option {name!r}{did_you_mean(name.lstrip('-'), names)}"


def take_overrides(words: Sequence[str], options: type[Any]) -> tuple[list[str], dict[str, str]]:
    """Take the `--field VALUE` and `--stage.field=VALUE` words that `options` does not know out of the words.

    Return the other words, and the fields' values by their dotted names with underscores.
    """
    known = {*option_names(options), "--help"}
    rest: list[str] = []
    changes: dict[str, str] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            rest.append(word)
        elif name in known:
            rest += [word] if equals or name == "--help" or not queue else [word, queue.pop(0)]
        else:
            if not equals:
                if not queue:
                    raise UserError(f"{name} needs a value")
                value = queue.pop(0)
            changes[name[2:].replace("-", "_")] = value
    return rest, changes


def option_names(options: type[Any]) -> list[str]:
    """Return the names of a command's options, such as "--max-tokens", sorted: those that its help lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(options, args=["--help"], config=CONFIG)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()).splitlines()
    heads = [head[1] for line in lines if (head := re.match(r"[│ ]{1,3}(-.*?)(?:  |│|$)", line))]
    return sorted({name for head in heads for name in re.findall(r"(?<![\w-])--?[a-zA-Z][\w.-]*", head)})


def run_group(group: str, commands: Mapping[str, str], words: Sequence[str]) -> None:
    """Run one command of a group, such as `kaiwa lab compare`; without a command, print what there is.

    commands: name -> one line of help. The module of `kaiwa GROUP some-name` is kaiwa.commands.GROUP.some_name.
    """
    if not words or words[0] in HELP:
        width = max(map(len, commands))
        lines = [f"  {name:<{width}}  {text}" for name, text in commands.items()]
        print(f"usage: kaiwa {group} COMMAND [options]        kaiwa {group} COMMAND --help\n\n" + "\n".join(lines))
        return
    if words[0] not in commands:
        raise UserError(f"no command '{group} {words[0]}'{did_you_mean(words[0], commands)}")
    name = words[0].replace("-", "_")
    name += "_" if keyword.iskeyword(name) else ""
    importlib.import_module(f"kaiwa.commands.{group}.{name}").main(list(words[1:]))


__all__ = ["HELP", "Flat", "Positional", "Repeated", "option_names", "read_options", "run_group"]
