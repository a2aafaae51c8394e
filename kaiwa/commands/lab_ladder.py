"""lab ladder: zero-shot, few-shot, soft prompt, fine-tune, through a server's fine-tuning API."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from kaiwa.commands.console import table
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa lab ladder [--task TASK] [--model MODEL] [--train N] [--n N] [--k K] [--out DIR]
                        [--url URL] [--api-key-env NAME] [--per-hour PRICE] [--seed S]

What zero-shot, few-shot, a soft prompt and fine-tuning get right on the same items, and what each costs in tokens,
minutes and money. The last two rungs are trained by the fine-tuning API: of the server at --url (such as
http://127.0.0.1:7860/v1), or of one that runs as long as this command.
--task      a built-in task (default sentiment-en; see kaiwa lab tasks)
--train     examples to train on, none of which is graded (default 64)
--n, --k    items that are graded (default 100); demonstrations of the few-shot rung (default 8)
--per-hour  what an hour of this machine costs, for the money columns (default 0.10)
"""


def ladder(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    kinds: dict[str, type] = {"task": str, "model": str, "train": int, "n": int, "k": int, "out": str, "seed": int}
    rest, options = read_words(words, kinds | {"url": str, "api-key-env": str, "per-hour": float}, ())
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa lab ladder --help")
    from kaiwa.catalog.entries import SMOLLM2
    from kaiwa.lab.experiments.ladder import run_ladder, rung_rows, split_task
    from kaiwa.lab.experiments.training_api import TrainingServer
    from kaiwa.lab.tasks.by_name import generate_task
    from kaiwa.text.chat_model import OpenedModel
    from kaiwa.text.client import HTTPChatModel

    n, n_train = options.get("n", 100), options.get("train", 64)
    if n < 1 or n_train < 2:
        raise UserError(f"--n {n} --train {n_train}: at least 1 item and 2 training examples are needed")
    name = options.get("task", "sentiment-en")
    task, training = split_task(generate_task(name, n + 4 * n_train, options.get("seed", 0)), n, n_train)
    model = options.get("model", SMOLLM2)
    key = os.environ.get(options.get("api-key-env", ""), "")
    out = Path(options.get("out") or Path("runs") / "lab" / f"ladder-{name}-{model.replace('/', '.')}")
    with serving(options.get("url", "")) as url:
        server = TrainingServer(url, key)

        def open_model(served: str) -> OpenedModel:
            return OpenedModel(HTTPChatModel(url, served, api_key=key), served)

        analysis, rungs = run_ladder(
            task,
            training,
            model,
            server,
            open_model=open_model,
            out=out,
            k=options.get("k", 8),
            seed=options.get("seed", 0),
            per_hour=options.get("per-hour", 0.10),
            show=lambda line: print(line, file=sys.stderr),
        )
    from kaiwa.commands.lab_run import finish

    finish(analysis, out)
    print()
    print(table(rung_rows(rungs)))


@contextlib.contextmanager
def serving(url: str) -> Iterator[str]:
    """The given server's URL, or that of a server on a free port as long as the block runs."""
    if url:
        yield url
        return
    import asyncio

    try:
        import uvicorn

        from kaiwa.serve.app import make_app, make_services
        from kaiwa.serve.services import ServerSettings
    except ImportError as error:
        raise UserError(
            f"training goes through the server, which needs {error.name}; pip install 'kaiwa[web]'"
        ) from None
    from kaiwa.core.home import home, runs

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    services = make_services(ServerSettings(runs=runs().resolve(), home=home(), port=port))
    server = uvicorn.Server(uvicorn.Config(make_app(services), log_level="warning", access_log=False))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise UserError("the server did not start; kaiwa up says more")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join(15)
