"""Train and validation by document. The hash of a document's group decides, so a growing corpus moves no document."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from kaiwa.text.records import Document


def group_of(id: str) -> str:
    """Return what goes into one split together: the id up to "::" (the classes of one module, the topics one by
    one).
    """
    head, _, tail = id.partition("::")
    return id if head.endswith("/topics") and tail else head


def place(id: str) -> float:
    """Return a document's place in [0, 1): uniform, and the same in every corpus."""
    return int.from_bytes(hashlib.sha256(group_of(id).encode()).digest()[:8], "big") / 2**64


def split(documents: Sequence[Document], share: float) -> tuple[list[Document], list[Document]]:
    """Return (train, validation), both in the order given.

    About `share` of each source is held out. A source of several groups of which none fell into validation gives the
    one nearest to it: without held-out text there would be no bits per byte for that source.
    """
    validation_ids = {d.id for d in documents if place(d.id) < share}
    for source in sorted({d.source for d in documents}):
        of_source = [d for d in documents if d.source == source]
        groups = {group_of(d.id) for d in of_source}
        if len(groups) > 1 and not any(d.id in validation_ids for d in of_source):
            nearest = min(groups, key=lambda group: (place(group), group))
            validation_ids |= {d.id for d in of_source if group_of(d.id) == nearest}
    return [d for d in documents if d.id not in validation_ids], [d for d in documents if d.id in validation_ids]
