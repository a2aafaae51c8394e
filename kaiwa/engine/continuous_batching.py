"""Requests that come and go between steps: the scheduler's plan, run on rows, turned into text.

The rows are `PagedRows` where the C++ step is ready and `CopiedRows` (torch) otherwise. Who computes changes only while
nothing is being answered, so that no answer is half the one's and half the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.adapters import NONE, Adapters, Known
from kaiwa.engine.grammar import GrammarVocabulary
from kaiwa.engine.logit_rules import Shaping, choose
from kaiwa.engine.native import step
from kaiwa.engine.prompt_lookup import Lookup
from kaiwa.engine.request import CONTEXT_EXCEEDED, Event, Request, TextTokenizer, TokenInfo
from kaiwa.engine.rows.native_shared_rows import PagedRows
from kaiwa.engine.rows.prefix_tree import BLOCK
from kaiwa.engine.rows.torch_shared_rows import CopiedRows
from kaiwa.engine.sampling import Rules, alternatives, seed_tensor
from kaiwa.engine.scheduler import Scheduler
from kaiwa.engine.text_stream import TextOut
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder

MAX_TOKENS = 65536  # in the cache, over all rows
CACHE_BYTES = 4 << 30  # that they may take, if the model's context fits in so much
LOGIT_ROWS = 64  # of a prompt at a time
KEPT_BYTES = 384 << 20  # for beginnings that nobody uses at the moment


@dataclass(slots=True)
class Answer:
    """A request under way."""

    request: Request
    out: TextOut
    ids: tuple[int, ...]  # the prompt's, after those that stand for the soft prompt
    max_tokens: int
    known: Known = NONE  # its adapter
    length: int = 0  # positions in the cache
    tokens: list[int] = field(default_factory=list)  # answered
    prompt: list[TokenInfo] = field(default_factory=list)
    cached: int = 0
    shaping: Shaping | None = None
    lookup: Lookup | None = None

    @property
    def n_soft(self) -> int:
        return len(self.ids) - len(self.request.prompt_ids)


class Serving:
    def __init__(
        self,
        decoder: Decoder,
        tokenizer: TextTokenizer | None,
        dtype: torch.dtype,
        max_rows: int,
        max_length: int,
        *,
        reuse: bool = True,
        draft: int = 0,
        exact: bool = True,
    ) -> None:
        """`reuse`: prompts with a common prefix share its keys and values (False: the slow twin). `draft`: so many
        tokens are guessed by looking back, where the C++ step computes (prompt_lookup.py).

        `exact`: the torch step shares in fp32 only and computes prompts one by one. In bf16 its products of other
        heights round otherwise, and an answer would depend on what was asked before.
        """
        self.decoder, self.tokenizer, self.dtype, self.max_length = decoder, tokenizer, dtype, max_length
        c = decoder.config
        per_token = c.cache_numbers * dtype.itemsize
        self.kept = KEPT_BYTES // per_token if reuse else 0
        self.scheduler = Scheduler(max_rows, max(min(MAX_TOKENS, CACHE_BYTES // per_token), max_length))
        self.exact = exact
        self.rows: CopiedRows | PagedRows = CopiedRows(decoder, dtype, self.kept, side_by_side=not exact)
        self.answers: dict[str, Answer] = {}
        self.adapters = Adapters(c, max_length)
        self._wants_reuse, self.draft = reuse, draft
        self.reuse = self._may_reuse(None)
        self._rules: tuple[tuple[str, ...], Rules] | None = None  # of the requests sampled last
        self._vocabulary: GrammarVocabulary | None = None  # made for the first grammar

    def use(self, model: step.FusedModel | None) -> None:
        """Computes with the C++ step from now on, or with torch (None). Only while nothing is being answered."""
        assert self.idle
        self.reuse = self._may_reuse(model)
        if model is None:
            self.rows = CopiedRows(self.decoder, self.dtype, self.kept, side_by_side=not self.exact)
            return
        s = self.scheduler
        self.rows = PagedRows(model, self.dtype, s.max_rows, s.max_tokens, self.max_length, self.kept)

    def _may_reuse(self, model: step.FusedModel | None) -> bool:
        whole = model is not None or not self.exact or self.decoder.embed.weight.dtype == torch.float32
        return self._wants_reuse and whole

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Requests may name it from now on. UserError for a name that is taken or an adapter of another shape."""
        self.adapters.add(name, adapter)

    def remove_adapter(self, name: str) -> None:
        """Also what is kept of prompts that were answered with it. UserError while requests use it."""
        if name and self.uses(name):
            raise UserError(f"adapter {name!r} is answering requests; let them finish")
        self.rows.tree.forget(self.adapters.remove(name))

    def uses(self, name: str) -> bool:
        """Whether a request that has not ended names the adapter."""
        return any(answer.request.adapter == name for answer in self.answers.values())

    def add(self, request: Request) -> None:
        known = self.adapters.get(request.adapter)
        n_soft, V = known.n_soft, self.decoder.config.vocab_size
        ids = (*range(V, V + n_soft), *request.prompt_ids)
        room = self.max_length - len(ids)
        if room < 0 or (room < 1 and request.sampling.max_tokens > 0):
            soft = f" with {n_soft} of the soft prompt" if n_soft else ""
            raise UserError(
                f"the prompt has {len(ids)} tokens{soft}, the context holds {self.max_length} with the answer; shorten"
                " the prompt",
                field="prompt",
                code=CONTEXT_EXCEEDED,
            )
        if request.id in self.answers:
            raise UserError(f"request {request.id!r} is under way already; give each its own id")
        if not all(0 <= i < V for i in request.prompt_ids):
            raise UserError(f"the prompt has a token id outside 0 to {V - 1}", field="prompt")
        if self.idle and (model := step.ready(self.decoder)) is not (
            self.rows.model if isinstance(self.rows, PagedRows) else None
        ):
            self.use(model)
        shaping = self._shaping(request) if request.sampling.changes_logits else None
        self.scheduler.add(request.id, len(ids), min(request.sampling.max_tokens, room))
        out = TextOut(self.tokenizer, request.sampling.stop)
        self.answers[request.id] = Answer(request, out, ids, request.sampling.max_tokens, known, shaping=shaping)

    def _shaping(self, request: Request) -> Shaping:
        V = self.decoder.config.vocab_size
        if request.sampling.grammar is not None and self._vocabulary is None and self.tokenizer is not None:
            self._vocabulary = GrammarVocabulary(self.tokenizer, V)
        return Shaping(request, V, self._vocabulary)

    def cancel(self, id: str) -> bool:
        if id not in self.answers:
            return False
        self._remove({id})
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        plan = self.scheduler.plan(self._begin)
        fed: list[tuple[str, Sequence[int]]] = [(id, self._next(self.answers[id])) for id in plan.decode]
        work = fed + [(id, self.answers[id].ids[start:stop]) for id, start, stop in plan.prefill]
        if not work:
            return []
        found = self.rows.run(work)
        states = found[: len(fed)]
        answers = [(self.answers[id], tokens) for id, tokens in fed]
        chunks = list(zip(plan.prefill, found[len(fed) :], strict=True))
        self._prompt_logprobs([(self.answers[id], start, chunk) for (id, start, _), chunk in chunks])
        events: list[Event] = []
        for (id, _, stop), chunk in chunks:
            answer = self.answers[id]
            answer.length = stop
            if self.reuse:
                self.rows.share(id, answer.ids[:stop])
            if not self.scheduler.prefilled(id, stop):
                continue
            if answer.max_tokens == 0:
                prompt = tuple(answer.prompt)
                events.append(Event(id=id, prompt=prompt, finish_reason="length", cached=_cached(answer)))
                continue
            answer.length -= 1  # the prompt's last token is what is fed
            answers.append((answer, answer.ids[-1:]))
            states.append(chunk[-1:])
        if answers:
            events = self._sample(self.rows.logits(torch.cat(states)), answers) + events
        self._remove({event.id for event in events if event.finish_reason is not None})
        return events

    def _next(self, answer: Answer) -> list[int]:
        """What is fed: the newest token, and a draft of what may follow it."""
        last = answer.tokens[-1]
        request = answer.request
        room = min(answer.max_tokens - len(answer.tokens), self.max_length - answer.length) - 1
        n = min(self.draft, room)
        if n < 1 or answer.shaping is not None or not isinstance(self.rows, PagedRows):
            return [last]
        if answer.lookup is None:
            answer.lookup = Lookup((*request.prompt_ids, *answer.tokens))
        return [last, *answer.lookup.guess(n)]

    def _begin(self, id: str) -> int | None:
        """Opens a request's row. -> how many of its prompt's tokens are there; None: wait for one that begins alike."""
        answer = self.answers[id]
        request, known = answer.request, answer.known
        ids = answer.ids[: answer.n_soft + request.logprobs_from] if request.prompt_logprobs else answer.ids
        ids = ids if self.reuse else ()
        if ids:
            wanted = ids[: self.rows.known(ids, known.space) + BLOCK]
            others = [other for i in self.scheduler.prefilling if (other := self.answers[i]).known is known]
            if len(ids) > len(wanted) and any(o.ids[: len(wanted)] == wanted for o in others):
                return None
        cached = answer.cached = self.rows.open(id, ids, known.adapter, known.space)
        return cached

    def _prompt_logprobs(self, chunks: list[tuple[Answer, int, Tensor]]) -> None:
        """Notes the log-probabilities of prompts' tokens: (answer, where the chunk begins, its states [T,D]) each."""
        who: list[tuple[Answer, int]] = []  # whose token each state predicts, and which
        states: list[Tensor] = []
        for answer, start, chunk in chunks:
            ids, n_soft, first = answer.ids, answer.n_soft, answer.request.logprobs_from
            if not answer.request.prompt_logprobs:
                continue
            if first == 0 and start <= n_soft < start + len(chunk):
                answer.prompt.append(TokenInfo(ids[n_soft], None))
            begin, end = max(start, n_soft + max(first, 1) - 1), min(start + len(chunk), len(ids) - 1)
            who += [(answer, i + 1) for i in range(begin, end)]
            states.append(chunk[begin - start : max(begin, end) - start])
        if not who:
            return
        wanted = max(1, *(answer.request.logprobs for answer, _ in who))
        targets = torch.tensor([answer.ids[i] for answer, i in who])
        at = 0
        for some in torch.cat(states).split(LOGIT_ROWS):
            logprobs = self.rows.logits(some).log_softmax(dim=-1)
            index = targets[at : at + len(some)].to(logprobs.device)
            chosen = logprobs.gather(1, index[:, None])[:, 0].tolist()
            values, best = logprobs.topk(wanted, dim=-1)
            rows = zip(who[at : at + len(some)], chosen, best.tolist(), values.tolist(), strict=True)
            for (answer, i), logprob, top_ids, top_values in rows:
                top = tuple(zip(top_ids, top_values, strict=True))[: answer.request.logprobs]
                answer.prompt.append(TokenInfo(answer.ids[i], logprob, top))
            at += len(some)

    def _sample(self, logits: Tensor, fed: list[tuple[Answer, Sequence[int]]]) -> list[Event]:
        """logits [tokens,V] after each token that was fed -> an event for each token answered. A draft holds as far as
        it is what is sampled; what was computed after its first miss is dropped."""
        answers = [answer for answer, tokens in fed for _ in tokens]
        who = tuple(answer.request.id for answer in answers)
        if self._rules is None or self._rules[0] != who:
            self._rules = (who, _rules(answers))
        rules = self._rules[1]
        wanted = max(answer.request.logprobs for answer in answers)
        tops: list[tuple[tuple[int, float], ...]] = [()] * len(answers)
        if wanted:
            others, values = alternatives(logits, rules.temperature, wanted)
            rows = zip(answers, others.tolist(), values.tolist(), strict=True)
            tops = [tuple(zip(o, v, strict=True))[: a.request.logprobs] for a, o, v in rows]
        places = torch.tensor([len(answer.tokens) + i for answer, tokens in fed for i in range(len(tokens))])
        ids, logprobs, wrong = choose(logits, [answer.shaping for answer in answers], rules, places)
        events: list[Event] = []
        row = 0
        for answer, tokens in fed:
            for i in range(len(tokens)):
                at = row + i
                answer.length += 1
                if at in wrong:
                    error, field = str(wrong[at]), wrong[at].field
                    events.append(Event(id=answer.request.id, finish_reason="error", error=error, error_field=field))
                    break
                events.append(self._event(answer, TokenInfo(ids[at], logprobs[at], tops[at])))
                if events[-1].finish_reason is not None or tokens[i + 1 : i + 2] != [ids[at]]:
                    break
            if len(tokens) > 1 and isinstance(self.rows, PagedRows):
                self.rows.rewind(answer.request.id, answer.length)
            row += len(tokens)
        return events

    def _event(self, answer: Answer, token: TokenInfo) -> Event:
        request = answer.request
        answer.tokens.append(token.id)
        if answer.lookup is not None:
            answer.lookup.push(token.id)
        if answer.shaping is not None:
            answer.shaping.push(token.id)
        reason = None
        if token.id in request.stop_ids:
            reason, text = "stop", answer.out.finish()
        else:
            text = answer.out.push(token.id)
            if answer.out.stopped:
                reason = "stop"
            elif answer.shaping is not None and answer.shaping.complete:
                reason, text = "stop", text + answer.out.finish()
            elif len(answer.tokens) >= answer.max_tokens or answer.length >= self.max_length:
                reason, text = "length", text + answer.out.finish()
        first = len(answer.tokens) == 1
        return Event(
            id=request.id,
            tokens=(token,),
            text=text,
            finish_reason=reason,
            prompt=tuple(answer.prompt) if first else (),
            cached=_cached(answer) if first else 0,
        )

    def _remove(self, ids: set[str]) -> None:
        ended: dict[str, Sequence[int]] = {}
        for id in ids:
            answer = self.answers.pop(id)
            self._rules = None  # an id may come again and ask for something else
            if id not in self.scheduler.waiting:
                held = (*answer.ids, *answer.tokens)[: answer.length]
                ended[id] = held if self.reuse else ()
            self.scheduler.remove(id)
        if ended:
            self.rows.close(ended)


def _cached(answer: Answer) -> int:
    """Of the request's own tokens."""
    return max(0, answer.cached - answer.n_soft)


def _rules(answers: list[Answer]) -> Rules:
    rows = [answer.request.sampling for answer in answers]
    return Rules.make(
        [row.temperature for row in rows],
        [row.top_k for row in rows],
        [row.top_p for row in rows],
        seed_tensor([row.seed for row in rows]),
        [row.min_p for row in rows],
    )
