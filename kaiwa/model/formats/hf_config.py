"""config.json of a Hugging Face folder and our DecoderConfig. Names of a family's fields: kaiwa/model/families.

A feature that our decoder does not compute (another activation or rope scaling, biases in the feed-forward part) is a
UserError that names the feature.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.families.by_name import ARCHITECTURES, family_of
from kaiwa.model.families.family import Family


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file; a UserError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); copy the file again") from None
    if not isinstance(value, dict):
        raise UserError(f"{file}: a JSON object is expected, this is a {type(value).__name__}")
    return value


def quantization_method(folder: Path) -> str:
    """Return the method in a folder's settings, such as "gptq" or "awq"; "" without one."""
    settings = read_json(folder / "config.json").get("quantization_config")
    settings = settings if isinstance(settings, dict) else {}
    return str(settings.get("quant_method", settings.get("method", "")))


def check_awq(settings: Mapping[str, Any], folder: Path) -> None:
    """Raise UserError unless AWQ's settings say 4 bits with zero points, in the layout that is read."""
    for names, expected in ((("bits", "w_bit"), 4), (("zero_point",), True), (("version",), "gemm")):
        value = next((settings[name] for name in names if name in settings), expected)
        value = value.lower() if isinstance(value, str) else value
        if value != expected:
            raise UserError(f"{folder}: AWQ with {names[0]} {str(value)[:40]!r} is not read; only {expected!r} is")


def read_config(folder: Path) -> DecoderConfig:
    """Read the shape from config.json; a UserError names an architecture we do not have, or a missing field."""
    return _read(folder)[0]


def read_family(folder: Path) -> Family:
    """Read the family from config.json; UserError as for `read_config`."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[DecoderConfig, Family]:
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder}: no config.json; give a Hugging Face model folder or a .gguf file")
    raw = read_json(file)
    names = raw.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else "?"
    if name not in ARCHITECTURES:
        code = "; its code (auto_map) is never run" if raw.get("auto_map") else ""
        raise UserError(f"{folder}: architecture {name!r} is unknown{code}; there is {', '.join(ARCHITECTURES)}")
    family = ARCHITECTURES[name]
    try:
        return dataclasses.replace(family.read_config(raw), **family.flags), family
    except KeyError as missing:
        raise UserError(f"{file}: field {missing} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise UserError(f"{file}: {error}") from None
        raise UserError(f"{file}: a field has the wrong type ({error})") from None


def hf_config(config: DecoderConfig, scalar: bool) -> dict[str, Any]:
    """Return the config.json that describes a model. scalar: a model with a reward head."""
    family = family_of(config)
    labels = {"num_labels": 1, "id2label": {"0": "reward"}, "label2id": {"reward": 0}} if scalar else {}
    architecture = family.scalar_architecture if scalar else family.architecture
    return labels | {"architectures": [architecture], "model_type": family.model_type} | family.write_config(config)
