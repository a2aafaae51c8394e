"""kaiwa defend train: fine-tuning of a model to resist prompt injection, by the fine-tuning API."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kaiwa.catalog.entries import SMOLLM2
from kaiwa.catalog.open_model import read_key
from kaiwa.commands.defend.defence_options import benign_texts
from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Make training examples from a red-team target and fine-tune a model on them by the fine-tuning API.

    TARGET is a file with a system prompt, secrets, rules and documents, or the name of an example such as keeper.en.
    The API is on the server at --url, or on a server that runs during this command. `kaiwa models` lists the trained
    model next to the original.
    """

    target: Positional[Annotated[Path, arg(metavar="TARGET")]]
    model: str = SMOLLM2
    method: str = "dpo"  # dpo: preferences, as SecAlign; supervised: demonstrations, as StruQ
    n: int = 300  # examples, half of them without an attack
    seed: int = 0
    # more attacks for the evaluation, one per line: training excludes wordings similar to these and to the red team's
    held_out: Path | None = None
    out: Path | None = None  # file for the examples
    epochs: int | None = None
    url: str = ""  # such as http://127.0.0.1:7860/v1
    api_key_env: str = ""  # the environment variable that holds the server's key (the key is never stored)


def main(words: list[str]) -> None:
    """Fine-tune the model, and print the new model's name."""
    options = read_options(Options, "kaiwa defend train", words)
    print(train(options, benign_texts(options.held_out) if options.held_out is not None else []))


def train(options: Options, held_out: Sequence[str]) -> str:
    """Train on examples of the target and return the trained model's name. held_out: attacks not to train on."""
    from kaiwa.commands.training_server import training_server
    from kaiwa.defend.training_data import METHODS, answer_scenes, count_kinds, make_scenes, training_rows
    from kaiwa.lab.experiments.training_api import TrainingServer
    from kaiwa.text.client import HTTPChatModel
    from kaiwa.text.records import write_jsonl

    method, n, seed = options.method, options.n, options.seed
    if method not in METHODS or n < 4:
        raise UserError(f"--method {method} --n {n}: {' or '.join(METHODS)}, and at least 4 examples")
    examples = make_scenes(_target(options.target), n, seed, [*held_out, *_attacks()])
    key = read_key(options.api_key_env)
    say = lambda line: print(line, file=sys.stderr)  # noqa: E731
    with training_server(options.url) as url:
        say(f"{options.model} answers the examples …")
        answers = answer_scenes(HTTPChatModel(url, options.model, api_key=key), examples, seed)
        say(", ".join(f"{count} {kind}" for kind, count in count_kinds(answers)))
        lines = training_rows(answers, method)
        if options.out is not None:
            write_jsonl(options.out, lines)
        server = TrainingServer(url, key)
        settings = {"n_epochs": options.epochs} if options.epochs is not None else {}
        uploaded = server.upload(lines, f"defence-{options.target.stem}.jsonl")
        job = server.start(
            options.model, uploaded, method, hyperparameters=settings, suffix=f"defence-{method}", seed=seed
        )
        done = server.wait(job, say)
    say(f"{done.tokens:,} tokens in {done.seconds:.0f} s")
    return done.model


def _target(path: Path) -> dict[str, Any]:
    """Return the values of a target, from a file or from an example by name."""
    from kaiwa.redteam.targets.target import example_text, list_examples, target_from_toml

    try:
        text = example_text(str(path)) if str(path) in list_examples() else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no target ({error}); kaiwa redteam targets lists examples") from None
    target_from_toml(text, str(path))  # raises the red team's UserError for a bad target
    return tomllib.loads(text)


def _attacks() -> list[str]:
    """Return the red team's attacks in both languages, which must not be in the training examples."""
    from kaiwa.redteam.attacks.all import ATTACKS

    return [text for attack in ATTACKS for turns in attack.wording.values() for text in turns]
