"""An engine that needs no process: the same answer to everybody, in the pieces given."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from kaiwa.serve.exceptions import EngineLost
from kaiwa.serve.openai.call_forms import PLAIN
from kaiwa.serve.openai.choice import TokenDetail
from kaiwa.serve.worker.client import EngineState
from kaiwa.serve.worker.wire import (
    Admitted,
    Embedding,
    Generate,
    ModelAddress,
    ModelPrompt,
    Reply,
    Started,
    TextPrompt,
    TokenIds,
    Tokenize,
    TokenPrompt,
    Tokens,
)


class Engine:
    """Says the same to everybody, in the pieces given; keeps its requests. Its tokens are code points."""

    limit, under_way, process, stopping = 99, 0, None, False

    def __init__(self) -> None:
        self.state = EngineState(state="ready")
        self.pieces: list[str] = ["A calm answer."]
        self.requests: list[Generate] = []
        self.markup, self.fingerprint, self.stop = PLAIN, "", ""
        self.lost = False
        self.n_pieces = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def generate(self, *requests: Generate) -> AsyncGenerator[tuple[int, Reply], None]:
        self.requests += requests
        self._check()
        for i, request in enumerate(requests):
            tokens = tuple(TokenDetail(c, tuple(c.encode()), -1.0) for c in text_of(request.prompt))
            yield i, Admitted()
            yield i, Started(prompt_tokens=9, prompt=tokens, markup=self.markup, fingerprint=self.fingerprint)
            if request.sampling.max_tokens == 0:
                yield i, Tokens(text="", n=0, finish="length")
                continue
            for k, piece in enumerate(self.pieces):
                self.n_pieces += 1
                finish = "stop" if k == len(self.pieces) - 1 else None
                yield i, Tokens(text=piece, n=1, tokens=tokens[:1], finish=finish, stop=self.stop if finish else "")
                await asyncio.sleep(0)

    async def tokenize(self, questions: Sequence[Tokenize]) -> list[TokenIds]:
        self._check()
        ids = [tuple(map(ord, text_of(question.prompt))) for question in questions]
        return [TokenIds(tokens=tokens, token_strs=tuple(map(chr, tokens)), max_model_len=512) for tokens in ids]

    async def detokenize(self, model: ModelAddress, tokens: Sequence[int]) -> str:
        self._check()
        return "".join(map(chr, tokens))

    async def embed(self, model: ModelAddress, prompts: Sequence[ModelPrompt], **choices: object) -> list[Embedding]:
        self._check()
        return [Embedding(vector=(0.5, 0.25), tokens=len(text_of(prompt))) for prompt in prompts]

    def _check(self) -> None:
        if self.lost:
            raise EngineLost("the engine process ended under this request; it is being started again")


def text_of(prompt: ModelPrompt) -> str:
    if isinstance(prompt, TokenPrompt):
        return "".join(map(chr, prompt.ids))
    return prompt.text if isinstance(prompt, TextPrompt) else ""
