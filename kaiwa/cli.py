"""The command line: the list of commands, the call of a command's module, exit codes and error messages."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kaiwa import __version__
from kaiwa.core.errors import Stopped, UserError
from kaiwa.core.extras import missing_extra

STAGES = Path(__file__).parent / "commands" / "stages"


def stage_commands() -> dict[str, str]:
    """Return command -> description of the stages' commands, from the first lines of their modules."""
    commands = {}
    for file in sorted(STAGES.glob("*.py")):
        with open(file, encoding="utf-8") as lines:
            head, colon, text = lines.readline().strip().strip('"').partition(": ")
        if colon and head.startswith("kaiwa "):
            commands[head.removeprefix("kaiwa ")] = text.rstrip(".")
    return commands


# The module of a command is kaiwa.commands.NAME, of a stage's command kaiwa.commands.stages.NAME; each has main(words).
STAGE_COMMANDS = stage_commands()
COMMANDS = {
    "up": "open the web app (and build a recipe beside it): kaiwa up --build laptop",
    "build": "raw text to a chat model: kaiwa build laptop",
    "chat": "talk to a model in the terminal: kaiwa chat smollm2-135m-instruct",
    "models": "list the models to talk to; models rm, models plan",
    "pull": "download a model: kaiwa pull Qwen/Qwen2.5-0.5B-Instruct",
    "export": "convert a model for other programs: kaiwa export MODEL --for gguf --out DIR",
    "show": "an artifact's manifest, parents and metrics: kaiwa show runs/laptop/sft",
    "report": "the report of a finished build: kaiwa report runs/laptop",
    "env": "versions, device and folders of this machine, for a bug report",
    "clean": "show and free caches: old packed copies, compiled libraries",
    "doctor": "check a server against OpenAI's protocol: kaiwa doctor http://127.0.0.1:7860",
    "keys": "keys with names for the server, each with its own chats: kaiwa keys add NAME",
    "round": "steps 2 and 3 again: outputs, labels, reward model, policy, comparison",
    "feedback": "what people judge and write: batches, labellers' links, import, export",
    "lab": "prompts, techniques, experiments: kaiwa lab assignment",
    "defend": "defences against prompt injection: list, thresholds, models trained to resist",
    "redteam": "attacks × defences on your own prompt: kaiwa redteam run keeper.en",
    "study": "experiments across stages: kaiwa study rlhf, kaiwa study icl",
    "select": "find the checkpoint whose replies get the highest reward-model score",
    "tune": "train the job in a fine-tuning folder (started by the server)",
    "data": "what a data file holds, and what of it would be learned: kaiwa data FILE",
    "evaluate": "evaluate models on tasks: kaiwa evaluate MODEL… --tasks FILE…; and stage 9 of a build",
    **STAGE_COMMANDS,
}
TRAINING = {"build", "data", "study", "tune", *STAGE_COMMANDS}  # these need the extra `train`


def usage() -> str:
    """Return the help text of `kaiwa` without a command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return (
        f"kaiwa {__version__}: the whole ChatGPT, built, understood and tested on the machine you have\n\n"
        "usage: kaiwa COMMAND [options]        kaiwa COMMAND --help\n\n" + "\n".join(lines) + "\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit codes: 0 success, 2 bad input (one line on stderr), 130 stopped by the user."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return
    if words[0] in ("--version", "-V"):
        print(f"kaiwa {__version__}")
        return
    try:
        run(words)
    except SystemExit as exit:
        if exit.code not in (0, None):  # 0: the help was printed
            raise
    except UserError as error:
        print(f"kaiwa: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"kaiwa: the disk is full ({error.filename or 'while writing'}); free some space", file=sys.stderr)
        sys.exit(2)
    except (Stopped, KeyboardInterrupt):
        print("kaiwa: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def run(words: list[str]) -> None:
    """Call the command words[0] with the other words. UserError where a package of an extra is missing."""
    try:
        command(words[0])(words[1:])
    except ModuleNotFoundError as error:
        usual = "web" if words[0] == "up" else "train" if words[0] in TRAINING else "local"
        if missing := missing_extra(error, f"kaiwa {words[0]}", usual):
            raise missing from None
        raise


def command(name: str) -> Callable[[list[str]], None]:
    """Import a command's module and return its main function. UserError for an unknown name."""
    if name not in COMMANDS:
        from kaiwa.core.config import did_you_mean

        raise UserError(f"no command {name!r}{did_you_mean(name, COMMANDS)}")
    folder = "kaiwa.commands.stages" if name in STAGE_COMMANDS else "kaiwa.commands"
    main: Callable[[list[str]], None] = importlib.import_module(f"{folder}.{name.replace('-', '_')}").main
    return main


if __name__ == "__main__":
    main()
