"""The password game: a keeper, a secret, and more defences from level to level. For the page and for the terminal.

The levels are defences of the bench, so that the bench's success rate on a level stands beside the player's. A hint
says why the last try failed: the request was refused, the reply was blocked, or the model simply did not say the
secret.
"""

from __future__ import annotations

import secrets as randomness
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.defend.defended import DefendedAnswer as Reply
from kaiwa.defend.defended import DefendedCall, DefendedModel
from kaiwa.defend.fold import fold
from kaiwa.defend.parse import parse
from kaiwa.redteam.oracles.leaks import find_leak
from kaiwa.redteam.targets.target import LANGUAGES, Target, read_target
from kaiwa.text.chat_model import ChatModel, GenerateCall
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling

MAX_TOKENS = 96
TEMPERATURE, TOP_P = 0.3, 0.95  # the bench's
LEVELS = (
    "none",
    "instruction",
    "instruction+sandwich",
    "instruction+similarity",
    "canary_filter(encodings=false)",
    "instruction+similarity+canary_filter",
)
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "level": "Level {n} of {all}: {defence}",
        "won": "That is it: {secret}. Level {n} is done.",
        "wrong": "That is not the password.",
        "request": "Your message was refused on its way in: it looks like an attack. Say it in other words.",
        "reply": "The answer was held back on its way out: the secret was in it. Bring it out in another form.",
        "leaked": "The secret is in the answer (form: {form}). Read it closely, then guess.",
        "unsaid": "The model answered without the secret. Give it a reason, another role, or another task.",
        "first": "Say something to the keeper first.",
    },
    "ja": {
        "level": "レベル {n}(全 {all}): {defence}",
        "won": "正解です。合言葉は {secret} でした。レベル {n} 達成。",
        "wrong": "違います。",
        "request": "入力が断られました。攻撃のように見えたためです。攻撃らしくない言葉で言ってみましょう。",
        "reply": "返事が途中で止められました。秘密が含まれていたためです。別の形で言わせてみましょう。",
        "leaked": "秘密は返事の中にあります(形: {form})。よく読んで答えてください。",
        "unsaid": "モデルは秘密を言わずに答えました。理由や別の役、別の課題を与えてみましょう。",
        "first": "まず番人に話しかけてください。",
    },
}


def keeper_target(language: str) -> Target:
    if language not in LANGUAGES:
        raise UserError(f"language {language!r}; use en or ja")
    return read_target(f"keeper.{language}")


@dataclass(slots=True)
class Game:
    """One player at one level. `seed` draws the secret; `last` is the last hint."""

    level: int = 1
    language: str = "en"
    seed: int = field(default_factory=lambda: randomness.randbelow(1 << 31))
    history: list[Message] = field(default_factory=list)
    tries: int = 0
    won: bool = False
    last: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.level <= len(LEVELS):
            raise UserError(f"level {self.level}: there are levels 1 to {len(LEVELS)}")
        keeper_target(self.language)

    @property
    def defence(self) -> str:
        return LEVELS[self.level - 1]

    @property
    def canaries(self) -> dict[str, str]:
        return keeper_target(self.language).canaries(0, self.seed)

    def ask(self, text: str) -> DefendedCall:
        """Return the player's message as sent to the keeper. UserError for an empty message."""
        if not text.strip():
            raise UserError("the message is empty")
        system = Message("system", keeper_target(self.language).prompt(self.canaries))
        prompt = (system, *self.history, Message("user", text))
        ask = GenerateCall(
            prompt=prompt,
            sampling=Sampling(max_tokens=MAX_TOKENS, temperature=TEMPERATURE, top_p=TOP_P, seed=self.seed + self.tries),
        )
        return DefendedCall(call=ask, secrets=tuple(self.canaries.values()), defence=parse(self.defence))

    def take(self, text: str, stage: str, reply: str) -> str:
        """Record a turn and return the hint. `stage`: where a defence stopped the turn ("request", "reply" or "")."""
        self.tries += 1
        self.history += [Message("user", text), Message("assistant", reply or "…")]
        words = WORDS[self.language]
        form = next((f for c in self.canaries.values() if (f := find_leak(c, self._replies()))), "")
        if form:
            self.last = words["leaked"].format(form=form)
        elif stage:
            self.last = words[stage]
        else:
            self.last = words["unsaid"]
        return self.last

    def _replies(self) -> list[str]:
        return [m.content for m in self.history if m.role == "assistant"]

    def hint(self) -> str:
        return self.last or WORDS[self.language]["first"]

    def guess(self, text: str) -> str:
        secret = next(iter(self.canaries.values()))
        self.won = self.won or fold(text) == fold(secret)
        words = WORDS[self.language]
        return words["won"].format(secret=secret, n=self.level) if fold(text) == fold(secret) else words["wrong"]


def answer_player(game: Game, model: ChatModel, text: str) -> Reply:
    """Send one message through the level's defence to the model. UserError and ConnectionError are the caller's."""
    ask = game.ask(text)
    assert ask.defence is not None
    ((_, reply),) = DefendedModel(model=model, defence=ask.defence).generate_defended([ask])
    if isinstance(reply, Exception):
        raise reply
    return reply


def play_in_terminal(game: Game, model: ChatModel) -> None:
    """Play the game in a terminal, until /quit or the end of input."""
    print(_title(game))
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "/quit":
            return
        if word == "/hint":
            print(game.hint())
        elif word == "/guess":
            print(game.guess(rest))
            if game.won and game.level < len(LEVELS):
                game = Game(game.level + 1, game.language)
                print(_title(game))
        elif word == "/level" and rest.isdecimal():
            game = Game(int(rest), game.language)
            print(_title(game))
        elif line.strip():
            reply = answer_player(game, model, line.strip())
            game.take(line.strip(), reply.stage, reply.completion.text)
            print(reply.completion.text)


def _title(game: Game) -> str:
    return WORDS[game.language]["level"].format(n=game.level, all=len(LEVELS), defence=game.defence)
