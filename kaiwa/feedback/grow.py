"""Growing instructions: a writer model makes further requests of given ones, and dialogues of requests.

The way of Wizard-Vicuna's data: requests are deepened (a constraint, reasons, a harder input) and widened (another
topic of the same kind; Xu et al. 2023), and each becomes a dialogue whose two sides the model writes. What a filter
stops is written to a second file with its reason. Both files grow block by block: the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng, seed_for
from kaiwa.feedback.grow_filters import cleaned, language_of, measure, normalised
from kaiwa.feedback.grow_words import FOLLOW_UP, REWRITE, SPEAKERS
from kaiwa.text.chat_model import ChatModel, GenerateCall, generate_many
from kaiwa.text.records import Completion, Conversation, Message, read_jsonl, whole_text
from kaiwa.text.sampling import Sampling

DEEPER = ("constraint", "reasons", "input")
BLOCK = 16  # parents whose requests are under way at once
SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowConfig:
    """deepen: versions of a request, each deeper than the one before. widen: requests of the same kind. turns: of the
    dialogue that each request becomes (0: requests only). most: characters of a request.
    """

    deepen: int = 2
    widen: int = 1
    turns: int = 3
    most: int = 1200
    max_tokens: int = 512
    temperature: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, largest in (("deepen", 0, 9), ("widen", 0, 9), ("turns", 0, 20), ("most", 20, 100_000)):
            if not least <= getattr(self, name) <= largest:
                raise UserError(f"--{name} {getattr(self, name)}: {least} to {largest}")


@dataclass(slots=True)
class GrownRequest:
    """A request and the dialogue it becomes. parent: the key of the request it was made of, "" for a given one."""

    key: str
    request: Conversation
    operation: str
    parent: str = ""
    seed: int | None = None
    filters: Mapping[str, bool] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    reason: str = ""  # why it was left out, "" for one that was not

    @property
    def text(self) -> str:
        return self.request[-1].content

    def to_json(self, writer: str) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "source": "grown",
            "key": self.key,
            "parent": self.parent,
            "writer": writer,
            "operation": self.operation,
        }
        more = {"seed": self.seed, "filters": dict(self.filters), "reason": self.reason}
        meta |= {name: value for name, value in more.items() if value not in (None, {}, "")}
        return {"messages": [m.to_json() for m in self.messages or self.request], "meta": meta}


@dataclass(slots=True)
class GrowSummary:
    n_given: int = 0
    n_written: Counter[str] = field(default_factory=Counter)  # by operation
    n_left_out: Counter[str] = field(default_factory=Counter)  # by reason
    n_there: int = 0  # records of an earlier call

    def line(self, out: Path) -> str:
        """Return one line for the terminal."""
        by_operation = ", ".join(f"{name} {n}" for name, n in sorted(self.n_written.items())) or "nothing new"
        reasons = ", ".join(f"{name} {n}" for name, n in self.n_left_out.most_common())
        earlier = f"; {self.n_there} were there already" if self.n_there else ""
        return f"{out}: {self.n_given} requests read; {by_operation}{earlier}" + (
            f"; left out: {reasons}" if reasons else ""
        )


def left_out_file(out: Path) -> Path:
    """Return the file of the requests that a filter stopped."""
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.left_out.jsonl")


def grow(
    requests: Sequence[Conversation], writer: ChatModel, config: GrowConfig, out: Path, say: Callable[[str], None]
) -> GrowSummary:
    """Grow requests and write the records to `out`; go on where an earlier call stopped.

    UserError where the writer cannot be reached: what is written stays.
    """
    grower = _Grower(writer, config, out)
    distinct: dict[str, GrownRequest] = {}
    for conversation in requests:
        one = GrownRequest(key=_key(conversation), request=conversation, operation="given")
        distinct.setdefault(one.key, one)
    if len(distinct) < len(requests):
        say(f"{len(requests) - len(distinct)} requests are there twice and count once")
    parents = list(distinct.values())
    grower.summary.n_given = len(parents)
    grower.known |= {normalised(parent.text) for parent in parents}
    for start in range(0, len(parents), BLOCK):
        grower.add_block(parents[start : start + BLOCK])
        n = sum(grower.summary.n_written.values())
        say(f"{min(start + BLOCK, len(parents))} of {len(parents)} requests, {n} records")
    return grower.summary


class _Grower:
    """The state of a call: what is written already, and what was asked."""

    def __init__(self, writer: ChatModel, config: GrowConfig, out: Path) -> None:
        self.writer, self.config, self.out = writer, config, out
        self.summary = GrowSummary()
        self.there: dict[str, GrownRequest] = {}
        for file in (out, left_out_file(out)):
            self.there |= {one.key: one for one in _read_grown(file, writer.name)}
        self.summary.n_there = len(self.there)
        self.known = {normalised(one.text) for one in self.there.values() if not one.reason}

    def add_block(self, parents: Sequence[GrownRequest]) -> None:
        """Grow a block of given requests, and append what is new to the files."""
        grown: list[GrownRequest] = list(parents)
        deeper = list(parents)
        for number in range(1, self.config.deepen + 1):
            deeper = [one for one in self._rewrite(deeper, "deepen", number) if not one.reason]
            grown += deeper
        for number in range(1, self.config.widen + 1):
            grown += [one for one in self._rewrite(parents, "widen", number) if not one.reason]
        new = [one for one in grown if one.key not in self.there]
        if self.config.turns:
            self._converse(new)
        self._append(self.out, [one for one in new if not one.reason])
        self._append(left_out_file(self.out), [one for one in new if one.reason])

    def _rewrite(self, parents: Sequence[GrownRequest], kind: str, number: int) -> list[GrownRequest]:
        """Return one child of each parent; those of an earlier call as they were."""
        children: list[GrownRequest] = []
        pairs: list[tuple[GrownRequest, GrownRequest]] = []
        for parent in parents:
            key = hashlib.sha256(f"{parent.key} {kind} {number}".encode()).hexdigest()[:16]
            if key in self.there:
                children.append(self.there[key])
                continue
            how = python_rng(self.config.seed, "grow", key).choice(DEEPER) if kind == "deepen" else "topic"
            seed = seed_for(self.config.seed, "grow", key) % SEEDS
            child = GrownRequest(key=key, request=(), operation=f"{kind}: {how}", parent=parent.key, seed=seed)
            children.append(child)
            pairs.append((parent, child))
        prompts = [REWRITE[language_of(p.text)][c.operation].format(request=p.text) for p, c in pairs]
        answers = self._ask(
            [((Message("user", text),), child.seed or 0) for text, (_, child) in zip(prompts, pairs, strict=True)]
        )
        for (parent, child), answer in zip(pairs, answers, strict=True):
            self._judge(parent, child, answer)
        return children

    def _judge(self, parent: GrownRequest, child: GrownRequest, answer: Completion | Exception) -> None:
        """Fill in a child's request from the writer's answer, and the reason if it is left out."""
        system = tuple(m for m in parent.request if m.role == "system")
        text = "" if isinstance(answer, Exception) else cleaned(answer.text)
        child.request = (*system, Message("user", text))
        child.filters = measure(text, parent.text, self.known, self.config.most)
        if isinstance(answer, Exception):
            child.reason = f"failed: {answer}"
        elif answer.finish_reason == "length":
            child.reason = "long"
        else:
            child.reason = next((name for name, passes in child.filters.items() if not passes), "")
        if child.reason:
            self._append(left_out_file(self.out), [child])
        else:
            self.known.add(normalised(text))

    def _converse(self, grown: Sequence[GrownRequest]) -> None:
        """Make a dialogue of each request: the writer answers, then asks further as the person would."""
        for one in grown:
            one.messages = list(one.request)
        talking = list(grown)
        for turn in range(self.config.turns):
            if turn:
                talking = self._speak(talking, "user", turn)
            talking = self._speak(talking, "assistant", turn)

    def _speak(self, talking: Sequence[GrownRequest], role: str, turn: int) -> list[GrownRequest]:
        """Add the next message of each dialogue; return those that go on. One without its first answer is left out."""
        calls = []
        for one in talking:
            prompt = tuple(one.messages) if role == "assistant" else (_as_person(one.messages),)
            calls.append((prompt, seed_for(self.config.seed, "turn", one.key, role, turn) % SEEDS))
        going_on = []
        for one, answer in zip(talking, self._ask(calls), strict=True):
            text, is_cut = "", True
            if not isinstance(answer, Exception):
                text = answer.text.strip() if role == "assistant" else cleaned(answer.text)
                is_cut = answer.finish_reason == "length"
            repeats = role == "user" and normalised(text) in {normalised(m.content) for m in one.messages}
            if text and not is_cut and not repeats:
                one.messages.append(Message(role, text))
                going_on.append(one)
                continue
            if role == "assistant" and one.messages[-1].role == "user" and len(one.messages) > len(one.request):
                one.messages.pop()  # a question that was not answered
            if len(one.messages) <= len(one.request):
                one.reason = f"failed: {answer}" if isinstance(answer, Exception) else "no answer"
        return going_on

    def _ask(self, calls: Sequence[tuple[Conversation, int]]) -> list[Completion | Exception]:
        """Return the writer's answers in order. UserError where it cannot be reached."""
        config = self.config
        outcomes: dict[int, Completion | Exception] = {}
        many = [
            GenerateCall(
                prompt=p, sampling=Sampling(temperature=config.temperature, max_tokens=config.max_tokens, seed=seed)
            )
            for p, seed in calls
        ]
        for number, outcome in generate_many(self.writer, many):
            if isinstance(outcome, ConnectionError):
                raise UserError(f"{outcome}; what is written stays, the same command goes on")
            outcomes[number] = outcome
        return [outcomes[i] for i in range(len(many))]

    def _append(self, file: Path, records: Sequence[GrownRequest]) -> None:
        lines = [whole_text(json.dumps(one.to_json(self.writer.name), ensure_ascii=False)) + "\n" for one in records]
        if lines:
            with open(file, "a", encoding="utf-8") as f:
                f.write("".join(lines))
        for one in records:
            self.there[one.key] = one
            if one.reason:
                self.summary.n_left_out[one.reason.partition(":")[0]] += 1
            else:
                self.summary.n_written[one.operation.partition(":")[0]] += 1


def _as_person(messages: Sequence[Message]) -> Message:
    """Return the prompt that asks for the person's next message."""
    language = language_of(messages[-2].content if len(messages) > 1 else messages[-1].content)
    names = SPEAKERS[language]
    talk = "\n\n".join(f"{names[m.role]}: {m.content}" for m in messages if m.role in names)
    return Message("user", FOLLOW_UP[language].format(talk=talk))


def _key(conversation: Conversation) -> str:
    text = json.dumps([m.to_json() for m in conversation], ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _read_grown(file: Path, writer: str) -> Iterator[GrownRequest]:
    """Yield the records of an earlier call; a half-written last line goes. UserError for another writer's file."""
    if not file.is_file():
        return
    data = file.read_bytes()
    if not data.endswith(b"\n"):  # killed while writing
        file.write_bytes(data[: data.rfind(b"\n") + 1])
    for row in read_jsonl(file):
        meta = row.get("meta") or {}
        if meta.get("source") != "grown":
            raise UserError(f"{file}: is no file of grown requests; give another --out")
        if meta["writer"] != writer:
            raise UserError(f"{file}: was written by {meta['writer']}, not {writer}; give another --out")
        messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
        first = next((i for i, m in enumerate(messages) if m.role == "assistant"), len(messages))
        yield GrownRequest(
            key=meta["key"], request=messages[:first], operation=meta["operation"], parent=meta["parent"],
            seed=meta.get("seed"), filters=meta.get("filters", {}), messages=list(messages),
            reason=meta.get("reason", ""),
        )  # fmt: skip
