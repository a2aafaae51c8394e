"""In the engine process: which models are in memory, which are loading, and which are dropped when memory runs out.

A model loads in a thread, so other models go on answering; requests for the loading model wait. When memory runs out,
the model idle for longest is dropped.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kaiwa.catalog.entries import read_entry
from kaiwa.core.errors import UserError
from kaiwa.serve.worker.resident_encoder import ResidentEncoder
from kaiwa.serve.worker.resident_model import ResidentModel, free_unused
from kaiwa.serve.worker.wire import Load, ModelAddress, ModelRequest

BANDWIDTH_PASSES = 3
Resident = ResidentModel | ResidentEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """The result of a loading thread: the model, or the error (status, code, message) for the waiting requests."""

    name: str
    model: Resident | None = None
    bandwidth: float = 0.0
    status: int = 0
    code: str = ""
    message: str = ""


class ModelPool:
    """`memory`: most bytes for all models. `report`: gets a LoadOutcome or a line to show, in a loading thread."""

    def __init__(self, memory: int, report: Callable[[LoadOutcome | str], None]) -> None:
        self.memory, self.report = memory, report
        self.models: OrderedDict[str, Resident] = OrderedDict()  # least recently used first
        self.waiting: dict[str, list[ModelRequest | Load]] = {}  # requests for each model that is being loaded
        self.bandwidth = 0.0  # bytes per second, measured when the first model loads

    @property
    def writers(self) -> dict[str, ResidentModel]:
        """The models that generate text."""
        return {name: model for name, model in self.models.items() if isinstance(model, ResidentModel)}

    def get(self, address: ModelAddress) -> Resident | None:
        """Return the model if in memory, else None. A model rebuilt on disk is dropped first, unless answering."""
        model = self.models.get(address.name)
        if model is None:
            return None
        if model.loaded.entry.created != address.created and model.idle:
            model = None
            self.drop(address.name)
            return None
        self.models.move_to_end(address.name)
        return model

    def wait_for(self, address: ModelAddress, request: ModelRequest | Load) -> None:
        """Let a request wait for its model, and start loading the model if necessary."""
        if address.name not in self.waiting:
            self.start_loading(address)
        self.waiting[address.name].append(request)

    def start_loading(self, address: ModelAddress) -> None:
        self.waiting[address.name] = []
        if self.models:
            self._make_room_on_card(address)

        def work() -> None:
            self.report(self._load(address))

        threading.Thread(target=work, daemon=True).start()

    def _load(self, address: ModelAddress) -> LoadOutcome:
        name = address.name
        try:
            model = load_model(address.path, name, self.report)
            bandwidth = self.bandwidth or measure_bandwidth()
        except UserError as error:
            return LoadOutcome(name=name, status=404, code="model_not_found", message=str(error))
        except Exception as error:
            traceback.print_exc()
            message = f"{name} cannot be loaded: {error}"
            return LoadOutcome(name=name, status=500, code="model_failed", message=message)
        return LoadOutcome(name=name, model=model, bandwidth=bandwidth)

    def finish_loading(self, outcome: LoadOutcome) -> list[ModelRequest | Load]:
        """Add a loaded model to the pool, and return the requests waiting for the model."""
        requests = self.waiting.pop(outcome.name, [])
        if outcome.model is not None:
            self.models[outcome.name] = outcome.model
            self.bandwidth = self.bandwidth or outcome.bandwidth
            self.make_room(outcome.name)
        return requests

    def make_room(self, protected: str) -> None:
        """Drop idle models except the protected model, longest unused first, until the rest fits into memory."""
        for name in list(self.models):
            if sum(model.bytes for model in self.models.values()) <= self.memory:
                return
            if name != protected and self.models[name].idle:
                self.drop(name)

    def _make_room_on_card(self, address: ModelAddress) -> None:
        """Drop idle models until the next model has room on the card; its plan would otherwise split the model."""
        from kaiwa.catalog.memory_plan import has_room

        try:
            entry = read_entry(address.path, address.name)
            for name in list(self.models):
                if entry is None or not entry.writes or has_room(entry):
                    return
                if self.models[name].idle:
                    self.drop(name)
        except Exception:  # a broken folder: loading it says why
            return

    def drop(self, name: str) -> None:
        """Remove an idle model. No local variable of a caller may reference the model: its memory is freed here."""
        del self.models[name]
        free_unused()

    def bytes_by_name(self) -> dict[str, int]:
        """Return the memory of every model and adapter."""
        return {name: size for model in self.models.values() for name, size in model.memory().items()}

    def computing(self) -> dict[str, str]:
        """Return the way in which each model is computed."""
        return {name: model.computing for name, model in self.models.items()}

    def n_requests(self) -> int:
        """Return how many requests are being answered or wait for their model."""
        return sum(model.n_requests for model in self.models.values()) + sum(map(len, self.waiting.values()))


def load_model(path: Path, name: str, say: Callable[[str], None]) -> Resident:
    """Load a model and make its engine. `say` gets lines about slower paths. UserError if there is no model here."""
    import torch  # comes with the first model: an idle engine process is small

    from kaiwa.catalog.memory_plan import load_here
    from kaiwa.core import machine
    from kaiwa.engine.engine import Engine

    torch.set_num_threads(machine.cores())
    entry = read_entry(path, name)
    if entry is None:
        raise UserError(f"{path}: no model here any more")
    free_unused()  # of a model that failed while answering
    if not entry.writes:
        from kaiwa.catalog.encoder import load_embedding_model

        return ResidentEncoder(load_embedding_model(entry))
    loaded = load_here(entry, say)
    return ResidentModel(loaded, Engine(loaded.decoder, loaded.tokenizer))


def measure_bandwidth() -> float:
    """Return the bytes per second at which torch's threads sum 128 MB of memory: the best of a few passes."""
    import torch

    block = torch.ones(32 << 20)
    best = 0.0
    for _ in range(BANDWIDTH_PASSES):
        start = time.perf_counter()
        block.sum()
        best = max(best, block.numel() * 4 / (time.perf_counter() - start))
    return best
