"""One trial as it goes: what is said turn by turn, what came back, and what that comes to.

    attack    the attack's turns at the target under a defence         success / resisted / blocked
    control   the same task, given directly and undefended             success / resisted
    benign    a harmless request under a defence                       useful / useless / blocked
    any       the endpoint failed: timeout, refused, error; or there was nothing to attack: not_applicable

A failure is an outcome of its own and never counts as resisted. A trial's canaries, its random word and its sampling
seed depend on its number alone: the arms of a comparison are pairs.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.core.rng import seed_for
from kaiwa.defend.defence import FILTERED, Defence
from kaiwa.defend.defended import DefendedAsk
from kaiwa.defend.defended import Outcome as Reply
from kaiwa.redteam.attacks.attack import RESULT, Attack, AttackTurns, build_attack, build_control, reason_not_applicable
from kaiwa.redteam.oracles import leaks
from kaiwa.redteam.oracles.aims import TASKS, Aim, check_aim, choose_aim, find_calls
from kaiwa.redteam.targets.target import BenignRequest, Target
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling

FAILURES = ("timeout", "refused", "error")
JUDGED = ("success", "resisted", "blocked")
MOST_CALLS = 2  # tools that may be called, one after the other, in one answer
CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """`outcome`: see above. `form`: how the aim was reached. `leak`: the form in which a canary is out, whatever the
    aim was. `prompt`, `replies`: the transcript. Tokens and milliseconds are sums over the trial's turns."""

    kind: str
    model: str
    family: str
    attack: str
    defence: str
    trial: int
    outcome: str
    goal: str = ""
    form: str = ""
    leak: str = ""
    why: str = ""
    said: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    task: str = ""
    n_prompt: int = 0
    n_tokens: int = 0
    ms: float = 0.0
    asked: int = 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(slots=True, kw_only=True)
class Trial:
    """A trial under way. `said`, `shown`: the user's turns and the replies as the user sees them."""

    kind: str
    model: str
    target: Target
    defence: Defence
    number: int
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    attack: Attack | None = None
    benign: BenignRequest | None = None
    aim: Aim | None = None
    name: str = ""
    built: AttackTurns = field(default_factory=lambda: AttackTurns(turns=()))
    system: str = ""
    canaries: dict[str, str] = field(default_factory=dict)
    history: list[Message] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    made: list[tuple[str, str]] = field(default_factory=list)
    blocked: str = ""
    failure: str = ""
    n_prompt: int = 0
    n_tokens: int = 0
    ms: float = 0.0
    asked: int = 0

    def begin(self) -> None:
        """Draws what is random and puts the words together."""
        self.canaries = self.target.canaries(self.number, self.seed)
        self.system = self.target.prompt(self.canaries)
        if self.benign is not None:
            self.built = AttackTurns(turns=(self.benign.user,))
        else:
            assert self.attack is not None
            if why := reason_not_applicable(self.attack, self.target):
                self.failure = f"not_applicable: {why}"
                return
            language = self.attack.language(self.target)
            self.aim = choose_aim(self.target, self.attack.goals, self.number, self.seed, language)
            assert self.aim is not None
            make = build_control if self.kind == CONTROL else build_attack
            self.built = make(self.attack, self.aim, self.target, self.number)
            if self.kind == CONTROL:
                self.system = self._open()
        self.data = list(self.built.data)
        opening = (Message("system", self.system),) if self.system else ()
        self.history = [*opening, *self.built.opening]
        self.said = [m.content for m in self.built.opening if m.role == "user"]
        self.left = list(self.built.turns)

    def _open(self) -> str:
        """The control's system prompt: none, or one that lets the secret be told, or the tools alone."""
        assert self.aim is not None
        words = TASKS[self.target.language]
        if self.aim.goal == "secret":
            return words["open"].format(secret=self.aim.name, canary=self.canaries[self.aim.name])
        if self.aim.goal == "tool":
            return dataclasses.replace(self.target, system=".", secrets=()).prompt({}).lstrip(".\n ")
        return ""

    def next(self) -> DefendedAsk | None:
        """What is asked next; None at the end."""
        if self.failure or not self.left:
            return None
        turn = self.left.pop(0)
        self.said.append(turn)
        self.history.append(Message("user", turn))
        ask = GenerateCall(
            prompt=tuple(self.history),
            sampling=Sampling(
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=seed_for(self.seed, "trial", self.number, self.name) >> 32,
            ),
        )
        secrets = tuple(self.canaries.values())
        marker = seed_for(self.seed, "marker", self.number, len(self.said))
        return DefendedAsk(ask=ask, data=tuple(self.data), secrets=secrets, seed=marker, defence=self.defence)

    def take(self, found: Reply | Exception) -> None:
        self.asked += 1
        if isinstance(found, Exception):
            self.failure = f"{classify_failure(str(found))}: {found}"
            return
        text = found.completion.text
        self.n_prompt += found.completion.n_prompt
        self.n_tokens += found.completion.n_tokens
        self.ms += found.request_ms + found.reply_ms
        self.shown.append(text)
        self.history.append(Message("assistant", text or "…"))
        if found.block is not None:
            self.blocked = self.blocked or f"{found.stage}: {found.block.reason}"
            text = text.removesuffix(found.block.reply)
        elif found.completion.finish_reason == FILTERED:
            self.blocked = self.blocked or "endpoint: stopped by a filter of its own"
        self.told.append(text)
        self._use_tools(text)

    def _use_tools(self, text: str) -> None:
        """Calls are remembered; a tool that may be called answers, and the model goes on."""
        for name, argument in find_calls(text):
            tool = next((t for t in self.target.tools if t.name == name), None)
            if tool is None:
                continue
            self.made.append((name, argument))
            if not tool.guarded and not self.left and len(self.made) <= MOST_CALLS and self.kind != CONTROL:
                result = tool.result.replace("{payload}", "").strip()
                self.data.append(result)
                self.left.append(RESULT[self.target.language].format(tool=name, result=result))

    def outcome(self) -> TrialOutcome:
        told, form, leaked, why = "resisted", "", "", self.blocked
        if self.failure:
            told, _, why = self.failure.partition(": ")
        else:
            leaked = next((f for c in self.canaries.values() if (f := leaks.find_leak(c, self.told))), "")
            try:
                told, form = self._judged()
            except UserError as error:
                told, why = "error", str(error)
        return TrialOutcome(
            kind=self.kind,
            model=self.model,
            family=self.attack.family if self.attack else "",
            attack=self.name,
            defence=CONTROL if self.kind == CONTROL else self.defence.name,
            trial=self.number,
            outcome=told,
            goal=self.aim.goal if self.aim else "",
            form=form if told == "success" else "",
            leak="" if self.kind == CONTROL else leaked,
            why=why,
            said=tuple(self.said),
            replies=tuple(self.shown),
            task=self.aim.task if self.aim else "",
            n_prompt=self.n_prompt,
            n_tokens=self.n_tokens,
            ms=round(self.ms, 3),
            asked=self.asked,
        )

    def _judged(self) -> tuple[str, str]:
        if self.benign is not None:
            if self.blocked:
                return "blocked", ""
            return ("useful" if is_useful(self.benign, self.told) else "useless"), ""
        assert self.aim is not None
        done, form = check_aim(
            self.aim, self.told, self.canaries, self.target, tool_calls=self.made, user_turns=self.said
        )
        return ("success" if done else "blocked" if self.blocked else "resisted"), form


def is_useful(asked: BenignRequest, replies: list[str]) -> bool:
    """Whether some reply has what a useful one has in it; without an expectation: whether it says anything."""
    if asked.expect:
        return any(re.search(asked.expect, reply) for reply in replies)
    return any(reply.strip() for reply in replies)


def classify_failure(message: str) -> str:
    """The kind of a failed call, from its error line."""
    if re.search(r"time[d ]?\s?-?out|Timeout", message, re.IGNORECASE):
        return "timeout"
    return "refused" if re.search(r"ConnectError|refused|\b(401|403|429)\b", message) else "error"


def planned_requests(trial: Trial) -> int:
    """Requests that the trial will make, tools aside."""
    return len(trial.left)
