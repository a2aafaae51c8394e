"""kaiwa lab ladder: comparison of zero-shot, few-shot, soft prompt and fine-tuning, by a server's fine-tuning API."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from kaiwa.catalog.entries import SMOLLM2
from kaiwa.catalog.open_model import read_key
from kaiwa.commands.console import table
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Compare zero-shot, few-shot, a soft prompt and fine-tuning on the same items: share right, and cost.

    Costs are tokens, minutes and money. The fine-tuning API trains the last two rungs, on the server at --url or on a
    server that runs during this command.
    """

    task: str = "sentiment-en"  # a built-in task (see kaiwa lab tasks)
    model: str = SMOLLM2
    train: int = 64  # training examples, distinct from the graded items
    n: int = 100  # graded items
    k: int = 8  # demonstrations of the few-shot rung
    out: Path | None = None  # default: runs/lab/ladder-TASK-MODEL
    url: str = ""  # such as http://127.0.0.1:7860/v1
    api_key_env: str = ""  # the environment variable that holds the server's key (the key is never stored)
    per_hour: float = 0.10  # cost of an hour of this machine, for the money columns
    seed: int = 0


def main(words: list[str]) -> None:
    """Run all rungs and print the comparison and the costs."""
    options = read_options(Options, "kaiwa lab ladder", words)
    if options.n < 1 or options.train < 2:
        raise UserError(f"--n {options.n} --train {options.train}: at least 1 item and 2 training examples are needed")
    from kaiwa.commands.lab.experiments import print_analysis
    from kaiwa.commands.training_server import training_server
    from kaiwa.lab.experiments.ladder import run_ladder, rung_rows, split_task
    from kaiwa.lab.experiments.training_api import TrainingServer
    from kaiwa.lab.tasks.by_name import generate_task
    from kaiwa.text.chat_model import OpenedModel
    from kaiwa.text.client import HTTPChatModel

    items = generate_task(options.task, options.n + 4 * options.train, options.seed)
    task, training = split_task(items, options.n, options.train)
    out = options.out or Path("runs") / "lab" / f"ladder-{options.task}-{options.model.replace('/', '.')}"
    key = read_key(options.api_key_env)
    with training_server(options.url) as url:

        def open_model(name: str) -> OpenedModel:
            return OpenedModel(HTTPChatModel(url, name, api_key=key), name)

        analysis, rungs = run_ladder(
            task,
            training,
            options.model,
            TrainingServer(url, key),
            open_model=open_model,
            out=out,
            k=options.k,
            seed=options.seed,
            per_hour=options.per_hour,
            show=lambda line: print(line, file=sys.stderr),
        )
    print_analysis(analysis, out)
    print()
    print(table(rung_rows(rungs)))
