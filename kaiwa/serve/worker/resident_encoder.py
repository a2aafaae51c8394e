"""In the engine process: an embedding model in memory. It answers questions alone, one between two steps of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaiwa.catalog.encoder import LoadedEncoder


class ResidentEncoder:
    """An embedding model; questions.py answers for it. `bytes`: of its weights."""

    idle = True  # nothing lasts longer than the answer to a question
    n_requests = 0
    computing = "PyTorch"

    def __init__(self, loaded: LoadedEncoder) -> None:
        self.loaded, self.bytes = loaded, loaded.memory()

    def memory(self) -> dict[str, int]:
        return {self.loaded.entry.name: self.bytes}
