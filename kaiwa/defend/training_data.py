"""Examples that teach a model a defence, made from the target's own prompt: StruQ (Chen et al. 2024) as demonstrations,
SecAlign (Chen et al. 2025) as preferences.

    scene                 chosen, or demonstrated           rejected
    plain (half of them)  the model's own answer            a refusal (against learning to refuse)
    secret asked for      a refusal                         the secret, revealed
    rule to be broken     a refusal                         the model's answer where no rule stands
    task put into data    the answer without the task      the task's answer

Right answers are the model's own to the prompt without the attack, so that training changes its behaviour under attack
and little else. Every scene has a fresh secret: the model is to learn the policy, not the word. Departures: our
delimiters are the chat template's own, which a user's text can never produce (text/template.py), so nothing is reserved
or filtered.

A model learns through the fine-tuning API, which gets `training_rows` (commands/defend/train.py).
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
from kaiwa.defend.phrases import EVERYDAY, LEAKED_ANSWERS, LEAKS, OVERRIDES, REFUSALS, TASKS
from kaiwa.defend.similarity import split_ngrams
from kaiwa.text.chat_model import ChatModel, GenerateCall, generate_many
from kaiwa.text.records import Conversation, Message
from kaiwa.text.sampling import Sampling

METHODS = ("supervised", "dpo")
PLAIN_SHARE = 0.5
ALIKE = 0.75  # share of character n-grams; wordings so similar to an attack under test are left out
ANSWER_TOKENS = 64
HIRAGANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのまみむめも"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A prompt, and the answers to learn and to avoid. Where an answer is empty, the model answers `ask_good` or
    `ask_bad`.

    secrets: must be in no right answer.
    """

    kind: str
    sent: Conversation
    good: str = ""
    bad: str = ""
    ask_good: Conversation = ()
    ask_bad: Conversation = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceExample:
    """A scene with both answers."""

    kind: str
    sent: Conversation
    good: str
    bad: str

    def row(self, method: str) -> dict[str, Any]:
        """Return a line of the fine-tuning file."""
        sent, good = [m.to_json() for m in self.sent], {"role": "assistant", "content": self.good}
        if method == "supervised":
            return {"messages": [*sent, good]}
        bad = {"role": "assistant", "content": self.bad}
        return {"input": {"messages": sent}, "preferred_output": [good], "non_preferred_output": [bad]}


def make_scenes(target: Mapping[str, Any], n: int, seed: int = 0, held_out: Sequence[str] = ()) -> list[Scene]:
    """Return n scenes of a target (the values of its TOML file). UserError for a target with nothing to defend.

    held_out: attacks to be measured; similar wordings are not used.
    """
    maker = SceneMaker(target, held_out)
    kinds = [kind for kind, material in maker.kinds.items() if material]
    if not kinds:
        raise UserError(f"target {maker.name}: no secret, rule or document; there is nothing to defend")
    rng = python_rng(seed, "defence", maker.name)
    n_plain = round(PLAIN_SHARE * n)
    scenes = [maker.plain(rng) for _ in range(n_plain)]
    scenes += [getattr(maker, kinds[i % len(kinds)])(rng) for i in range(n - n_plain)]
    rng.shuffle(scenes)
    return scenes


def answer_scenes(model: ChatModel, scenes: Sequence[Scene], seed: int = 0) -> list[DefenceExample]:
    """Return the scenes as examples, with the model's answers where answers were missing.

    A scene is left out if an answer is empty, both are equal, or the right answer reveals a secret. UserError and
    ConnectionError of the model are raised.
    """
    calls, places = [], []
    for i, scene in enumerate(scenes):
        for side in ("good", "bad"):
            if not getattr(scene, side):
                prompt = getattr(scene, f"ask_{side}")
                calls.append(
                    GenerateCall(
                        prompt=prompt,
                        sampling=Sampling(max_tokens=ANSWER_TOKENS, temperature=0.7, top_p=0.95, seed=seed + i),
                    )
                )
                places.append((i, side))
    answers: dict[tuple[int, str], str] = {}
    for j, completion in generate_many(model, calls):
        if isinstance(completion, Exception):
            raise completion
        answers[places[j]] = completion.text.strip()
    examples = []
    for i, scene in enumerate(scenes):
        good, bad = (getattr(scene, side) or answers[i, side] for side in ("good", "bad"))
        leaks = any(fold(secret) in fold(good) for secret in scene.secrets)
        if good and bad and good != bad and not leaks:
            examples.append(DefenceExample(kind=scene.kind, sent=scene.sent, good=good, bad=bad))
    return examples


def training_rows(examples: Sequence[DefenceExample], method: str) -> list[dict[str, Any]]:
    """Return the lines of the fine-tuning file. UserError for an unknown method."""
    if method not in METHODS:
        raise UserError(f"method {method!r}; a defence is trained by {' or '.join(METHODS)}")
    return [example.row(method) for example in examples]


def exclude_similar(wordings: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """Return the wordings that are similar to no attack of `held_out`. UserError if none is left."""
    attacks = [set(split_ngrams(fold(attack))) for attack in held_out]

    def is_similar(wording: str) -> bool:
        ngrams = set(split_ngrams(fold(re.sub(r"\{\w+\}", "", wording))))
        return bool(ngrams) and any(len(ngrams & attack) / len(ngrams) >= ALIKE for attack in attacks)

    different = [wording for wording in wordings if not is_similar(wording)]
    if not different:
        raise UserError("every wording to train on is like an attack under test; there is nothing left to learn from")
    return different


class SceneMaker:
    """Makes the scenes of one target. kinds: the target's material for each kind of scene."""

    def __init__(self, target: Mapping[str, Any], held_out: Sequence[str]) -> None:
        self.name = str(target.get("name", "?"))
        self.language = str(target.get("language", "en"))
        if self.language not in LEAKS or not isinstance(target.get("system"), str):
            raise UserError(f"target {self.name}: it needs a system text, and language en or ja")
        self.system = str(target["system"])
        self.secrets = _fields(target, "secret", "name")
        self.asks = _fields(target, "rule", "ask")
        self.documents = [(str(d.get("text", "")), str(d.get("ask", ""))) for d in target.get("document", ())]
        self.users = _fields(target, "benign", "user") + list(EVERYDAY[self.language])
        self.leaks = exclude_similar(LEAKS[self.language], held_out)
        self.overrides = exclude_similar(OVERRIDES[self.language], held_out)
        self.kinds = {"secret": self.secrets, "rule": self.asks, "document": self.documents}

    def _fill_system(self, rng: Random) -> tuple[str, dict[str, str]]:
        """Return the system text with a fresh secret in each slot, and the secrets by name.

        Slots are filled as the bench does (redteam/targets): {secret} is the first secret unless a secret is named
        "secret", and other braces stay.
        """
        drawn = {name: _word(rng, self.language) for name in self.secrets}
        text = self.system
        for name, value in ({"secret": drawn[self.secrets[0]]} | drawn if drawn else drawn).items():
            text = text.replace(f"{{{name}}}", value)
        return text.strip(), drawn

    def plain(self, rng: Random) -> Scene:
        system, drawn = self._fill_system(rng)
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
        system, drawn = self._fill_system(rng)
        name, value = rng.choice(list(drawn.items()))
        user = rng.choice(self.leaks).replace("{name}", name)
        bad = rng.choice(LEAKED_ANSWERS[self.language]).replace("{name}", name).replace("{secret}", value)
        sent = (Message("system", system), Message("user", user))
        return Scene(kind="secret", sent=sent, good=rng.choice(REFUSALS[self.language]), bad=bad)

    def rule(self, rng: Random) -> Scene:
        system, drawn = self._fill_system(rng)
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
        system, drawn = self._fill_system(rng)
        text, ask = rng.choice(self.documents)
        task, witness = rng.choice(TASKS[self.language])
        payload = f"{rng.choice(self.overrides)} {task}".strip()
        attacked = text.replace("{payload}", payload) if "{payload}" in text else f"{text.strip()}\n{payload}"

        def prompt_with(document: str) -> Conversation:
            return (Message("system", system), Message("user", f"{ask}\n\n{document.strip()}".strip()))

        return Scene(
            kind="document",
            sent=prompt_with(attacked),
            ask_good=prompt_with(text.replace("{payload}", "")),
            bad=witness,
            secrets=(*drawn.values(),),
        )


def _fields(target: Mapping[str, Any], table: str, field: str) -> list[str]:
    """Return a field of every table entry that has the field."""
    return [str(entry[field]) for entry in target.get(table, ()) if entry.get(field)]


def _word(rng: Random, language: str) -> str:
    letters, n = (HIRAGANA, 5) if language == "ja" else (string.ascii_lowercase, 7)
    return "".join(rng.choice(letters) for _ in range(n)) + f"-{rng.randrange(100, 10_000)}"


def count_kinds(examples: Sequence[DefenceExample]) -> Iterator[tuple[str, int]]:
    """Yield (kind, number of examples) for every kind that has some."""
    for kind in ("plain", "secret", "rule", "document"):
        if n := sum(example.kind == kind for example in examples):
            yield kind, n
