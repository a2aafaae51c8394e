"""Sampling parameters by name, as files and command lines give them; with the names of text/sampling.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.text.sampling import Sampling


def change_sampling(sampling: Sampling, values: Mapping[str, Any], where: str, fixed: Collection[str] = ()) -> Sampling:
    """Return `sampling` with some fields replaced, in the shape of `Sampling.to_json`.

    `fixed`: fields that are set elsewhere. UserError, beginning with `where`, for a fixed or unknown field and for a
    value that no sampler can use.
    """
    names = [f.name for f in fields(Sampling) if f.name not in fixed]
    for name in values:
        if name not in names:
            raise UserError(f"{where}: there is no {name!r} to set here{did_you_mean(name, names)}", field=name)
    try:
        return Sampling.from_json({**sampling.to_json(), **values})
    except UserError as error:
        raise UserError(f"{where}: {error}", field=error.field) from None
    except (TypeError, ValueError, KeyError):
        raise UserError(f"{where}: {dict(values)!r} has a value of a wrong type") from None
