"""Rows of a batch in torch: prefilled, decoded token by token, and dropped when finished.

Rows know neither requests nor text. Prefill pads on the right under a causal mask, so padding is never attended to;
decoding uses each row's own length. The cache may be narrower than the weights (bf16 under fp32), since decoding many
rows reads mostly the cache.

Weights, cache, hidden states and logits are on the decoder's device. The number of rows and their lengths stay on the
CPU with the calling loop: a step sends tokens and lengths to the device, and waits only for the sampled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kaiwa.engine.native.refusal import torch_step_refusal
from kaiwa.engine.rows.cpu_offload import is_split
from kaiwa.engine.rows.kv_cache import KVCache
from kaiwa.engine.rows.torch_adapters import apply_changes, changes_of
from kaiwa.engine.rows.torch_step import TorchStep
from kaiwa.engine.sampling import SamplingRules, sample
from kaiwa.model.adapter import Adapter
from kaiwa.model.attention import Attend, Limits, attend_rows, attention, within_window
from kaiwa.model.decoder import Decoder


class TorchRows:
    """`n` alive rows of a decoder's cache. lengths [n]: positions each row holds."""

    def __init__(self, decoder: Decoder, cache_dtype: torch.dtype) -> None:
        self.decoder, self.device = decoder, decoder.embed.weight.device
        self.cache = KVCache(decoder.config, cache_dtype, self.device)
        self.lengths = torch.zeros(0, dtype=torch.int64)
        refused = is_split(decoder) or torch_step_refusal(decoder.config)
        self.lean = None if refused else TorchStep(decoder)

    @property
    def n(self) -> int:
        return len(self.lengths)

    def clear(self) -> None:
        """Drop all rows; the buffer stays (fresh memory costs more than the arithmetic to fill the buffer)."""
        self.lengths = self.lengths[:0]

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions."""
        self.cache.reserve(rows, length)

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Append rows for ids [m,T], right-padded, of lengths [m]. Return the last tokens' hidden states [m,D]."""
        m, T = ids.shape
        start = self.n
        self.cache.reserve(start + m, T)
        positions = torch.arange(T, device=self.device).expand(m, T)
        hidden = self.decoder(ids.to(self.device), positions, _attend_fresh(self.cache, start))
        self.lengths = torch.cat((self.lengths, lengths))
        return hidden[torch.arange(m, device=self.device), (lengths - 1).to(self.device)]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def extend(self, first: int, parts: Sequence[Sequence[int]], adapter: Adapter | None = None) -> list[Tensor]:
        """Append tokens (parts of prompts) to rows first.., all with the same number of positions.

        Return each row's hidden states [tokens, D]. Shorter parts are padded on the right; padding is not attended to.
        """
        m, start = len(parts), int(self.lengths[first])
        ids, lengths = pad(parts)
        T = ids.shape[1]
        self.cache.reserve(self.n, start + T)
        positions = torch.arange(start, start + T, device=self.device).expand(m, T)
        with apply_changes(self.decoder, changes_of([adapter] * m)):
            hidden = self.decoder(ids.to(self.device), positions, _attend_after(self.cache, first, m, start))
        self.lengths[first : first + m] += lengths
        return [states[:length] for states, length in zip(hidden, lengths.tolist(), strict=True)]

    @torch.inference_mode()
    def decode(self, ids: Tensor, longest: int, adapters: Sequence[Adapter | None] = ()) -> Tensor:
        """Feed a token to each of the first m rows, ids [m]. Return hidden states [m,D].

        longest: max(lengths[:m]). adapters: each row's.
        """
        m, ids, changes = len(ids), ids.to(self.device), changes_of(adapters)
        self.cache.reserve(self.n, longest + 1)
        if self.lean is not None:
            hidden = self.lean(ids, self.lengths[:m], longest, self.cache, changes)
        else:
            attend = _attend_many(self.cache, self.lengths[:m], longest)
            with apply_changes(self.decoder, changes):
                hidden = self.decoder(ids[:, None], self.lengths[:m, None].to(self.device), attend)[:, 0]
        self.lengths[:m] += 1
        return hidden

    def new_row(self, block: Tensor | None = None) -> int:
        """Append a row and return its index. block: its first keys and values [layer, 2, K, T, E]."""
        row, length = self.n, 0 if block is None else block.shape[3]
        self.cache.reserve(row + 1, max(length, 1))
        if block is not None:
            self.cache.write_row(row, block)
        self.lengths = torch.cat((self.lengths, torch.tensor([length])))
        return row

    def fork(self, start: int, sources: Tensor) -> None:
        """Replace rows start.. by copies: row start + i of old row sources[i] (a shared prompt is prefilled once)."""
        n, length = len(sources), int(self.lengths[sources].max())
        block = self.cache.buffer[:, :, sources.to(self.device), :, :length]
        self.cache.reserve(start + n, length)
        self.cache.buffer[:, :, start : start + n, :, :length] = block
        self.lengths = torch.cat((self.lengths[:start], self.lengths[sources]))

    @torch.inference_mode()
    def select(self, sources: list[int]) -> None:
        """Let row i become old row sources[i], copied in order; a row may be overwritten only after its copy."""
        for target, source in enumerate(sources):
            self.cache.move_row(source, target, int(self.lengths[source]))
        self.lengths = self.lengths[torch.tensor(sources, dtype=torch.int64)]

    def drop(self, keep: Tensor) -> Tensor:
        """Drop the rows where keep [n] is False. Return the old index [n'] int64 of each remaining row.

        Remaining rows keep their places; the last rows fill the holes.
        """
        n = int(keep.sum())
        source = torch.arange(n)
        holes = (~keep[:n]).nonzero()[:, 0]
        movers = keep[n:].nonzero()[:, 0] + n
        if len(holes):
            self.cache.copy_rows(movers, holes, int(self.lengths[movers].max()))
            source[holes] = movers
        self.lengths = self.lengths[source]
        return source

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., V] fp32 of hidden states [..., D]."""
        with torch.inference_mode():
            return self.decoder.logits(hidden).float()

    def sample(self, hidden: Tensor, rules: SamplingRules, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Sample the next token after hidden states [m,D]; positions [m]: tokens each row has answered.

        Return ids [m] and log-probabilities [m].
        """
        return sample(self.logits(hidden), rules, positions)


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return token ids [m, longest], padded on the right with 0, and lengths [m], both int64."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row)
    return ids, lengths


def _heads_first(*tensors: Tensor) -> list[Tensor]:
    return [t.transpose(1, 2) for t in tensors]


def _attend_fresh(cache: KVCache, start: int) -> Attend:
    """Return attention for new, empty rows start..: causal, writing keys and values."""

    within = attend_rows(None)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        m, T = k.shape[:2]
        cache.buffer[layer, 0, start : start + m, :, :T] = k.transpose(1, 2)
        cache.buffer[layer, 1, start : start + m, :, :T] = v.transpose(1, 2)
        return within(layer, q, k, v, limits)

    return attend


def _attend_after(cache: KVCache, first: int, m: int, start: int) -> Attend:
    """Return attention for tokens start.. of rows first.. (m of them): over the cached positions and causally among
    themselves. Their keys and values are written."""
    masks: dict[int, Tensor] = {}  # by window

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        q, k, v = _heads_first(q, k, v)
        stop = start + k.shape[2]
        if limits.window not in masks:
            places = torch.arange(stop, device=q.device)
            mask = places <= places[start:, None]
            near = within_window(places[start:], places, limits.window) if limits.window else None
            masks[limits.window] = mask if near is None else mask & near
        keys = cache.buffer[layer, 0, first : first + m, :, :stop]
        values = cache.buffer[layer, 1, first : first + m, :, :stop]
        keys[:, :, start:] = k
        values[:, :, start:] = v
        out = attention(q.to(keys.dtype), keys, values, masks[limits.window], limits.cap)
        return out.transpose(1, 2).to(q.dtype)

    return attend


def _attend_many(cache: KVCache, lengths: Tensor, longest: int) -> Attend:
    """Return attention for the next token of rows 0..m-1, each at its own length."""
    m, stop = len(lengths), longest + 1
    even = bool((lengths == longest).all())
    rows, at = torch.arange(m, device=cache.device), lengths.to(cache.device, copy=True)
    mask = None if even else (torch.arange(stop, device=cache.device) <= at[:, None])[:, None, None]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, limits: Limits = Limits()) -> Tensor:
        keys, values = cache.buffer[layer, 0, :m, :, :stop], cache.buffer[layer, 1, :m, :, :stop]
        new_keys, new_values = k[:, 0].to(keys.dtype), v[:, 0].to(keys.dtype)
        if even:
            keys[:, :, longest] = new_keys
            values[:, :, longest] = new_values
        else:
            keys[rows, :, at] = new_keys
            values[rows, :, at] = new_values
        visible, begin = mask, 0
        if limits.window and even:
            begin = max(0, stop - limits.window)
        elif limits.window and mask is not None:
            visible = mask & within_window(at[:, None, None], torch.arange(stop, device=cache.device), limits.window)
        q = q.transpose(1, 2)
        out = attention(q.to(keys.dtype), keys[:, :, begin:], values[:, :, begin:], visible, limits.cap)
        return out.transpose(1, 2).to(q.dtype)

    return attend
