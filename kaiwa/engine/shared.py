"""Many prompts that begin alike: each beginning is computed once (shared prefixes), then all go on side by side.

Prompts are cut into blocks of BLOCK tokens. A block that several prompts share, and everything before it, is prefilled
once, kept, and copied into each row's cache; only the rest of a prompt is its own work. Kept blocks also serve later
calls (an arm's second round, the next technique), the least recently used go first.
(The idea: Kwon et al. 2023, "PagedAttention", section 4.3; here blocks are copied into rows, not paged.)

With `share=False` nothing is reused: the slow twin that tests compare with, token by token.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.core.errors import UserError
from kaiwa.engine.bulk_batching import pad
from kaiwa.engine.request import Request, TextTokenizer
from kaiwa.engine.rows.torch_rows import Rows
from kaiwa.engine.sampling import Rules, sample, seed_tensor
from kaiwa.engine.text_stream import TextOut
from kaiwa.model.decoder import Attend, Decoder
from kaiwa.text.records import Completion

BLOCK = 16  # tokens
KEPT_BYTES = 384 << 20
TAIL_TOKENS = 1024  # in one padded batch of rests

Ids = tuple[int, ...]


@dataclass(slots=True)
class Row:
    """A request under way."""

    index: int
    request: Request
    out: TextOut
    reused: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""


class SharedPrefixes:
    """Continues and scores many prompts with one decoder."""

    def __init__(self, decoder: Decoder, tokenizer: TextTokenizer, *, max_rows: int = 32, share: bool = True) -> None:
        self.decoder, self.tokenizer, self.max_rows, self.share = decoder, tokenizer, max_rows, share
        self.rows = Rows(decoder, decoder.embed.weight.dtype)
        self.kept: OrderedDict[Ids, Tensor] = OrderedDict()  # a whole prefix -> its last block [layer,2,K,BLOCK,E]
        self.prefilled = 0  # tokens computed as prompts, since the beginning

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Answers as they end, as (index, answer). UserError for a prompt that does not fit, before any work."""
        limit = self.decoder.config.max_length
        for request in requests:
            if len(request.prompt_ids) >= limit:
                raise UserError(
                    f"request {request.id} has {len(request.prompt_ids)} tokens; the model takes {limit - 1}"
                )
        shared = self._shared([request.prompt_ids for request in requests])
        waiting = sorted(range(len(requests)), key=lambda i: requests[i].prompt_ids)
        alive: list[Row] = []
        self.rows.clear()
        while waiting or alive:
            if waiting and len(alive) <= self.max_rows // 2:
                taken, waiting = waiting[: self.max_rows - len(alive)], waiting[self.max_rows - len(alive) :]
                hidden = self._admit([requests[i].prompt_ids for i in taken], shared)
                advanced = [
                    Row(i, requests[i], TextOut(self.tokenizer, requests[i].sampling.stop), reused)
                    for i, (_, reused) in zip(taken, hidden, strict=True)
                ]
                alive += advanced
                self._take(torch.stack([states for states, _ in hidden]), advanced)
            else:
                advanced = alive
                last = torch.tensor([row.ids[-1] for row in alive])
                self._take(self.rows.decode(last, int(self.rows.lengths.max())), alive)
            ended = {row.index: reason for row in advanced if (reason := _finish(row, limit)) is not None}
            for row in advanced:
                if row.index in ended:
                    yield row.index, _completion(row, ended[row.index])
            if ended:
                source = self.rows.drop(torch.tensor([row.index not in ended for row in alive]))
                alive = [alive[i] for i in source.tolist()]

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[list[float], int]]:
        """(context, continuation) -> log-probabilities of the continuation's tokens, context tokens reused."""
        whole = [context + continuation[:-1] for context, continuation in pairs]
        for (context, continuation), ids in zip(pairs, whole, strict=True):
            if not context or not continuation or len(ids) > self.decoder.config.max_length:
                raise UserError(f"{len(context)} + {len(continuation)} tokens cannot be scored by this model")
        shared = self._shared([context[:-1] for context, _ in pairs])
        found: list[tuple[list[float], int]] = [([], 0)] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda i: whole[i])
        for start in range(0, len(order), self.max_rows):
            some = order[start : start + self.max_rows]
            self.rows.clear()
            keep = [len(pairs[i][1]) for i in some]
            for i, (hidden, reused) in zip(some, self._admit([whole[i] for i in some], shared, keep), strict=True):
                logits = self.rows.logits(hidden)
                targets = torch.tensor(pairs[i][1], device=logits.device)
                logprobs = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=-1)
                found[i] = (logprobs.tolist(), reused)
        self.rows.clear()
        return found

    def _shared(self, prompts: Sequence[Ids]) -> set[Ids]:
        """Prefixes of whole blocks that at least two prompts begin with (or that are kept already)."""
        if not self.share:
            return set()
        count = Counter(prompt[:n] for prompt in prompts for n in range(BLOCK, len(prompt), BLOCK))
        return {prefix for prefix, times in count.items() if times > 1 or prefix in self.kept}

    def _admit(
        self, prompts: Sequence[Ids], shared: set[Ids], keep: Sequence[int] | None = None
    ) -> list[tuple[Tensor, int]]:
        """Appends a row a prompt. -> last hidden state [D] (or the last keep[i] ones [n,D]) and tokens reused, each."""
        self.forget()
        begins: list[int] = []
        reused: list[int] = []
        for prompt in prompts:
            n = 0
            while prompt[: n + BLOCK] in shared and n + BLOCK < len(prompt):
                n += BLOCK
            if keep is not None:  # a kept state must be computed here
                n = min(n, (len(prompt) - keep[len(begins)]) // BLOCK * BLOCK)
            begins.append(n)
            reused.append(n - self._keep(prompt[:n]))
        found: list[Tensor | None] = [None] * len(prompts)
        places: list[int] = []
        start = self.rows.n
        for group in _groups(prompts, begins):
            n = begins[group[0]]
            hidden = self._extend([prompts[i] for i in group], n)
            for i, states in zip(group, hidden, strict=True):
                last = 1 if keep is None else keep[i]
                mine = states[: len(prompts[i]) - n][-last:]
                found[i] = mine[0] if keep is None else mine
            places += group
        order = sorted(range(len(places)), key=lambda p: places[p])
        if order != list(range(len(order))):
            self.rows.fork(start, torch.tensor(order) + start)
        return [(states, r) for states, r in zip(found, reused, strict=True) if states is not None]

    def _keep(self, prefix: Ids) -> int:
        """Computes the blocks of a prefix that are not kept. -> how many tokens that cost"""
        n = len(prefix)
        while n and prefix[:n] not in self.kept:
            n -= BLOCK
        if n == len(prefix):
            for m in range(BLOCK, len(prefix) + 1, BLOCK):
                self.kept.move_to_end(prefix[:m])
            return 0
        row = self.rows.new_row(self._blocks(prefix[:n]))
        self.rows.append(row, torch.tensor(prefix[n:]))
        block = self.rows.cache.read_row(row, len(prefix))
        for m in range(n, len(prefix), BLOCK):
            self.kept[prefix[: m + BLOCK]] = block[:, :, :, m : m + BLOCK].clone()
        self.rows.lengths = self.rows.lengths[:-1]
        self.prefilled += len(prefix) - n
        return len(prefix) - n

    def _blocks(self, prefix: Ids) -> Tensor | None:
        """The kept prefix [layer,2,K,T,E]; None for an empty one."""
        if not prefix:
            return None
        return torch.cat([self.kept[prefix[:m]] for m in range(BLOCK, len(prefix) + 1, BLOCK)], dim=3)

    def _extend(self, prompts: Sequence[Ids], n: int) -> Tensor:
        """Appends rows whose first n tokens are kept, and computes the rest -> hidden states [m,T,D], right-padded."""
        rows, m = self.rows, len(prompts)
        ids, lengths = pad([prompt[n:] for prompt in prompts])
        if ids.numel() < BLOCK:  # a 4-bit product of few rows rounds otherwise than one of many
            ids = F.pad(ids, (0, min(BLOCK, self.decoder.config.max_length - n) - ids.shape[1]))
        T, start = ids.shape[1], rows.n
        rows.cache.reserve(start + m, n + T)
        copied: dict[Ids, int] = {}
        for i, prompt in enumerate(prompts):
            if n and prompt[:n] not in copied:
                block = self._blocks(prompt[:n])
                assert block is not None
                rows.cache.write_row(start + i, block)
                copied[prompt[:n]] = start + i
            elif n:
                rows.cache.move_row(copied[prompt[:n]], start + i, n)
        positions = torch.arange(n, n + T, device=rows.device).expand(m, T)
        hidden = self.decoder(ids.to(rows.device), positions, _attend_after(rows, start, m, n))
        rows.lengths = torch.cat((rows.lengths, lengths + n))
        self.prefilled += int(lengths.sum())
        return hidden  # type: ignore[no-any-return]

    def _take(self, hidden: Tensor, answers: list[Row]) -> None:
        """Samples the next token of each answer from its hidden state [m,D]."""
        rows = [row.request.sampling for row in answers]
        rules = Rules.make(
            [row.temperature for row in rows],
            [row.top_k for row in rows],
            [row.top_p for row in rows],
            seed_tensor([row.seed for row in rows]),
            [row.min_p for row in rows],
        )
        ids, logprobs = sample(self.rows.logits(hidden), rules, torch.tensor([len(row.ids) for row in answers]))
        for row, id, logprob in zip(answers, ids.tolist(), logprobs.tolist(), strict=True):
            row.ids.append(id)
            row.logprobs.append(logprob)

    def forget(self) -> None:
        """Drops the least recently used blocks above KEPT_BYTES, and what follows them (before rows are admitted)."""
        each = next(iter(self.kept.values())).nbytes if self.kept else 1
        while len(self.kept) * each > KEPT_BYTES:
            gone, _ = self.kept.popitem(last=False)
            for prefix in [p for p in self.kept if p[: len(gone)] == gone]:
                del self.kept[prefix]


def _finish(row: Row, limit: int) -> str | None:
    """Turns the newest token into text; why the answer ends here, or None."""
    request = row.request
    if row.ids[-1] in request.stop_ids:
        row.text += row.out.finish()
        return "stop"
    row.text += row.out.push(row.ids[-1])
    if row.out.stopped:
        return "stop"
    if len(row.ids) >= request.sampling.max_tokens or len(request.prompt_ids) + len(row.ids) > limit:
        row.text += row.out.finish()
        return "length"
    return None


def _completion(row: Row, reason: str) -> Completion:
    return Completion(
        text=row.text,
        ids=tuple(row.ids),
        logprobs=tuple(row.logprobs),
        finish_reason=reason,
        n_prompt=len(row.request.prompt_ids),
        n_reused=row.reused,
        n_tokens=len(row.ids),
    )


def _groups(prompts: Sequence[Ids], begins: Sequence[int]) -> Iterator[list[int]]:
    """Prompts whose kept part is equally long, in padded batches of at most TAIL_TOKENS."""
    order = sorted(range(len(prompts)), key=lambda i: (begins[i], len(prompts[i]), i))
    group: list[int] = []
    for i in order:
        longest = len(prompts[i]) - begins[i]
        if group and (begins[group[0]] != begins[i] or (len(group) + 1) * longest > TAIL_TOKENS):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _attend_after(rows: Rows, start: int, m: int, n: int) -> Attend:
    """Tokens n.. of rows start..start+m-1, which look at the n cached positions and causally at each other."""
    cache = rows.cache
    mask: list[Tensor] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        stop = n + k.shape[2]
        if not mask:
            places = torch.arange(stop, device=q.device)
            mask.append(places <= places[n:, None])
        keys = cache.buffer[layer, 0, start : start + m, :, :stop]
        values = cache.buffer[layer, 1, start : start + m, :, :stop]
        keys[:, :, n:] = k
        values[:, :, n:] = v
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(q.to(keys.dtype), keys, values, attn_mask=mask[0], enable_gqa=grouped)
        return out.transpose(1, 2).to(q.dtype)

    return attend
