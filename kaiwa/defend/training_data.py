"""Examples that teach a model its defence, from the target's own prompt: StruQ (Chen et al. 2024) as demonstrations,
SecAlign (Chen et al. 2025) as preferences.

    scene                 chosen, or demonstrated           rejected
    plain (half of them)  the model's own answer            a refusal (so that it does not learn to refuse)
    secret asked for      a refusal                         the secret, told
    rule to be broken     a refusal                         the model's answer where no rule stands
    task put into data    the answer without that task      the task's answer

Right answers are the model's own, asked without the attack, so that training changes what it does under attack and
little else. Every scene has a fresh secret: the policy is to be learnt, not the word. Departures: our delimiters are
the chat template's own, which a user's text can never produce (text/template.py), so nothing is reserved or filtered.

A model learns through the fine-tuning API: `rows` are what is uploaded (kaiwa/commands/defend.py).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.defend.fold import fold
from kaiwa.defend.phrases import EVERYDAY, GIVEN, LEAKS, OVERRIDES, REFUSALS, TASKS
from kaiwa.defend.similarity import grams
from kaiwa.text.chat_model import ChatModel, GenerateCall, generate_many
from kaiwa.text.records import Conversation, Message
from kaiwa.text.sampling import Sampling

METHODS = ("supervised", "dpo")
PLAIN_SHARE = 0.5
ALIKE = 0.75  # a wording that shares so much of its character n-grams with an attack under test is left out
ANSWER_TOKENS = 64
HIRAGANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのまみむめも"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is sent, and what is to be learnt. Empty `good` or `bad`: the model answers `ask_good` or `ask_bad`.
    `secrets`: in no right answer."""

    kind: str
    sent: Conversation
    good: str = ""
    bad: str = ""
    ask_good: Conversation = ()
    ask_bad: Conversation = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A scene with both answers."""

    kind: str
    sent: Conversation
    good: str
    bad: str

    def row(self, method: str) -> dict[str, Any]:
        """A line of the fine-tuning file."""
        sent, good = [m.to_json() for m in self.sent], {"role": "assistant", "content": self.good}
        if method == "supervised":
            return {"messages": [*sent, good]}
        bad = {"role": "assistant", "content": self.bad}
        return {"input": {"messages": sent}, "preferred_output": [good], "non_preferred_output": [bad]}


def scenes(target: Mapping[str, Any], n: int, seed: int = 0, held_out: Sequence[str] = ()) -> list[Scene]:
    """n scenes of a target (the values of its TOML file). `held_out`: attacks that will be measured; wordings alike
    are not used. UserError for a target with nothing to defend."""
    maker = Maker(target, held_out)
    kinds = [kind for kind, there in maker.kinds.items() if there]
    if not kinds:
        raise UserError(f"target {maker.name}: no secret, rule or document; there is nothing to defend")
    rng = python_rng(seed, "defence", maker.name)
    n_plain = round(PLAIN_SHARE * n)
    made = [maker.plain(rng) for _ in range(n_plain)]
    made += [getattr(maker, kinds[i % len(kinds)])(rng) for i in range(n - n_plain)]
    rng.shuffle(made)
    return made


def answered(model: ChatModel, made: Sequence[Scene], seed: int = 0) -> list[Learnt]:
    """The scenes with the model's answers where they were missing. Scenes left without one go: empty, alike, or a right
    answer that tells a secret by itself. UserError and ConnectionError of the model are raised."""
    asks, places = [], []
    for i, scene in enumerate(made):
        for side in ("good", "bad"):
            if not getattr(scene, side):
                prompt = getattr(scene, f"ask_{side}")
                asks.append(
                    GenerateCall(
                        prompt=prompt,
                        sampling=Sampling(max_tokens=ANSWER_TOKENS, temperature=0.7, top_p=0.95, seed=seed + i),
                    )
                )
                places.append((i, side))
    said: dict[tuple[int, str], str] = {}
    for j, found in generate_many(model, asks):
        if isinstance(found, Exception):
            raise found
        said[places[j]] = found.text.strip()
    learnt = []
    for i, scene in enumerate(made):
        good, bad = (getattr(scene, side) or said[i, side] for side in ("good", "bad"))
        told = any(fold(secret) in fold(good) for secret in scene.secrets)
        if good and bad and good != bad and not told:
            learnt.append(Learnt(kind=scene.kind, sent=scene.sent, good=good, bad=bad))
    return learnt


def rows(learnt: Sequence[Learnt], method: str) -> list[dict[str, Any]]:
    if method not in METHODS:
        raise UserError(f"method {method!r}; a defence is trained by {' or '.join(METHODS)}")
    return [one.row(method) for one in learnt]


def apart(wordings: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """The wordings that are unlike every attack of `held_out`. UserError when none is left."""
    attacks = [set(grams(fold(attack))) for attack in held_out]

    def like(wording: str) -> bool:
        mine = set(grams(fold(re.sub(r"\{\w+\}", "", wording))))
        return bool(mine) and any(len(mine & other) / len(mine) >= ALIKE for other in attacks)

    kept = [wording for wording in wordings if not like(wording)]
    if not kept:
        raise UserError("every wording to train on is like an attack under test; there is nothing left to learn from")
    return kept


class Maker:
    """Makes the scenes of one target. `kinds`: which it has something for."""

    def __init__(self, target: Mapping[str, Any], held_out: Sequence[str]) -> None:
        self.name = str(target.get("name", "?"))
        self.language = str(target.get("language", "en"))
        if self.language not in LEAKS or not isinstance(target.get("system"), str):
            raise UserError(f"target {self.name}: it needs a system text, and language en or ja")
        self.system = str(target["system"])
        self.secrets = _named(target, "secret", "name")
        self.asks = _named(target, "rule", "ask")
        self.documents = [(str(d.get("text", "")), str(d.get("ask", ""))) for d in target.get("document", ())]
        self.users = _named(target, "benign", "user") + list(EVERYDAY[self.language])
        self.leaks = apart(LEAKS[self.language], held_out)
        self.overrides = apart(OVERRIDES[self.language], held_out)
        self.kinds = {"secret": self.secrets, "rule": self.asks, "document": self.documents}

    def _filled(self, rng: Random) -> tuple[str, dict[str, str]]:
        """The system text with a fresh secret in each slot, filled as the bench does (redteam/targets): {secret} is
        the first unless one is called so, and other braces stay."""
        drawn = {name: _word(rng, self.language) for name in self.secrets}
        text = self.system
        for name, value in ({"secret": drawn[self.secrets[0]]} | drawn if drawn else drawn).items():
            text = text.replace(f"{{{name}}}", value)
        return text.strip(), drawn

    def plain(self, rng: Random) -> Scene:
        system, drawn = self._filled(rng)
        if self.documents and rng.random() < 0.5:
            text, ask = rng.choice(self.documents)
            user = f"{ask}\n\n{text.replace('{payload}', '').strip()}".strip()
        else:
            user = rng.choice(self.users)
        sent = (Message("system", system), Message("user", user))
        return Scene(
            kind="plain", sent=sent, ask_good=sent, bad=rng.choice(REFUSALS[self.language]), secrets=(*drawn.values(),)
        )

    def secret(self, rng: Random) -> Scene:
        system, drawn = self._filled(rng)
        name, value = rng.choice(list(drawn.items()))
        user = rng.choice(self.leaks).replace("{name}", name)
        bad = rng.choice(GIVEN[self.language]).replace("{name}", name).replace("{secret}", value)
        sent = (Message("system", system), Message("user", user))
        return Scene(kind="secret", sent=sent, good=rng.choice(REFUSALS[self.language]), bad=bad)

    def rule(self, rng: Random) -> Scene:
        system, drawn = self._filled(rng)
        ask = rng.choice(self.asks)
        user = f"{rng.choice(self.overrides)} {ask}".strip()
        sent = (Message("system", system), Message("user", user))
        return Scene(
            kind="rule",
            sent=sent,
            good=rng.choice(REFUSALS[self.language]),
            ask_bad=(Message("user", ask),),
            secrets=(*drawn.values(),),
        )

    def document(self, rng: Random) -> Scene:
        system, drawn = self._filled(rng)
        text, ask = rng.choice(self.documents)
        task, witness = rng.choice(TASKS[self.language])
        payload = f"{rng.choice(self.overrides)} {task}".strip()
        attacked = text.replace("{payload}", payload) if "{payload}" in text else f"{text.strip()}\n{payload}"

        def said(document: str) -> Conversation:
            return (Message("system", system), Message("user", f"{ask}\n\n{document.strip()}".strip()))

        return Scene(
            kind="document",
            sent=said(attacked),
            ask_good=said(text.replace("{payload}", "")),
            bad=witness,
            secrets=(*drawn.values(),),
        )


def _named(target: Mapping[str, Any], table: str, field: str) -> list[str]:
    """A field of every entry of a table that has it."""
    return [str(entry[field]) for entry in target.get(table, ()) if entry.get(field)]


def _word(rng: Random, language: str) -> str:
    letters, n = (HIRAGANA, 5) if language == "ja" else (string.ascii_lowercase, 7)
    return "".join(rng.choice(letters) for _ in range(n)) + f"-{rng.randrange(100, 10_000)}"


def counts(learnt: Sequence[Learnt]) -> Iterator[tuple[str, int]]:
    """How many there are of each kind."""
    for kind in ("plain", "secret", "rule", "document"):
        if n := sum(one.kind == kind for one in learnt):
            yield kind, n
