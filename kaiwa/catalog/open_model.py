"""Open the model chosen by a person: behind a URL, or on the local machine. torch is imported only to read weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from kaiwa.catalog.entries import SMOLLM2, Entry, entry_by_name_or_path
from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.providers import USUAL_WAYS, Provider

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A person's choice of a model.

    model: a name from `kaiwa models`, a path, or the name at a server ("": SmolLM2).
    url: of a server with OpenAI's protocol (ends in /v1), "" for the local machine. api_key_env: the environment
    variable with its key. concurrency: requests under way at a time; per_minute: most requests started per minute, 0
    for no limit. device and max_memory: as KAIWA_DEVICE and KAIWA_MAX_MEMORY, which apply if the fields are empty.
    provider: how the server is spoken to.
    """

    model: str = ""
    url: str = ""
    api_key_env: str = ""
    concurrency: int = 8
    per_minute: float = 0.0
    device: str = ""
    max_memory: str = ""
    provider: Provider = USUAL_WAYS


def rest_idle_threads() -> None:
    """Let waiting threads sleep, so other programs get the processor time. Call before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")


def print_line(line: str) -> None:
    print(line, file=sys.stderr)


def open_model(choice: ModelChoice, say: Say = print_line) -> OpenedModel:
    """Open a model. UserError for an unknown name, a missing key, or weights that do not fit; `say` gets progress."""
    if choice.url:
        return _open_server(choice)
    rest_idle_threads()
    return open_entry(entry_by_name_or_path(choice.model or SMOLLM2), say, choice.device, choice.max_memory)


def open_entry(entry: Entry, say: Say = print_line, device: str = "", max_memory: str = "") -> OpenedModel:
    """Read the weights of a local catalog entry, split where a card is too small for them."""
    from kaiwa.catalog.local_model import LocalChatModel
    from kaiwa.catalog.memory_plan import load_here

    model = LocalChatModel(load_here(entry, say, max_memory, device))
    return OpenedModel(model, f"{entry.name} {entry.created}", "chat" if entry.chat else "text")


def _open_server(choice: ModelChoice) -> OpenedModel:
    from kaiwa.text.client import HTTPChatModel

    if not choice.model:
        raise UserError("a server needs the model's name: --model NAME (or model = … in the file)", field="model")
    key = read_key(choice.api_key_env)
    model = HTTPChatModel(
        choice.url,
        choice.model,
        api_key=key,
        concurrency=choice.concurrency,
        per_minute=choice.per_minute,
        provider=choice.provider,
    )
    return OpenedModel(model, f"{choice.url} {choice.model}")


def read_key(variable: str) -> str:
    """Return the API key in the environment variable, "" for no variable. UserError for an empty key."""
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise UserError(f"the environment variable {variable} is empty; it should hold the key", field="api_key_env")
    return key
