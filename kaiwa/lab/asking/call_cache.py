"""Every call's request and reply, appended to one file, so that no call is ever made twice.

    {"key", "model", "sample", "call": {…raw request…}, "reply": {…raw reply…}}        one JSON object per line

The key covers the model, the whole request, and the sample's index: the third sample of a prompt differs from the
second. A line is written as soon as its reply is known; after kill -9 at most a torn last line is lost. Failed calls
are not stored, so another run tries them again. Keys to servers are no part of a request and are never written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.rng import seed_for
from kaiwa.lab.asking.program import Call, Reply
from kaiwa.text.chat_model import ChatModel, GenerateCall, ScoreCall, ScoreResult, generate_many, score_many
from kaiwa.text.records import Completion, Conversation, ToolUse, whole_text


def call_json(call: Call) -> dict[str, Any]:
    """Return a call's request as plain JSON, for the file and the key."""
    request = call.request
    if isinstance(request, ScoreCall):
        return {"score": {"context": _prompt(request.context), "continuation": request.continuation}}
    tools = {"tools": list(request.tools)} if request.tools else {}
    return {"generate": {"prompt": _prompt(request.prompt), **request.sampling.to_json(), **tools}}


def _prompt(prompt: Conversation | str) -> Any:
    return prompt if isinstance(prompt, str) else [m.to_json() for m in prompt]


def call_key(model: str, call: Call) -> str:
    """Return the cache key: SHA-256 over the model's identity, the request and the sample's index."""
    text = json.dumps([model, call_json(call), call.sample], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class CallCache:
    """Replies by key, read from `path` and appended to the file. `path` None: in memory only."""

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
                self.replies[row["key"]] = _stored_reply(row["reply"])

    def store(self, key: str, model: str, call: Call, reply: Reply) -> None:
        """Remember a reply, and append the reply to the file."""
        self.replies[key] = reply
        if self.path is None:
            return
        fields = {k: v for k, v in dataclasses.asdict(reply).items() if v != getattr(Reply(), k)}
        row = {"key": key, "model": model, "sample": call.sample, "call": call_json(call), "reply": fields}
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def _stored_reply(fields: dict[str, Any]) -> Reply:
    calls = tuple(ToolUse(**call) for call in fields.pop("tool_calls", ()))
    return Reply(**fields, tool_calls=calls)


class Asker:
    """Answers calls from the cache, and the rest by the model, many at once. `calls` counts the model's calls.

    `identity` names the model in keys; `show` receives (done, total) of the calls that the cache does not hold.
    """

    def __init__(
        self,
        model: ChatModel,
        cache: CallCache,
        identity: str = "",
        show: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model, self.cache, self.identity, self.show = model, cache, identity or model.name, show
        self.calls = 0

    def __call__(self, calls: Sequence[Call]) -> list[Reply]:
        """Return the replies in the order of the calls; a failed call's reply carries its error."""
        keys = [call_key(self.identity, call) for call in calls]
        missing = {key: call for key, call in zip(keys, calls, strict=True) if key not in self.cache.replies}
        failed: dict[str, Reply] = {}
        done = 0
        for kind in (GenerateCall, ScoreCall):
            batch = [(key, call) for key, call in missing.items() if isinstance(call.request, kind)]
            began = time.monotonic()
            for i, outcome in self._send([call for _, call in batch]):
                key, call = batch[i]
                seconds, began = time.monotonic() - began, time.monotonic()
                reply = dataclasses.replace(_reply(outcome), seconds=round(seconds, 4))
                if reply.error:
                    failed[key] = reply
                else:
                    self.cache.store(key, self.identity, call, reply)
                done += 1
                self.calls += 1
                self.show(done, len(missing))
        return [self.cache.replies[key] if key in self.cache.replies else failed[key] for key in keys]

    def _send(self, calls: Sequence[Call]) -> Iterator[tuple[int, Completion | ScoreResult | Exception]]:
        """Yield the model's outcomes of calls of one kind."""
        if calls and isinstance(calls[0].request, ScoreCall):
            yield from score_many(self.model, [c.request for c in calls if isinstance(c.request, ScoreCall)])
        elif calls:
            requests = [_with_seed(c.request, c.sample) for c in calls if isinstance(c.request, GenerateCall)]
            yield from generate_many(self.model, requests)


def _with_seed(request: GenerateCall, sample: int) -> GenerateCall:
    """Return the request with a new seed, drawn from the request's seed, the sample's index and the prompt."""
    seed = seed_for(request.sampling.seed, sample, str(_prompt(request.prompt))) >> 32
    return dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, seed=seed))


def _reply(outcome: Completion | ScoreResult | Exception) -> Reply:
    if isinstance(outcome, Exception):
        message = " ".join(str(outcome).split())[:300] or type(outcome).__name__
        return Reply(error=message, error_code=getattr(outcome, "code", ""))
    if isinstance(outcome, ScoreResult):
        total = sum(outcome.logprobs)
        n = len(outcome.logprobs)
        return Reply(logprob=total, n_scored=n, n_prompt=outcome.n_prompt, n_reused=outcome.n_reused)
    return Reply(
        text=whole_text(outcome.text),
        finish_reason=outcome.finish_reason,
        n_prompt=outcome.n_prompt,
        n_reused=outcome.n_reused,
        n_tokens=outcome.n_tokens,
        tool_calls=outcome.tool_calls,
    )
