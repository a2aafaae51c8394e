"""Every call's request and reply, appended to one file: what was asked, what came, and never asked twice.

    {"key", "model", "sample", "call": {…raw request…}, "reply": {…raw reply…}}        one JSON object a line

The key covers the model, everything that is sent, and the sample's index: the third sample of a prompt is another call
than the second. A line is written as soon as its reply is known; after kill -9 at most a torn last line is lost. Failed
calls are not kept: they are tried again. Keys to servers are no part of a request and are never written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.rng import seed_for
from kaiwa.lab.asking.program import Reply, Wish
from kaiwa.text.chat_model import ChatModel, GenerateCall, ScoreCall, ScoreResult, generate_many, score_many
from kaiwa.text.records import Conversation


def call_json(wish: Wish) -> dict[str, Any]:
    """A wish as plain JSON."""
    call = wish.call
    if isinstance(call, ScoreCall):
        return {"score": {"context": _prompt(call.context), "continuation": call.continuation}}
    return {"generate": {"prompt": _prompt(call.prompt), **call.sampling.to_json()}}


def _prompt(prompt: Conversation | str) -> Any:
    return prompt if isinstance(prompt, str) else [m.to_json() for m in prompt]


def key(model: str, wish: Wish) -> str:
    text = json.dumps([model, call_json(wish), wish.sample], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """Replies by key. `path` None: in memory only."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.replies = path, dict[str, Reply]()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):  # a line that a kill cut off
                path.write_bytes(whole)
            for line in whole.splitlines():
                row = json.loads(line)
                self.replies[row["key"]] = Reply(**row["reply"])

    def keep(self, name: str, model: str, wish: Wish, reply: Reply) -> None:
        self.replies[name] = reply
        if self.path is None:
            return
        told = {k: v for k, v in dataclasses.asdict(reply).items() if v != getattr(Reply(), k)}
        row = {"key": name, "model": model, "sample": wish.sample, "call": call_json(wish), "reply": told}
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


class Asker:
    """Answers wishes from the cache, and the rest by the model, many at once. Also counts what was paid anew."""

    def __init__(
        self,
        model: ChatModel,
        cache: Cache,
        identity: str = "",
        show: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model, self.cache, self.identity, self.show = model, cache, identity or model.name, show
        self.calls = 0

    def __call__(self, wishes: Sequence[Wish]) -> list[Reply]:
        names = [key(self.identity, wish) for wish in wishes]
        missing = {n: w for n, w in zip(names, wishes, strict=True) if n not in self.cache.replies}
        failed: dict[str, Reply] = {}
        done = 0
        for kind in (GenerateCall, ScoreCall):
            mine = [(n, w) for n, w in missing.items() if isinstance(w.call, kind)]
            began = time.monotonic()
            for i, found in self._ask([w for _, w in mine]):
                name, wish = mine[i]
                seconds, began = time.monotonic() - began, time.monotonic()
                reply = dataclasses.replace(_reply(found), seconds=round(seconds, 4))
                if reply.error:
                    failed[name] = reply
                else:
                    self.cache.keep(name, self.identity, wish, reply)
                done += 1
                self.calls += 1
                self.show(done, len(missing))
        return [self.cache.replies[n] if n in self.cache.replies else failed[n] for n in names]

    def _ask(self, wishes: Sequence[Wish]) -> Any:
        if not wishes:
            return ()
        if isinstance(wishes[0].call, ScoreCall):
            return score_many(self.model, [w.call for w in wishes if isinstance(w.call, ScoreCall)])
        calls = [_with_own_seed(w.call, w.sample) for w in wishes if isinstance(w.call, GenerateCall)]
        return generate_many(self.model, calls)


def _with_own_seed(call: GenerateCall, sample: int) -> GenerateCall:
    """Return the call with a seed derived from its own seed, the sample's number and the prompt."""
    seed = seed_for(call.sampling.seed, sample, str(_prompt(call.prompt))) >> 32
    return dataclasses.replace(call, sampling=dataclasses.replace(call.sampling, seed=seed))


def _reply(found: Any) -> Reply:
    if isinstance(found, Exception):
        return Reply(error=" ".join(str(found).split())[:300] or type(found).__name__)
    if isinstance(found, ScoreResult):
        total = sum(found.logprobs)
        n = len(found.logprobs)
        return Reply(logprob=total, n_scored=n, n_prompt=found.n_prompt, n_reused=found.n_reused)
    return Reply(
        text=found.text,
        finish_reason=found.finish_reason,
        n_prompt=found.n_prompt,
        n_reused=found.n_reused,
        n_tokens=found.n_tokens,
    )
