"""The split into training and validation documents by a hash of their group: a larger corpus moves no document."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from kaiwa.text.records import Document


def group_of(id: str) -> str:
    """Return the group of documents that go into one split together: the id up to "::", such as a module.

    Each topic of the language reference is its own group.
    """
    head, _, tail = id.partition("::")
    return id if head.endswith("/topics") and tail else head


def place(id: str) -> float:
    """Return a document's position in [0, 1): uniformly distributed, and the same in every corpus."""
    return int.from_bytes(hashlib.sha256(group_of(id).encode()).digest()[:8], "big") / 2**64


def split(documents: Sequence[Document], share: float) -> tuple[list[Document], list[Document]]:
    """Return (train, validation), both in the order of `documents`.

    About `share` of each source is held out. If no group of a source falls into validation, its nearest group is held
    out (unless it is the only group): bits per byte of a source need held-out text.
    """
    validation_ids = {d.id for d in documents if place(d.id) < share}
    for source in sorted({d.source for d in documents}):
        of_source = [d for d in documents if d.source == source]
        groups = {group_of(d.id) for d in of_source}
        if len(groups) > 1 and not any(d.id in validation_ids for d in of_source):
            nearest = min(groups, key=lambda group: (place(group), group))
            validation_ids |= {d.id for d in of_source if group_of(d.id) == nearest}
    return [d for d in documents if d.id not in validation_ids], [d for d in documents if d.id in validation_ids]
