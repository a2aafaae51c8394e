"""Options for all sampling parameters, for commands whose defaults come from a file or a plan.

The options are derived from `Sampling`, so that a new field becomes an option automatically. Number fields are options
such as --temperature and --top-k; --sampling takes the other fields as a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import field, make_dataclass
from typing import Annotated, Any, TypeVar

from tyro.conf import OmitArgPrefixes, arg

from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError
from kaiwa.text.sampling import NUMBERS, Sampling

Options = TypeVar("Options")


def read_with_sampling(
    options: type[Options], prog: str, words: Sequence[str], fixed: Collection[str]
) -> tuple[Options, dict[str, Any]]:
    """Return a command's options, and the sampling fields set by the words. fixed: fields that are not options."""
    numbers: list[tuple[str, Any, Any]] = [
        (name, kind | None, field(default=None)) for name, kind in NUMBERS.items() if name not in fixed
    ]
    sampling = make_dataclass("SamplingOptions", [*numbers, ("sampling", str, field(default=""))], kw_only=True)
    sampling.__doc__ = 'Values that replace the plan\'s. --sampling: any fields as JSON, such as \'{"stop": ["Q:"]}\''
    # Without a name the command's own options stand in the help's first group, as without sampling.
    parts: list[Any] = [
        ("options", Annotated[options, OmitArgPrefixes, arg(name="", help="")]),
        ("sampling", Annotated[sampling, OmitArgPrefixes], field(default_factory=sampling)),
    ]
    both = make_dataclass(options.__name__, parts, kw_only=True)
    both.__doc__ = options.__doc__
    values: Any = read_options(both, prog, words)
    changes = {name: value for name, _, _ in numbers if (value := getattr(values.sampling, name)) is not None}
    return values.options, _read_json(values.sampling.sampling) | changes


def _read_json(text: str) -> dict[str, Any]:
    """Return the JSON object of --sampling, {} for ""."""
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"--sampling is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError("--sampling must be a JSON object, as in '{\"top_k\": 40}'")
    return values


def change_by_options(sampling: Sampling, changes: dict[str, Any], fixed: Collection[str]) -> Sampling:
    """Return the sampling with the changes of the command line. Raise UserError for an invalid value."""
    from kaiwa.lab.asking.sampling_values import change_sampling

    return change_sampling(sampling, changes, "--sampling", fixed)
