"""The engine: one decoder and one tokenizer, continued for many requests at once.

Two ways in: `generate` and `score` for bulk work (rollouts, evaluation), and `add` / `step` / `cancel` for serving,
where requests come and go between steps (continuous batching: Yu et al., 2022, "Orca").
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from kaiwa.core.errors import UserError
from kaiwa.engine import bulk_batching
from kaiwa.engine.continuous_batching import Serving
from kaiwa.engine.native import step
from kaiwa.engine.request import Event, Request, TextTokenizer
from kaiwa.engine.rows.native_rows import StepRows, rows_for
from kaiwa.engine.rows.torch_rows import Rows
from kaiwa.engine.sampling import Rules, row_seeds
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.int4 import Int4Linear
from kaiwa.text.records import Completion
from kaiwa.text.sampling import USUAL, Sampling


class Engine:
    """Continues token sequences with a decoder.

    `dtype` is what the engine computes in (None: the decoder's own). Where it differs from the decoder's, the engine
    keeps a copy, and every bulk call takes over the decoder's weights first: a trainer goes on training the decoder and
    always rolls out what it has. `cache_dtype` is the cache's (None: the same). `max_rows` and `max_length` bound what
    `add` admits at once. `reuse=False`: no prompt starts with what an earlier one computed. `draft`: tokens guessed by
    looking back; answers stay the same. `exact`: an answer does not depend on what else was asked; False lets prompts
    share and be computed side by side in bf16 too, where that rounds otherwise. (All four for `add` only.)
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: TextTokenizer | None = None,
        *,
        max_rows: int = 16,
        max_length: int | None = None,
        dtype: torch.dtype | None = None,
        cache_dtype: torch.dtype | None = None,
        reuse: bool = True,
        draft: int = 0,
        exact: bool = True,
    ) -> None:
        own = decoder.embed.weight.dtype
        self.source, self.tokenizer = decoder, tokenizer
        self.dtype = own if dtype is None else dtype
        self.decoder = decoder if self.dtype == own else _copy(decoder, self.dtype)
        self.max_length = min(max_length or decoder.config.max_length, decoder.config.max_length)
        self._cache_dtype = cache_dtype or self.dtype
        self._rows: Rows | StepRows | None = None  # of bulk calls
        self._serving = Serving(
            self.decoder,
            tokenizer,
            self._cache_dtype,
            max_rows,
            self.max_length,
            reuse=reuse,
            draft=draft,
            exact=exact,
        )

    def load(self, decoder: Decoder) -> None:
        """Takes over another decoder's weights (of the same shape), or its own after they were changed in place. Not
        while requests are being answered."""
        if not self._serving.idle:
            raise UserError("requests are being answered; let them finish before the weights change")
        self.source = decoder
        if self.decoder is not decoder:
            _take_weights(self.decoder, decoder)
        step.renew(self.decoder)  # torch computes until that is done
        self._serving.use(None)  # what it keeps of prompts was computed with the old ones

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling = USUAL,
        *,
        stop_ids: Sequence[int] = (),
        rows: int = 256,
    ) -> list[Completion]:
        """Continues every prompt. -> one Completion each, in order.

        `ids` and `logprobs` include the stop token if there is one (it is an action of the policy); `text` does not.
        Prompt i's randomness depends on (sampling.seed, i) only, not on `rows` or its neighbours. The same prompt
        several times is prefilled once. UserError for penalties, biases, grammars, stop strings: `add` takes those.
        """
        if sampling.max_tokens < 1:
            raise UserError(f"max_tokens is {sampling.max_tokens}; it must be at least 1", field="max_tokens")
        if sampling.changes_logits or sampling.stop:
            raise UserError("bulk generation has no penalties, biases, grammars and stop strings; leave them out")
        if self.decoder is not self.source:
            _take_weights(self.decoder, self.source)
        if self._rows is None:
            self._rows = rows_for(self.decoder, self._cache_dtype)
        N = len(prompts)
        rules = Rules.make(
            [sampling.temperature] * N,
            [sampling.top_k] * N,
            [sampling.top_p] * N,
            row_seeds(sampling.seed, N),
            [sampling.min_p] * N,
        )
        whole = [tuple(prompt) for prompt in prompts]
        found = bulk_batching.generate(
            self._rows, whole, max_tokens=sampling.max_tokens, rules=rules, stop_ids=stop_ids, rows=rows
        )
        lengths, stopped = found.lengths.tolist(), found.stopped.tolist()
        ids, logprobs = found.ids.tolist(), found.logprobs.tolist()
        return [
            Completion(
                text=self._text(ids[i][: lengths[i] - stopped[i]]),
                ids=tuple(ids[i][: lengths[i]]),
                logprobs=tuple(logprobs[i][: lengths[i]]),
                finish_reason="stop" if stopped[i] else "length",
            )
            for i in range(N)
        ]

    def release(self) -> None:
        """Gives back what bulk calls hold between them: the cache, and weights packed for the C++ step."""
        self._rows = None

    def score(self, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Natural log-probabilities (temperature 1) of each continuation's tokens, by the full forward pass."""
        if self.decoder is not self.source:
            _take_weights(self.decoder, self.source)
        return bulk_batching.score(self.decoder, prompts, continuations)

    def add(self, request: Request) -> None:
        """Queues a request. UserError if it does not fit the context."""
        self._serving.add(request)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Requests may name this low-rank change or soft prompt from now on; the model's weights stay as they are.
        UserError for a name that is taken or an adapter that does not fit."""
        self._serving.add_adapter(name, adapter)

    def remove_adapter(self, name: str) -> None:
        """UserError for an unknown one, and while requests use it."""
        self._serving.remove_adapter(name)

    def uses(self, name: str) -> bool:
        """Whether a request that has not ended names the adapter."""
        return self._serving.uses(name)

    def step(self) -> list[Event]:
        """Runs one step: a chunk of one prompt and one token for every answering row. -> what became known."""
        return self._serving.step()

    def cancel(self, id: str) -> bool:
        """Stops a request, wherever it stands; no further event of it will come. False if there is no such request."""
        return self._serving.cancel(id)

    @property
    def idle(self) -> bool:
        return self._serving.idle

    def _text(self, ids: list[int]) -> str:
        """The bytes of the ids as text; an unfinished character at the end is dropped."""
        if self.tokenizer is None:
            return ""
        return whole_characters(self.tokenizer.decode_bytes(ids))


def whole_characters(data: bytes) -> str:
    """UTF-8 with an unfinished character at the end left out; bytes that are no UTF-8 become U+FFFD."""
    for cut in range(1, 4):
        if len(data) < cut or data[-cut] & 0xC0 != 0x80:
            lead = data[-cut] if len(data) >= cut else 0
            wanted = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 1
            data = data[:-cut] if wanted > cut else data
            break
    return data.decode("utf-8", errors="replace")


def _copy(decoder: Decoder, dtype: torch.dtype) -> Decoder:
    if any(isinstance(m, Int4Linear) for m in decoder.modules()):
        raise UserError("a 4-bit model computes in bf16 only; leave dtype out")
    made = copy.deepcopy(decoder).to(dtype).requires_grad_(False)
    return made.eval()


@torch.no_grad()
def _take_weights(target: Decoder, source: Decoder) -> None:
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.copy_(theirs)
