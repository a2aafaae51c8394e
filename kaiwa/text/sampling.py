"""The sampling of an answer: one record that the lab, the red team, the pages, the server and the engine share.

To add a parameter: a field and its check here, the effect in kaiwa/engine (logit_rules.py or sampling.py), and a field
of the API in kaiwa/serve/openai/protocol.py. Everything between passes the record on whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from kaiwa.core.errors import UserError

MAX_BIAS = 100.0
GrammarKind = Literal["json_schema", "json_object", "regex", "lark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The form of an answer. source: a JSON schema as text, "" for json_object, a regex, or a Lark grammar.

    strict: refuse a schema that cannot be enforced in full; False: enforce as much as possible.
    """

    kind: GrammarKind
    source: str = ""
    strict: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(GrammarKind):
            kinds = ", ".join(get_args(GrammarKind))
            raise UserError(f"grammar kind is {self.kind!r}; it must be one of {kinds}", field="grammar")
        if self.kind != "json_object" and not self.source:
            raise UserError(f"the {self.kind} grammar is empty; give its text", field="grammar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The sampling of one answer. A UserError names the field that no sampler can use.

    max_tokens bounds the answer. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch the filters off. `stop`:
    strings that end the answer and are not part of the answer. `seed` and the place in the answer fix every random
    choice.

    In order: repetition_penalty (Keskar et al., 2019: logits of tokens of prompt and answer divided by the penalty
    where positive, else multiplied), presence_penalty and frequency_penalty (OpenAI's: subtracted from the logits of
    the answer's tokens, once and per occurrence), logit_bias ((token, addend) pairs), grammar, temperature, min_p
    (Nguyen et al., 2024: tokens at least min_p times as likely as the likeliest), top_k, top_p (Holtzman et al., 2020).
    """

    max_tokens: int = 256  # length of the answer at most
    temperature: float = 1.0  # 0: the likeliest token always
    top_p: float = 1.0  # sample among the likeliest tokens with this total probability
    seed: int = 0
    stop: tuple[str, ...] = ()  # strings that end the answer
    top_k: int = 0  # sample among so many of the likeliest tokens (0: all)
    min_p: float = 0.0  # sample among tokens at least this many times as likely as the likeliest
    repetition_penalty: float = 1.0  # above 1: tokens of the prompt and the answer become less likely
    presence_penalty: float = 0.0  # subtracted from the logits of tokens in the answer, once
    frequency_penalty: float = 0.0  # the same, for each occurrence
    logit_bias: tuple[tuple[int, float], ...] = ()  # pairs of token id and addend
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        _check("max_tokens", self.max_tokens, self.max_tokens >= 0, "at least 0")
        _check("temperature", self.temperature, 0.0 <= self.temperature <= 100.0, "from 0 to 100")
        _check("top_k", self.top_k, self.top_k >= 0, "at least 0 (0: all tokens)")
        _check("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "above 0 and at most 1")
        _check("min_p", self.min_p, 0.0 <= self.min_p <= 1.0, "from 0 to 1")
        penalty = self.repetition_penalty
        _check("repetition_penalty", penalty, 0.0 < penalty <= 10.0, "above 0 and at most 10")
        _check("presence_penalty", self.presence_penalty, -2.0 <= self.presence_penalty <= 2.0, "from -2 to 2")
        _check("frequency_penalty", self.frequency_penalty, -2.0 <= self.frequency_penalty <= 2.0, "from -2 to 2")
        if any(not text for text in self.stop):
            raise UserError("a stop string is empty; leave it out", field="stop")
        for id, bias in self.logit_bias:
            if not math.isfinite(bias) or abs(bias) > MAX_BIAS:
                limits = f"it must be from {-MAX_BIAS:g} to {MAX_BIAS:g}"
                raise UserError(f"logit_bias of token {id} is {bias}; {limits}", field="logit_bias")

    @property
    def changes_logits(self) -> bool:
        """Whether penalties, biases or a grammar change the logits before the temperature."""
        neutral = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) == (1.0, 0.0, 0.0)
        return not neutral or bool(self.logit_bias) or self.grammar is not None

    def to_json(self) -> dict[str, Any]:
        """Return max_tokens, temperature, top_p, seed and stop, and every other field that is not at its default."""
        common = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": list(self.stop),
        }
        return common | {name: _plain(value) for name, value in self.changed_fields().items()}

    def changed_fields(self) -> dict[str, Any]:
        """Return the fields beyond the five common fields that are not at their defaults, by name."""
        changed = ((f.name, getattr(self, f.name), f.default) for f in fields(self)[5:])
        return {name: value for name, value, default in changed if value != default}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Sampling:
        """Read the output of `to_json`; fields of other names are ignored, missing fields have defaults."""
        known = {f.name: value[f.name] for f in fields(cls) if f.name in value}
        known["stop"] = tuple(known.get("stop", ()))
        known["logit_bias"] = tuple((id, bias) for id, bias in known.get("logit_bias", ()))
        if known.get("grammar") is not None:
            known["grammar"] = Grammar(**known["grammar"])
        return cls(**known)


def _check(field: str, value: float, valid: bool, limits: str) -> None:
    if not valid:
        raise UserError(f"{field} is {value}; it must be {limits}", field=field)


def _plain(value: Any) -> Any:
    if isinstance(value, Grammar):
        return {"kind": value.kind, "source": value.source} | ({} if value.strict else {"strict": False})
    return [list(pair) for pair in value] if isinstance(value, tuple) else value


USUAL = Sampling()
NUMBERS = {f.name: type(f.default) for f in fields(Sampling) if isinstance(f.default, int | float)}  # name -> type
