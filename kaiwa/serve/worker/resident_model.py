"""In the engine process: a model in memory, and the adapters that share its weights.

A model that was trained as a low-rank change or a soft prompt of another one is that one, its engine and its weights,
and a few megabytes more. Nothing is merged; requests to both, and to other adapters, are answered in the same steps.
"""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.load import Loaded
    from kaiwa.engine.engine import Engine

MOST_ADAPTERS = 64  # of one model; those that nobody has used longest go first


@dataclass(frozen=True, slots=True)
class Tuned:
    """An adapter: its model as requests see it, and the bytes that it takes."""

    loaded: Loaded
    bytes: int


class Resident:
    """`weights`: bytes of the model's own."""

    def __init__(self, loaded: Loaded, engine: Engine) -> None:
        self.loaded, self.engine = loaded, engine
        self.weights = loaded.memory()
        self.adapters: OrderedDict[str, Tuned] = OrderedDict()  # least recently used first
        self.asked: dict[str, dict[str, Any]] = {}  # request id -> the message that asked
        self.told: set[str] = set()  # requests whose start has been told

    @property
    def bytes(self) -> int:
        return self.weights + sum(tuned.bytes for tuned in self.adapters.values())

    def memory(self) -> dict[str, int]:
        """Bytes by name: the model's and each adapter's own."""
        adapters = {name: tuned.bytes for name, tuned in self.adapters.items()}
        return {self.loaded.entry.name: self.weights} | adapters

    def seen_by(self, message: Mapping[str, Any]) -> Loaded:
        """What a message is about: the model, or one of its adapters, which is read where it is not here as it is on
        disk. UserError for an adapter that does not fit the model."""
        if "adapter" not in message:
            return self.loaded
        name = message["model"]
        known = self.adapters.get(name)
        if known is not None and known.loaded.entry.created != message["created"] and not self.engine.uses(name):
            self.drop(name)
            known = None
        if known is None:
            known = self._read(message)
        self.adapters.move_to_end(name)
        return known.loaded

    def _read(self, message: Mapping[str, Any]) -> Tuned:
        from kaiwa.catalog.load import with_adapter

        for name in list(self.adapters):
            if len(self.adapters) >= MOST_ADAPTERS and not self.engine.uses(name):
                self.drop(name)
        if len(self.adapters) >= MOST_ADAPTERS:
            raise UserError(f"{MOST_ADAPTERS} adapters of {self.loaded.entry.name} are answering; try again later")
        name = message["model"]
        entry = replace(self.loaded.entry, name=name, created=message["created"], chat=message["chat"])
        loaded = with_adapter(self.loaded, entry, Path(message["adapter"]))
        assert loaded.adapter is not None
        self.engine.add_adapter(name, loaded.adapter)
        tuned = self.adapters[name] = Tuned(loaded, loaded.adapter_memory())
        return tuned

    def drop(self, name: str) -> int:
        """Lets go of an adapter. -> its bytes. UserError while it is answering."""
        self.engine.remove_adapter(name)
        return self.adapters.pop(name).bytes


def place(message: Mapping[str, Any]) -> dict[str, Any]:
    """Whose weights a message is about: those of the adapter's base, or of the model itself."""
    found: dict[str, Any] = message.get("base", message)
    return found


def free_unused() -> None:
    """What nobody holds any more goes back, from torch's allocator to the card too: the next plan asks what is free."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
