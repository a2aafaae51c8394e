"""Open the model that a command names: one on this machine, or one behind an OpenAI-compatible server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.entries import Entry
    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.lab.experiments.run import Opened


@dataclass(kw_only=True)
class ModelOptions:
    """Which model answers, and how fast it is asked."""

    model: str = ""  # a name from `kaiwa models`, a folder, a .gguf file; with --url the server's name for it
    url: str = ""  # any OpenAI-compatible server, such as http://127.0.0.1:7860/v1
    api_key_env: str = ""  # the environment variable that holds the server's key (it is never written down)
    concurrency: int = 8  # requests to the server at a time
    per_minute: float = 0.0  # requests per minute to the server at most (0: no limit)


def open_model(options: ModelOptions, name: str = "") -> Opened:
    """Return the model of the options, or the one called `name` at the same place. UserError where there is none."""
    from kaiwa.lab.experiments.run import Opened

    name = name or options.model
    if options.url:
        from kaiwa.text.client import HTTPChatModel

        if not name:
            raise UserError("a server needs the model's name: --model NAME (or model = … in the file)")
        key = read_key(options.api_key_env)
        http = HTTPChatModel(
            options.url, name, api_key=key, concurrency=options.concurrency, per_minute=options.per_minute
        )
        return Opened(http, f"{options.url} {name}")
    from kaiwa.catalog.entries import SMOLLM2, find

    return open_entry(find(name or SMOLLM2))


def open_entry(entry: Entry) -> Opened:
    """Return a model on this machine, asked in messages where it has learnt to chat, else in plain text."""
    from kaiwa.lab.experiments.run import Opened

    return Opened(load_local(entry), f"{entry.name} {entry.created}", "chat" if entry.chat else "text")


def load_local(entry: Entry, max_memory: str = "") -> LocalChatModel:
    """Load a model on this machine. max_memory: what its weights may take, such as "8GB" (empty: what is free)."""
    for variable, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(variable, value)
    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.catalog.memory_plan import load_here

    return LocalChatModel(load_here(entry, lambda line: print(line, file=sys.stderr), max_memory))


def read_key(variable: str) -> str:
    """Return the API key in the environment variable; "" for no variable. UserError for an empty one."""
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise UserError(f"the environment variable {variable} is empty; it should hold the key")
    return key
