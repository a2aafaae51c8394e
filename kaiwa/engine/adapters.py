"""The adapters loaded in an engine and named by its requests.

Each has a space of its own in the prefix tree, never used again for another adapter: keys and values of the same tokens
differ from adapter to adapter, and a new adapter under an old name must not match the cache of the old adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.model.adapter import Adapter
from kaiwa.model.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter and its space in the prefix tree. adapter None: the plain model."""

    adapter: Adapter | None
    space: int

    @property
    def n_soft(self) -> int:
        return 0 if self.adapter is None else self.adapter.n_soft


NO_ADAPTER = LoadedAdapter(None, 0)


class AdapterTable:
    """Adapters by name, for a model of a fixed shape."""

    def __init__(self, config: DecoderConfig, max_length: int) -> None:
        self.config, self.max_length = config, max_length
        self._known: dict[str, LoadedAdapter] = {}
        self._spaces = 0  # spaces handed out so far

    def get(self, name: str) -> LoadedAdapter:
        """Return the adapter of a name, NO_ADAPTER for the empty name. UserError for an unknown name."""
        if name and name not in self._known:
            known = did_you_mean(name, list(self._known)) if self._known else "; none is"
            raise UserError(f"no adapter {name!r} is loaded{known}")
        return self._known[name] if name else NO_ADAPTER

    def add(self, name: str, adapter: Adapter) -> None:
        """Register an adapter. UserError for a name in use already, or an adapter of another shape than the model."""
        c = self.config
        if not name or name in self._known:
            raise UserError(f"adapter {name!r}: " + ("the name is taken" if name else "give it a name"))
        if adapter.changes and len(adapter.changes) != c.n_layer:
            raise UserError(f"adapter {name!r} changes {len(adapter.changes)} blocks, the model has {c.n_layer}")
        if adapter.soft is not None and (adapter.soft.shape[1] != c.d_model or adapter.n_soft >= self.max_length):
            raise UserError(
                f"adapter {name!r} has a soft prompt of {tuple(adapter.soft.shape)}, the model is {c.d_model} wide and"
                f" reads {self.max_length} tokens"
            )
        self._spaces += 1
        self._known[name] = LoadedAdapter(adapter, self._spaces)

    def remove(self, name: str) -> int:
        """Remove an adapter and return its space in the prefix tree. UserError for an unknown name."""
        if not name:
            raise UserError("the name of an adapter is empty; the model itself cannot be removed")
        space = self.get(name).space
        del self._known[name]
        return space
