"""In the engine process: a model in memory, and the adapters that share its weights.

An adapter (a low-rank change or a soft prompt) uses the weights and the engine of its base, and a few megabytes of its
own. Nothing is merged; requests to the base and to all its adapters are answered in the same steps.
"""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError
from kaiwa.serve.openai.call_forms import AnswerMarkup
from kaiwa.serve.worker.fingerprint import fingerprint, weights_digest
from kaiwa.serve.worker.wire import Generate, ModelAddress

if TYPE_CHECKING:
    from kaiwa.catalog.load import LoadedModel
    from kaiwa.engine.engine import Engine

MOST_ADAPTERS = 64  # of one model; the longest unused go first


@dataclass(frozen=True, slots=True)
class ResidentAdapter:
    """An adapter: its model for requests, its bytes in memory, and the digest of its weights."""

    loaded: LoadedModel
    bytes: int
    digest: str = ""


@dataclass(slots=True)
class AdmittedRequest:
    """A request being answered by the engine. started: whether Started has been sent."""

    request: Generate
    prompt_tokens: int
    markup: AnswerMarkup
    fingerprint: str = ""
    started: bool = False


class ResidentModel:
    """A model with its engine, its adapters and its running requests. `weights`: bytes without adapters."""

    def __init__(self, loaded: LoadedModel, engine: Engine) -> None:
        self.loaded, self.engine = loaded, engine
        self.weights = loaded.memory()
        self.adapters: OrderedDict[str, ResidentAdapter] = OrderedDict()  # least recently used first
        self.running: dict[str, AdmittedRequest] = {}  # by request id
        self.held: list[Generate] = []  # until the way of computing is settled
        self.weights_digest = weights_digest(loaded.entry.path)

    @property
    def idle(self) -> bool:
        """Whether no request is being answered or held."""
        return self.engine.idle and not self.held

    def holds(self, request: Generate) -> bool:
        """Return whether a request must wait: the same request later would be computed otherwise.

        Once such requests wait and the C++ step is ready, the others wait too, so that it can take over.
        """
        if not self.engine.will_switch or (self.engine.idle and not self.engine.is_pending):
            return False
        return request.repeatable or (bool(self.held) and not self.engine.is_pending)

    def release(self) -> list[Generate]:
        """Return the requests that need not wait any more, in their order."""
        if not self.held or self.engine.is_pending or (self.engine.will_switch and not self.engine.idle):
            return []
        requests, self.held = self.held, []
        return requests

    @property
    def computing(self) -> str:
        """The way in which answers are computed now."""
        if self.engine.is_native:
            return "C++ step"
        return "PyTorch, for now" if self.engine.will_switch else "PyTorch"

    def fingerprint(self, loaded: LoadedModel) -> str:
        """Return the fingerprint of an answer by the model or one of its adapters: weights, template, computing."""
        adapter = self.adapters.get(loaded.entry.name)
        template = loaded.tokenizer.chat_template or ""
        return fingerprint(self.weights_digest, adapter.digest if adapter is not None else "", template, self.computing)

    @property
    def n_requests(self) -> int:
        return len(self.running) + len(self.held)

    @property
    def bytes(self) -> int:
        return self.weights + sum(adapter.bytes for adapter in self.adapters.values())

    def memory(self) -> dict[str, int]:
        """Return bytes by name: the model's and each adapter's own."""
        adapters = {name: adapter.bytes for name, adapter in self.adapters.items()}
        return {self.loaded.entry.name: self.weights} | adapters

    def model_for(self, address: ModelAddress) -> LoadedModel:
        """Return the model, or its adapter if the address names an adapter.

        An adapter is read if not in memory, and read again if changed on disk and idle. UserError if its shape does not
        fit the model.
        """
        if address.adapter is None:
            return self.loaded
        name = address.name
        adapter = self.adapters.get(name)
        if adapter is not None and adapter.loaded.entry.created != address.created and not self.engine.uses(name):
            self.drop(name)
            adapter = None
        if adapter is None:
            adapter = self._read_adapter(address)
        self.adapters.move_to_end(name)
        return adapter.loaded

    def _read_adapter(self, address: ModelAddress) -> ResidentAdapter:
        from kaiwa.catalog.load import with_adapter

        for name in list(self.adapters):
            if len(self.adapters) >= MOST_ADAPTERS and not self.engine.uses(name):
                self.drop(name)
        if len(self.adapters) >= MOST_ADAPTERS:
            raise UserError(f"{MOST_ADAPTERS} adapters of {self.loaded.entry.name} are answering; try again later")
        assert address.adapter is not None
        entry = replace(self.loaded.entry, name=address.name, created=address.created, chat=address.chat)
        loaded = with_adapter(self.loaded, entry, address.adapter)
        assert loaded.adapter is not None
        self.engine.add_adapter(address.name, loaded.adapter)
        adapter = self.adapters[address.name] = ResidentAdapter(
            loaded, loaded.adapter_memory(), weights_digest(address.adapter)
        )
        return adapter

    def drop(self, name: str) -> int:
        """Drop an adapter and return its bytes. UserError while requests use the adapter."""
        self.engine.remove_adapter(name)
        return self.adapters.pop(name).bytes


def free_unused() -> None:
    """Return unused memory to the system, on the card too: the next memory plan measures free memory."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
