"""Reading of a data set from the Hugging Face hub. Only this module imports `datasets` (the extra `data`)."""

from __future__ import annotations

from collections.abc import Iterator

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import Source
from kaiwa.corpus.raw import Raw


def read_dataset(source: Source, name: str) -> Iterator[Raw]:
    """Stream "DATASET", "DATASET:CONFIG" or "DATASET:CONFIG:SPLIT" (default split: train).

    Set the source's max_bytes for a large data set.
    """
    import datasets

    dataset, _, rest = name.partition(":")
    subset, _, split = rest.partition(":")
    try:
        rows = datasets.load_dataset(dataset, subset or None, split=split or "train", streaming=True)
        for n, row in enumerate(rows):
            if source.text_field not in row:
                near = did_you_mean(source.text_field, row)
                raise UserError(f"source {source.name}: {dataset} has no column {source.text_field!r}{near}")
            if isinstance(row[source.text_field], str):
                yield Raw(row[source.text_field], "text", f"{source.name}/{dataset}#{n}")
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"source {source.name}: {dataset} could not be read ({line}); check the network") from error
