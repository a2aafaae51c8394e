"""The command line: parse, call, print. Nothing else lives here; each command imports what it needs when it runs."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

from kaiwa import __version__
from kaiwa.core.errors import Stopped, UserError

COMMANDS = {
    "up": "open the web app (and build a recipe beside it): kaiwa up --build laptop",
    "build": "raw text to a chat model: kaiwa build laptop",
    "chat": "talk to a model in the terminal: kaiwa chat smollm2-135m-instruct",
    "models": "what one can talk to; models rm, models plan",
    "pull": "fetch a model: kaiwa pull Qwen/Qwen2.5-0.5B-Instruct",
    "export": "hand a model on: kaiwa export MODEL --for gguf --out DIR",
    "show": "an artifact's manifest, parents and metrics: kaiwa show runs/laptop/sft",
    "report": "the report of a finished build: kaiwa report runs/laptop",
    "doctor": "does a server keep to OpenAI's protocol: kaiwa doctor http://127.0.0.1:7860",
    "lab": "prompts, techniques, experiments: kaiwa lab assignment",
    "defend": "defences: what they do, their thresholds, models trained to defend themselves",
    "redteam": "attacks × defences on your own prompt: kaiwa redteam run keeper.en",
    "study": "experiments across stages: kaiwa study rlhf, kaiwa study icl",
    "corpus": "stage 1: clean, deduplicate, split",
    "tokenizer": "stage 3: learn the tokens, encode the corpus",
    "pretrain": "stage 4: a GPT from text",
    "sft": "stage 5: fine-tune on demonstrations",
    "reward": "stage 6: a reward model from rankings",
    "dpo": "the same without a reward model: straight from comparisons",
    "rlhf": "stage 7: PPO-ptx (or RLOO, GRPO) against the reward model",
    "best-of": "the best of N replies by the reward model, as demonstrations",
    "select": "the checkpoint whose replies a reward model likes best",
    "quantize": "stage 8: four bits a weight",
    "tune": "train a fine-tuning job's folder (the server starts it)",
    "evaluate": "models on tasks: kaiwa evaluate MODEL… --tasks FILE…; and stage 9 of a build",
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return (
        f"kaiwa {__version__}: the whole ChatGPT, built, understood and tested on the machine you have\n\n"
        "usage: kaiwa COMMAND [options]        kaiwa COMMAND --help\n\n" + "\n".join(lines) + "\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. Exit codes: 0 done, 2 bad input (one line on stderr), 130 stopped by the person."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return
    if words[0] in ("--version", "-V"):
        print(f"kaiwa {__version__}")
        return
    try:
        command(words[0])(words[1:])
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


def command(name: str) -> Callable[[list[str]], None]:
    """The function of a command, its module imported only now."""
    if name not in COMMANDS:
        from kaiwa.core.config import did_you_mean

        raise UserError(f"no command {name!r}{did_you_mean(name, COMMANDS)}")
    if name in ("up", "chat"):
        from kaiwa.commands import talk

        return {"up": talk.up, "chat": talk.chat}[name]
    if name in ("models", "pull", "export"):
        from kaiwa.commands import models

        return {"models": models.models, "pull": models.pull, "export": models.export}[name]
    if name in ("build", "show", "report"):
        from kaiwa.commands import builds

        return {"build": builds.build, "show": builds.show, "report": builds.report}[name]
    if name == "doctor":
        from kaiwa.commands import doctor

        return doctor.doctor
    if name == "defend":
        from kaiwa.commands import defend

        return defend.defend
    if name == "study":
        from kaiwa.commands import study

        return study.study
    if name == "select":
        from kaiwa.commands import select

        return select.select
    if name == "tune":
        from kaiwa.commands import tune

        return tune.tune
    if name == "lab":
        from kaiwa.commands import lab

        return lab.lab
    if name == "redteam":
        from kaiwa.commands import redteam

        return redteam.redteam
    from kaiwa.commands import stages

    if name == "evaluate":
        from kaiwa.commands import leaderboard

        stage = stages.command(name)
        return lambda words: leaderboard.evaluate(words) if "--tasks" in words else _evaluate(words, stage)
    return stages.command(name)


def _evaluate(words: list[str], stage: Callable[[list[str]], None]) -> None:
    """The stage of a build; its help begins with what evaluates models on tasks."""
    if not words or words[0] in ("-h", "--help"):
        from kaiwa.commands.leaderboard import USAGE

        print(USAGE)
    stage(words)


if __name__ == "__main__":
    main()
