"""Parsing of a command line into a dataclass of options, by tyro, for all commands.

A command is a module of kaiwa.commands with a function `main(words)` and a dataclass `Options`, whose docstring is the
command's help and whose fields are the command's options. Bad words raise a UserError of one line.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import keyword
import re
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

# Flat: the fields of a nested dataclass become options without a prefix. Repeated: --gate A --gate B.
from tyro.conf import OmitArgPrefixes as Flat
from tyro.conf import Positional, arg
from tyro.conf import UseAppendAction as Repeated

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

T = TypeVar("T")
HELP = ("-h", "--help")
HELP_ALONE = tuple((word,) for word in HELP)  # no other words to read: spares a parser
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # of a flag, as --plan=true
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"  # a word processor writes one of these for - and --
OPTION = re.compile(r"--?[^\W\d][\w.-]*")  # the name of an option, unlike a number below zero
EMPTY_DEFAULT = re.compile(r"\s*\(default:\s+(None|''|False)?\)")
CONFIG = (tyro.conf.FlagCreatePairsOff,)  # a flag is --plan, without a --no-plan


def read_options(options: type[T], prog: str, words: Sequence[str], default: T | None = None, *, advice: str = "") -> T:
    """Return the words as an instance of the dataclass `options`. `--help` prints the help and exits with 0.

    prog: the command, such as "kaiwa lab run". default: an instance with other defaults; tyro.MISSING: required.
    advice: the end of the message for a surplus word (default: a hint to the help).
    Raise UserError for an unknown option, a missing or unreadable value, or a surplus word.
    """
    start: Any = tyro.MISSING_NONPROP if default is None else default
    advice = advice or f"see {prog} --help"
    arguments = list(words) if tuple(words) in HELP_ALONE else _plain_words(words, options, advice)
    help_text, box = io.StringIO(), io.StringIO()
    # If tyro fails, its box of several lines becomes a one-line message.
    try:
        with contextlib.redirect_stdout(help_text), contextlib.redirect_stderr(box):
            parsed: tuple[T, list[str]] = tyro.cli(
                options,
                prog=prog,
                args=arguments,
                default=start,
                return_unknown_args=True,
                config=CONFIG,
                registry=_registry(),
            )
    except SystemExit as exit:  # tyro prints its help or an error, and exits
        if exit.code in (0, None):
            print(_plain_help(help_text.getvalue()))
            raise
        if not words:  # a command that needs arguments but has none: print the help
            return read_options(options, prog, ["--help"])
        raise UserError(f"{_first_line(box.getvalue())}; see {prog} --help") from None
    values, unknown = parsed
    if unknown:
        raise UserError(f"unexpected {unknown[0]!r}; {advice}")
    return values


def _plain_help(text: str) -> str:
    """Return tyro's help without rules, trailing spaces and "(default: None)", which says nothing."""
    lines: list[str] = []
    for line in EMPTY_DEFAULT.sub("", text).splitlines():
        plain = line.rstrip()
        is_new = bool(plain.strip("- ")) or (not line.strip() and lines[-1:] != [""])
        lines += [plain] if is_new else []
    return "\n".join(lines)


def _first_line(box: str) -> str:
    """Return the error in tyro's box: the text under the title, without frame and help, in kaiwa's words."""
    lines = [line.strip("│╭╮╰╯") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    body: list[str] = []
    for line in lines:
        if line.strip() and not line.strip("─- "):  # a rule: the title stands above the first, help below the second
            if body[1:]:
                break
            continue
        body += [line] if line.strip() else []
    text = " ".join(line.strip("─ ") for line in body[1:] or body).rstrip(".:")
    if text.startswith("Missing from "):
        names = [line.split()[0] for line in body if re.match(r" {5,6}\S", line)]  # their help stands further in
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    if missing := re.match(r"Missing value for argument '(?:\w+\.)?(\w+)'", text):
        return f"{missing[1].upper()} is missing"
    numbers = {
        r"invalid literal for int\(\) with base 10:": "a whole number",
        "could not convert string to float:": "a number",
    }
    for theirs, ours in numbers.items():
        text = re.sub(rf"^Error parsing \[?([^:\]]*)\]?: {theirs} (.*)", rf"\1 \2 is not {ours}", text)
    return re.sub(r"^Error parsing [^:]*: ", "", text)


def _unknown_option(name: str, options: type[Any], advice: str) -> str:
    """Return the error message for an option that the command does not have."""
    names = [known.lstrip("-") for known in option_names(options) if known not in HELP]
    return f"no option {name!r}{did_you_mean(name.lstrip('-'), names) if names else f'; {advice}'}"


def take_overrides(words: Sequence[str], options: type[Any]) -> tuple[list[str], dict[str, str]]:
    """Split the words into the words of `options`, and overrides `--field VALUE` and `--stage.field=VALUE`.

    Return the words of `options`, and the overrides' values by dotted names with underscores.
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
    """Return the sorted names of a command's options, such as "--max-tokens", from the command's help."""
    return sorted(_option_values(options))


def _option_values(options: type[Any]) -> dict[str, int | str]:
    """Return the names of a command's options -> how many values each takes: 0 for a flag, 1, or "*"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other way to list its options
        parser = tyro.extras.get_parser(options, config=CONFIG, registry=_registry())
    return {
        name: 1 if action.nargs is None else action.nargs
        for action in parser._actions
        for name in action.option_strings
    }


def _plain_words(words: Sequence[str], options: type[Any], advice: str) -> list[str]:
    """Return the words in the one form that tyro reads: `--name=VALUE`, so that a value may begin with a dash.

    `-name VALUE`, `--plan=true`, `--plan=no` and `--no-plan` are read too, and `--compile` where the flag is
    --no-compile. Words before, between and after options are brought together in front. A `--help` anywhere is the only
    word.
    Raise UserError for an unknown option, one without its value, a flag with one, or a word processor's dash.
    """
    values = _option_values(options)
    arguments: list[str] = []
    positionals: list[str] = []
    in_list = False  # the word before belongs to an option that takes any number of values
    queue = list(words)
    if any(word in HELP for word in queue[: queue.index("--") if "--" in queue else None]):
        return ["--help"]
    while queue:
        word = queue.pop(0)
        if word == "--":
            return [*positionals, *arguments, word, *queue]
        if not word.startswith(("-", *DASHES)):
            (arguments if in_list else positionals).append(word)
            continue
        in_list = False
        typed, equals, value = word.partition("=")
        name = _option(typed, values)
        if (flag := _negated_flag(name, values)) is not None:
            if equals and value.lower() not in TRUE + FALSE:
                raise UserError(f"{name} takes no value, but is given {value!r}")
            off = value.lower() in FALSE  # --no-plan=no
            arguments = [argument for argument in arguments if argument != flag] + [flag] * off
        elif name not in values:
            if OPTION.fullmatch(typed):
                raise UserError(_unknown_option(typed, options, advice))
            arguments.append(word)
        elif values[name] == 0:
            if equals and value.lower() not in TRUE + FALSE:
                raise UserError(f"{name} takes no value, but is given {value!r}")
            on = not equals or value.lower() in TRUE
            arguments = [argument for argument in arguments if argument != name] + [name] * on
        elif values[name] == 1:
            if not equals and not queue:
                raise UserError(f"{typed} needs a value")
            arguments.append(f"{name}={value if equals else queue.pop(0)}")
        else:
            arguments.append(name + equals + value)
            in_list = True
    return positionals + arguments


def _option(typed: str, values: Mapping[str, int | str]) -> str:
    """Return the option that a word names, `typed` itself if there is none. UserError for a wrong kind of dash."""
    bare = typed.lstrip("-" + DASHES).replace("_", "-")
    known = next((name for name in (f"--{bare}", f"-{bare}") if name in values), None)
    if known is None or not typed[:1] or typed[0] not in "-" + DASHES:
        return typed
    if any(dash in typed for dash in DASHES):
        raise UserError(f"{typed!r} begins with a dash of a word processor; type {known}")
    return known


def _negated_flag(name: str, values: Mapping[str, int | str]) -> str | None:
    """Return the flag that a word takes back: --plan for `--no-plan`, --no-compile for `--compile`. Else None."""
    bare = name.removeprefix("--").replace("_", "-")
    flag = f"--{bare.removeprefix('no-')}" if bare.startswith("no-") else f"--no-{bare}"
    return flag if name.startswith("--") and name not in values and values.get(flag) == 0 else None


def _registry() -> tyro.constructors.ConstructorRegistry:
    """Return the rule for options that may be absent: `X | None` is shown as X, and the text "None" is a text."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def optional(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
        kinds = typing.get_args(info.type)
        if typing.get_origin(info.type) not in (typing.Union, types.UnionType) or type(None) not in kinds:
            return None
        kind = next(kind for kind in kinds if kind is not type(None))
        if len(kinds) != 2 or kind not in (str, int, float, Path):
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar=kind.__name__.upper(),
            instance_from_str=lambda texts: kind(texts[0]),
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def run_group(group: str, commands: Mapping[str, str], words: Sequence[str]) -> None:
    """Run a command of a group, such as `kaiwa lab compare`; without a command, list the commands.

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


__all__ = ["HELP", "Flat", "Positional", "Repeated", "arg", "option_names", "read_options", "run_group"]
