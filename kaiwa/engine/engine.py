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
from kaiwa.engine.continuous_batching import ContinuousBatching
from kaiwa.engine.native import step
from kaiwa.engine.request import Event, Request, TextTokenizer
from kaiwa.engine.rows.native_rows import make_rows
from kaiwa.engine.rows.protocols import BulkRows
from kaiwa.engine.sampling import SamplingRules, row_seeds
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.int4 import Int4Linear
from kaiwa.text.records import Completion
from kaiwa.text.sampling import USUAL, Sampling


class Engine:
    """A decoder with everything needed to continue token sequences.

    `dtype`: the type of the computation (None: the decoder's own). Where `dtype` differs from the decoder's, the engine
    keeps a copy, and every bulk call copies the decoder's weights first: a trainer goes on training the decoder, and
    its rollouts always have the current weights. `cache_dtype`: the cache's type (None: same as `dtype`). `max_rows`
    and `max_length` bound the requests admitted by `add` at once.

    For `add` only: `reuse=False`: prompts never use the cache of earlier prompts. `draft`: number of tokens guessed by
    prompt lookup; answers stay the same. `exact`: an answer does not depend on other requests; False lets prompts share
    and be computed side by side in bf16 too, where sharing changes the rounding.
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
        self._rows: BulkRows | None = None  # of bulk calls
        self._batching = ContinuousBatching(
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
        """Copy another decoder's weights (of the same shape), or take over in-place changes of its own.

        UserError while requests are being answered.
        """
        if not self._batching.idle:
            raise UserError("requests are being answered; let them finish before the weights change")
        self.source = decoder
        if self.decoder is not decoder:
            _take_weights(self.decoder, decoder)
        step.renew(self.decoder)  # in the background; torch computes meanwhile
        self._batching.use(None)  # cached prompts were computed with the old weights

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling = USUAL,
        *,
        stop_ids: Sequence[int] = (),
        rows: int = 256,
    ) -> list[Completion]:
        """Continue every prompt and return one Completion for each, in order.

        `ids` and `logprobs` include a stop token (an action of the policy); `text` does not.
        Prompt i's randomness depends on (sampling.seed, i) only, not on `rows` or its neighbours. Equal prompts are
        prefilled once. UserError for penalties, biases, grammars and stop strings, which only `add` supports.
        """
        if sampling.max_tokens < 1:
            raise UserError(f"max_tokens is {sampling.max_tokens}; it must be at least 1", field="max_tokens")
        if sampling.changes_logits or sampling.stop:
            raise UserError("bulk generation has no penalties, biases, grammars and stop strings; leave them out")
        if self.decoder is not self.source:
            _take_weights(self.decoder, self.source)
        if self._rows is None:
            self._rows = make_rows(self.decoder, self._cache_dtype)
        N = len(prompts)
        rules = SamplingRules.of([sampling] * N, row_seeds(sampling.seed, N))
        whole = [tuple(prompt) for prompt in prompts]
        generated = bulk_batching.generate(
            self._rows, whole, max_tokens=sampling.max_tokens, rules=rules, stop_ids=stop_ids, rows=rows
        )
        lengths, stopped = generated.lengths.tolist(), generated.stopped.tolist()
        ids, logprobs = generated.ids.tolist(), generated.logprobs.tolist()
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
        """Free the memory held between bulk calls: the cache, and weights packed for the C++ step."""
        self._rows = None

    def score(
        self, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        """Return natural log-probabilities of each continuation's tokens at a temperature, by the full forward pass."""
        if self.decoder is not self.source:
            _take_weights(self.decoder, self.source)
        return bulk_batching.score(self.decoder, prompts, continuations, temperature)

    def add(self, request: Request) -> tuple[str, ...]:
        """Queue a request, and return the keywords of its schema without effect.

        UserError if the request does not fit the context.
        """
        return self._batching.add(request)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Load a low-rank change or soft prompt for requests to name; the model's weights stay unchanged.

        UserError for a name in use already, or an adapter of the wrong shape.
        """
        self._batching.add_adapter(name, adapter)

    def remove_adapter(self, name: str) -> None:
        """Remove an adapter. UserError for an unknown name, and while requests use the adapter."""
        self._batching.remove_adapter(name)

    def uses(self, name: str) -> bool:
        """Return whether any unfinished request names the adapter."""
        return self._batching.uses(name)

    def step(self) -> list[Event]:
        """Run a step, a chunk of prompts and a token for every answering row, and return the new events."""
        return self._batching.step()

    def cancel(self, id: str) -> bool:
        """Stop a queued or running request without a further event. Return False if no request has the id."""
        return self._batching.cancel(id)

    @property
    def idle(self) -> bool:
        return self._batching.idle

    @property
    def is_native(self) -> bool:
        """Whether the C++ step computes what `add` brings, and not PyTorch."""
        return step.ready(self.decoder) is not None if self.idle else self._batching.is_native

    @property
    def will_switch(self) -> bool:
        """Whether answers of later requests will be computed in another way, which rounds otherwise.

        True while the C++ step is prepared, and then until the requests under way have ended.
        """
        return self._batching.will_switch

    @property
    def is_pending(self) -> bool:
        """Whether the C++ step is being prepared."""
        return step.is_pending(self.decoder)

    def _text(self, ids: list[int]) -> str:
        """Return the bytes of the ids as text; an unfinished character at the end is dropped."""
        if self.tokenizer is None:
            return ""
        return whole_characters(self.tokenizer.decode_bytes(ids))


def whole_characters(data: bytes) -> str:
    """Decode UTF-8, leaving out an unfinished character at the end; invalid bytes become U+FFFD."""
    for cut in range(1, 4):
        if len(data) < cut or data[-cut] & 0xC0 != 0x80:
            lead = data[-cut] if len(data) >= cut else 0
            length = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 1
            data = data[:-cut] if length > cut else data
            break
    return data.decode("utf-8", errors="replace")


def _copy(decoder: Decoder, dtype: torch.dtype) -> Decoder:
    if any(isinstance(m, Int4Linear) for m in decoder.modules()):
        raise UserError("a 4-bit model computes in bf16 only; leave dtype out")
    copied = copy.deepcopy(decoder).to(dtype).requires_grad_(False)
    return copied.eval()


@torch.no_grad()
def _take_weights(target: Decoder, source: Decoder) -> None:
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.copy_(theirs)
