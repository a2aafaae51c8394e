"""Sampling on the command line: --temperature, --top-k and the like, and --sampling for all that is no number."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.sampling import NUMBERS, Sampling

HELP = """--sampling     the sampling of every answer as JSON (docs/engine.md), for what is no number:
               '{"stop": ["\\n"], "grammar": {"kind": "regex", "source": "[0-9]+"}}'; its numbers are options too:
               """


def sampling_kinds(fixed: Collection[str] = ()) -> dict[str, type]:
    """Return the options for `read_words`: one per number of the sampling that is not `fixed`, and --sampling."""
    return {name.replace("_", "-"): kind for name, kind in NUMBERS.items() if name not in fixed} | {"sampling": str}


def sampling_help(fixed: Collection[str] = ()) -> str:
    """Return the usage text of these options, with a line end."""
    return HELP + ", ".join(f"--{name}" for name in sampling_kinds(fixed) if name != "sampling") + "\n"


def read_sampling(sampling: Sampling, options: dict[str, Any], fixed: Collection[str] = ()) -> Sampling:
    """Return `sampling` with what the options change. UserError names the option."""
    from kaiwa.lab.asking.sampling_values import change_sampling

    if "sampling" in options:
        try:
            values = json.loads(options["sampling"])
        except ValueError as error:
            raise UserError(f"--sampling is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise UserError("--sampling must be a JSON object, as in '{\"top_k\": 40}'")
        sampling = change_sampling(sampling, values, "--sampling", fixed)
    for name in sampling_kinds(fixed):
        if name != "sampling" and name in options:
            sampling = change_sampling(sampling, {name.replace("-", "_"): options[name]}, f"--{name}", fixed)
    return sampling
