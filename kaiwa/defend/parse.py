"""Defences by name: on a command line, in a matrix, and in the file of `kaiwa up --defence FILE`.

    none · delimiters+sandwich · canary_filter(encodings=false) · datamarking(mark="~", every=3)+similarity

A file gives the defence in TOML, with values that only an operator knows:

    defence = "delimiters+similarity+canary_filter"
    secrets = ["open sesame"]          # the canary filter must not let these out
    system = "You keep a password …"   # the server's system text, before the client's messages
    model = "smollm2"                  # the judge, for detector and perplexity
    [similarity]
    threshold = 0.8
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from kaiwa.core.config import did_you_mean, override
from kaiwa.core.errors import UserError
from kaiwa.defend.canary import CanaryFilter
from kaiwa.defend.defence import NONE, DefencePart, Stack
from kaiwa.defend.detector import Detector
from kaiwa.defend.enclosure import Delimiters, Quoting, RandomSequence
from kaiwa.defend.instruction import Instruction, Sandwich
from kaiwa.defend.perplexity import Perplexity
from kaiwa.defend.refusal import RefusalRewriter
from kaiwa.defend.similarity import Similarity
from kaiwa.defend.spotlight import Datamarking, Encoding
from kaiwa.text.chat_model import ChatModel

PARTS: Mapping[str, Callable[..., DefencePart]] = {
    "delimiters": Delimiters,
    "quoting": Quoting,
    "random_sequence": RandomSequence,
    "sandwich": Sandwich,
    "instruction": Instruction,
    "datamarking": Datamarking,
    "encoding": Encoding,
    "detector": Detector,
    "perplexity": Perplexity,
    "similarity": Similarity,
    "canary_filter": CanaryFilter,
    "refusal_rewriter": RefusalRewriter,
}
JUDGES = ("detector", "perplexity")  # these need a model
# Possessive (*+), so that no text takes more than linear time.
VALUE = r'(?:"(?:[^"\\]|\\.)*+"|[^",()]*+)'
OPTIONS = rf"\s*+\w++\s*+=\s*+{VALUE}\s*+"
PART = re.compile(rf"\s*+([A-Za-z_-]++)\s*+(?:\(((?:{OPTIONS}(?:,{OPTIONS})*+,?)?\s*+)\))?\s*+")
OPTION = re.compile(rf"(\w++)\s*+=\s*+({VALUE})")
FILE_FIELDS = ("name", "defence", "secrets", "system", "model")


def names() -> tuple[str, ...]:
    """Return the names of all defences, the undefended arm first."""
    return ("none", *PARTS)


def parse(text: str, *, model: ChatModel | None = None) -> Stack:
    """Return the stack that the text describes. model: the judge. UserError for a text that is not understood."""
    return make_stack(text, {}, model, "defence")


def load(path: Path, *, model: ChatModel | None = None) -> Stack:
    return read_file(path).make(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceFile:
    """The content of a defence file. options: of the parts; these options win over options in `defence`."""

    path: str
    defence: str
    options: Mapping[str, Mapping[str, Any]]
    name: str = ""
    secrets: tuple[str, ...] = ()
    system: str = ""
    model: str = ""

    @property
    def judges(self) -> bool:
        """Whether `make` needs a model."""
        return any(name in JUDGES for name, _ in read_parts(self.defence, self.path))

    def make(self, model: ChatModel | None = None) -> Stack:
        """Return the stack. UserError as for `parse`, and for secrets without a filter or a filter without secrets."""
        stack = make_stack(self.defence, self.options, model, self.path)
        filters = [part for part in stack.parts if isinstance(part, CanaryFilter)]
        if self.secrets and not filters:
            raise UserError(f"{self.path}: secrets are given but no canary_filter; add +canary_filter to defence")
        if filters and not self.secrets:
            raise UserError(f'{self.path}: canary_filter has nothing to look for; give secrets = ["…"]')
        try:
            for part in filters:
                part.output(self.secrets, "en")  # UserError now if a secret is too short
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        return stack


def read_file(path: Path) -> DefenceFile:
    """Read a defence file. UserError that names the field at fault."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f'{path}: cannot be read; give a TOML file with a line defence = "…"') from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error})") from None
    options = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = {name: value for name, value in values.items() if name not in options}
    for name in plain:
        if name not in FILE_FIELDS:
            raise UserError(f"{path}: no field {name!r}{did_you_mean(name, FILE_FIELDS)}")
    if "defence" not in plain:
        raise UserError(f'{path}: no line defence = "…"; there is {", ".join(names())}')
    for name in ("name", "defence", "system", "model"):
        if not isinstance(plain.get(name, ""), str):
            raise UserError(f"{path}: {name} must be text, not {plain[name]!r}")
    secrets = plain.pop("secrets", [])
    if not isinstance(secrets, list) or not all(isinstance(secret, str) for secret in secrets):
        raise UserError(f"{path}: secrets must be a list of texts")
    used = {name for name, _ in read_parts(plain["defence"], str(path))}
    for name in options:
        if name not in used:
            raise UserError(
                f"{path}: options for {name!r}, which defence does not use{did_you_mean(name, used or PARTS)}"
            )
    return DefenceFile(path=str(path), options=options, secrets=tuple(secrets), **plain)


def make_stack(text: str, options: Mapping[str, Mapping[str, Any]], model: ChatModel | None, where: str) -> Stack:
    """Return the stack for a text and further options. where: the file or option, for messages."""
    listed = read_parts(text, where)
    parts = tuple(_part(name, own | dict(options.get(name, {})), model, where) for name, own in listed)
    if sum(isinstance(part, Datamarking | Encoding) for part in parts) > 1:
        raise UserError(f"{where}: {text!r} spotlights twice; keep one of datamarking and encoding")
    return Stack(name="+".join(re.split(r"\s*\+\s*", text.strip())), parts=parts) if parts else NONE


def read_parts(text: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, options) of each part in the order written; nothing for "none"."""
    parts: list[tuple[str, dict[str, Any]]] = []
    position = 0
    while position <= len(text):
        match = PART.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != "+"):
            rest = text[position : position + 30]
            raise UserError(f"{where}: {text!r} is not understood from {rest!r}; write name(option=value)+name")
        name = match[1].lower().replace("-", "_")
        if name not in names():
            raise UserError(f"{where}: no defence {match[1]!r}{did_you_mean(name, names())}")
        if any(name == other for other, _ in parts):
            raise UserError(f"{where}: {name} stands twice; once is enough")
        options = {key: _value(value, f"{where}: {name}.{key}") for key, value in OPTION.findall(match[2] or "")}
        parts.append((name, options))
        position = match.end() + 1
    if len(parts) > 1 and any(name == "none" for name, _ in parts):
        raise UserError(f"{where}: none stands alone; leave it out of {text!r}")
    return [] if parts[0][0] == "none" else parts


def _value(text: str, where: str) -> str:
    """Return an option as text; the option is written quoted as in JSON, or bare."""
    if not text.startswith('"'):
        return text.strip()
    try:
        return str(json.loads(text))
    except ValueError:
        raise UserError(f"{where}: {text!r} is not quoted as in JSON; write a backslash as two") from None


def option_fields(name: str) -> list[Field[Any]]:
    """Return the fields of a part that a defence's text or file may set: neither its model nor its cache."""
    return [field for field in fields(PARTS[name]) if field.compare and field.name != "model"]  # type: ignore[arg-type]


def _part(name: str, options: Mapping[str, Any], model: ChatModel | None, where: str) -> DefencePart:
    kind = PARTS[name]
    if name in JUDGES and model is None:
        raise UserError(f"{where}: {name} asks a model, and none is given")
    start = kind(model=model) if name in JUDGES else kind()
    known = [field.name for field in option_fields(name)]
    for option in options:
        if option not in known:
            raise UserError(f"{where}: {name} has no option {option!r}{did_you_mean(option, known)}")
    try:
        return override(start, options, f"{name}.")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
