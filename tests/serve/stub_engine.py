"""An engine that needs no process: the same answer to everybody, in the pieces given."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from kaiwa.serve.worker.client import EngineLost, EngineState


class Engine:
    """Says the same to everybody, in the pieces given; keeps what it was asked. Detokenizes code points."""

    limit, under_way, process = 99, 0, None

    def __init__(self) -> None:
        self.state = EngineState(state="ready")
        self.pieces: list[str] = ["A calm answer."]
        self.asked: list[dict[str, Any]] = []
        self.lost = False
        self.told = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, *requests: dict[str, Any]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        self.asked += requests
        if self.lost:
            raise EngineLost("the engine process ended under this request; it is being started again")
        for i, request in enumerate(requests):
            tokens = [{"text": c, "bytes": list(c.encode()), "logprob": -1.0, "top": []} for c in text_of(request)]
            yield i, {"kind": "admitted"}
            yield i, {"kind": "start", "prompt_tokens": 9, "cached": 0, "prompt": tokens}
            if request.get("max_tokens") == 0:
                yield i, {"kind": "tokens", "text": "", "n": 0, "tokens": [], "finish": "length"}
                continue
            for k, piece in enumerate(self.pieces):
                self.told += 1
                finish = "stop" if k == len(self.pieces) - 1 else None
                yield i, {"kind": "tokens", "text": piece, "n": 1, "tokens": tokens[:1], "finish": finish}
                await asyncio.sleep(0)

    async def ask(self, *questions: dict[str, Any]) -> list[Any]:
        def answer(question: dict[str, Any]) -> dict[str, Any]:
            if question["op"] == "tokenize":
                return {"tokens": [*map(ord, question["prompt"])]}
            return {"prompt": "".join(map(chr, question["tokens"]))}

        if self.lost:
            raise EngineLost("the engine process ended under this request; it is being started again")
        return [answer(question) for question in questions]


def text_of(request: dict[str, Any]) -> str:
    if "prompt_ids" in request:
        return "".join(map(chr, request["prompt_ids"]))
    return str(request.get("prompt", ""))
