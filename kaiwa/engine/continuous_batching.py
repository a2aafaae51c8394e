"""Continuous batching: requests come and go between steps. Runs the scheduler's plan on rows and decodes the tokens.

The rows are `NativeSharedRows` where the C++ step is ready and `TorchSharedRows` otherwise. The kind of rows changes
only while no request is being answered, so every answer is computed by a single kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.adapters import NO_ADAPTER, AdapterTable, LoadedAdapter
from kaiwa.engine.grammar import GrammarVocabulary
from kaiwa.engine.logit_rules import LogitRules, choose
from kaiwa.engine.native import step
from kaiwa.engine.prompt_lookup import PromptLookup
from kaiwa.engine.request import CONTEXT_EXCEEDED, Event, Request, TextTokenizer, TokenInfo
from kaiwa.engine.rows.native_shared_rows import NativeSharedRows
from kaiwa.engine.rows.prefix_tree import BLOCK
from kaiwa.engine.rows.protocols import SharedRows
from kaiwa.engine.rows.torch_shared_rows import TorchSharedRows
from kaiwa.engine.sampling import SamplingRules, alternatives, seed_tensor
from kaiwa.engine.scheduler import Scheduler
from kaiwa.engine.text_stream import TextStream
from kaiwa.model.adapter import Adapter
from kaiwa.model.decoder import Decoder

MAX_TOKENS = 65536  # tokens in the cache, over all rows
CACHE_BYTES = 4 << 30  # bytes that these tokens may take; a model's whole context always fits
LOGIT_ROWS = 64  # rows of logits at a time, for a prompt's log-probabilities
KEPT_BYTES = 384 << 20  # bytes for cached prefixes that no request uses at the moment


@dataclass(slots=True)
class RunningAnswer:
    """A request under way."""

    request: Request
    out: TextStream
    ids: tuple[int, ...]  # the soft prompt's positions, then the prompt's tokens
    max_tokens: int
    known: LoadedAdapter = NO_ADAPTER  # the adapter it names
    length: int = 0  # positions in the cache
    tokens: list[int] = field(default_factory=list)  # answered so far
    prompt: list[TokenInfo] = field(default_factory=list)
    cached: int = 0
    logit_rules: LogitRules | None = None
    lookup: PromptLookup | None = None

    @property
    def n_soft(self) -> int:
        """Positions of the soft prompt, before the request's own tokens."""
        return len(self.ids) - len(self.request.prompt_ids)


class ContinuousBatching:
    """The loop of a serving engine: `add` queues a request, `step` computes a token for each running request."""

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
        """Prepare an empty loop.

        `reuse`: prompts with a common prefix share its keys and values (False: the slow twin). `draft`: number of
        tokens guessed by prompt lookup, with the C++ step only (prompt_lookup.py). `exact`: the torch step shares in
        fp32 only and computes prompts singly. In bf16 the rounding of a product depends on its height, and an answer
        would depend on earlier requests.
        """
        self.decoder, self.tokenizer, self.dtype, self.max_length = decoder, tokenizer, dtype, max_length
        c = decoder.config
        per_token = c.cache_numbers * dtype.itemsize
        self.kept_tokens = KEPT_BYTES // per_token if reuse else 0
        self.scheduler = Scheduler(max_rows, max(min(MAX_TOKENS, CACHE_BYTES // per_token), max_length))
        self.exact = exact
        self._model: step.NativeModel | None = None  # what computes; None: torch
        self.rows: SharedRows = TorchSharedRows(decoder, dtype, self.kept_tokens, side_by_side=not exact)
        self.answers: dict[str, RunningAnswer] = {}
        self.adapters = AdapterTable(c, max_length)
        self._wants_reuse, self.draft = reuse, draft
        self.reuse = self._may_reuse(None)
        self._rules: tuple[tuple[str, ...], SamplingRules] | None = None  # of the requests sampled last
        self._vocabulary: GrammarVocabulary | None = None  # built for the first grammar

    def use(self, model: step.NativeModel | None) -> None:
        """Compute with the C++ step from now on, or with torch (None). Only while no request is running."""
        assert self.idle
        self._model, self.reuse = model, self._may_reuse(model)
        if model is None:
            self.rows = TorchSharedRows(self.decoder, self.dtype, self.kept_tokens, side_by_side=not self.exact)
            return
        s = self.scheduler
        self.rows = NativeSharedRows(
            model,
            self.dtype,
            max_rows=s.max_rows,
            max_tokens=s.max_tokens,
            max_length=self.max_length,
            kept_tokens=self.kept_tokens,
        )

    @property
    def is_native(self) -> bool:
        """Whether the C++ step computes."""
        return self._model is not None

    @property
    def will_switch(self) -> bool:
        """Whether the way of computing changes: the C++ step is being prepared, or takes over when all have ended."""
        return step.is_pending(self.decoder) or step.ready(self.decoder) is not self._model

    def _may_reuse(self, model: step.NativeModel | None) -> bool:
        whole = model is not None or not self.exact or self.decoder.embed.weight.dtype == torch.float32
        return self._wants_reuse and whole

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Register an adapter. UserError for a name in use already, or an adapter of another shape."""
        self.adapters.add(name, adapter)

    def remove_adapter(self, name: str) -> None:
        """Remove an adapter and its cached prefixes. UserError while requests use the adapter."""
        if name and self.uses(name):
            raise UserError(f"adapter {name!r} is answering requests; let them finish")
        self.rows.tree.forget(self.adapters.remove(name))

    def uses(self, name: str) -> bool:
        """Return whether any unfinished request names the adapter."""
        return any(answer.request.adapter == name for answer in self.answers.values())

    def add(self, request: Request) -> tuple[str, ...]:
        """Queue a request, and return the keywords of its schema without effect.

        UserError if the request does not fit, repeats an id, or names an unknown adapter.
        """
        known = self.adapters.get(request.adapter)
        n_soft, V = known.n_soft, self.decoder.config.vocab_size
        ids = (*range(V, V + n_soft), *request.prompt_ids)
        room = self.max_length - len(ids)
        if room < 0 or (room < 1 and request.sampling.max_tokens > 0):
            soft = f" with {n_soft} of the soft prompt" if n_soft else ""
            raise UserError(
                f"this model's maximum context length is {self.max_length} tokens, and the prompt has {len(ids)}{soft};"
                " shorten the prompt",
                field="prompt",
                code=CONTEXT_EXCEEDED,
            )
        if request.id in self.answers:
            raise UserError(f"request {request.id!r} is under way already; give each its own id")
        if not all(0 <= i < V for i in request.prompt_ids):
            raise UserError(f"the prompt has a token id outside 0 to {V - 1}", field="prompt")
        if self.idle and (model := step.ready(self.decoder)) is not self._model:
            self.use(model)
        has_rules = request.sampling.changes_logits or request.reasoning is not None
        logit_rules = self._make_logit_rules(request) if has_rules else None
        self.scheduler.add(request.id, len(ids), min(request.sampling.max_tokens, room))
        out = TextStream(self.tokenizer, request.sampling.stop, dict(request.shown_specials))
        self.answers[request.id] = RunningAnswer(
            request, out, ids, request.sampling.max_tokens, known, logit_rules=logit_rules
        )
        return logit_rules.grammar.unenforced if logit_rules is not None and logit_rules.grammar is not None else ()

    def _make_logit_rules(self, request: Request) -> LogitRules:
        V = self.decoder.config.vocab_size
        if request.sampling.grammar is not None and self._vocabulary is None and self.tokenizer is not None:
            self._vocabulary = GrammarVocabulary(self.tokenizer, V)
        return LogitRules(request, V, self._vocabulary)

    @torch.inference_mode()  # keeps the row's keys and values, in memory that steps made
    def cancel(self, id: str) -> bool:
        """End a request without a further event. Return whether a request had the id."""
        if id not in self.answers:
            return False
        self._remove({id})
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Run a step and return the new events. A step computes at most one chunk of prompts."""
        plan = self.scheduler.plan(self._begin)
        fed: list[tuple[str, Sequence[int]]] = [(id, self._next(self.answers[id])) for id in plan.decode]
        work = fed + [(id, self.answers[id].ids[start:stop]) for id, start, stop in plan.prefill]
        if not work:
            return []
        results = self.rows.run(work)
        states = results[: len(fed)]
        answers = [(self.answers[id], tokens) for id, tokens in fed]
        chunks = list(zip(plan.prefill, results[len(fed) :], strict=True))
        self._prompt_logprobs([(self.answers[id], start, chunk) for (id, start, _), chunk in chunks])
        events: list[Event] = []
        for (id, _, stop), chunk in chunks:
            answer = self.answers[id]
            answer.length = stop
            if self.reuse:
                self.rows.share(id, answer.ids[:stop])
            if not self.scheduler.note_prefilled(id, stop):
                continue
            if answer.max_tokens == 0:
                prompt = tuple(answer.prompt)
                events.append(Event(id=id, prompt=prompt, finish_reason="length", cached=_cached(answer)))
                continue
            answer.length -= 1  # the prompt's last token is fed next
            answers.append((answer, answer.ids[-1:]))
            states.append(chunk[-1:])
        if answers:
            events = self._sample(self.rows.logits(torch.cat(states)), answers) + events
        self._remove({event.id for event in events if event.finish_reason is not None})
        return events

    def _next(self, answer: RunningAnswer) -> list[int]:
        """Return the tokens to feed: the newest token, and guesses of the tokens after it."""
        last = answer.tokens[-1]
        request = answer.request
        room = min(answer.max_tokens - len(answer.tokens), self.max_length - answer.length) - 1
        n = min(self.draft, room)
        if n < 1 or answer.logit_rules is not None or not self.rows.rewinds:
            return [last]
        if answer.lookup is None:
            answer.lookup = PromptLookup((*request.prompt_ids, *answer.tokens))
        return [last, *answer.lookup.guess(n)]

    def _begin(self, id: str) -> int | None:
        """Open a request's row. Return the number of cached prompt tokens, or None if another request is computing the
        same prefix: the scheduler then tries again at the next step."""
        answer = self.answers[id]
        request, known = answer.request, answer.known
        ids = answer.ids[: answer.n_soft + request.logprobs_from] if request.prompt_logprobs else answer.ids
        ids = ids if self.reuse else ()
        if ids:
            beginning = ids[: self.rows.count_cached(ids, known.space) + BLOCK]
            others = [other for i in self.scheduler.prefilling if (other := self.answers[i]).known is known]
            if len(ids) > len(beginning) and any(o.ids[: len(beginning)] == beginning for o in others):
                return None
        cached = answer.cached = self.rows.open(id, ids, known.adapter, known.space)
        return cached

    def _prompt_logprobs(self, chunks: list[tuple[RunningAnswer, int, Tensor]]) -> None:
        """Note log-probabilities of prompts' tokens. chunks: (answer, where the chunk begins, its states [T,D])."""
        who: list[
            tuple[RunningAnswer, int]
        ] = []  # for each state: the answer and the place of the token that it predicts
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
        n_top = max(1, *(answer.request.logprobs for answer, _ in who))
        targets = torch.tensor([answer.ids[i] for answer, i in who])
        at = 0
        for part in torch.cat(states).split(LOGIT_ROWS):
            logprobs = self.rows.logits(part).log_softmax(dim=-1)
            index = targets[at : at + len(part)].to(logprobs.device)
            chosen = logprobs.gather(1, index[:, None])[:, 0].tolist()
            values, best = logprobs.topk(n_top, dim=-1)
            rows = zip(who[at : at + len(part)], chosen, best.tolist(), values.tolist(), strict=True)
            for (answer, i), logprob, top_ids, top_values in rows:
                top = tuple(zip(top_ids, top_values, strict=True))[: answer.request.logprobs]
                answer.prompt.append(TokenInfo(answer.ids[i], logprob, top))
            at += len(part)

    def _sample(self, logits: Tensor, fed: list[tuple[RunningAnswer, Sequence[int]]]) -> list[Event]:
        """Sample after each fed token, logits [tokens,V]. Return an event for each new token.

        A guess is accepted if it equals the sampled token; everything computed after the first miss is dropped.
        """
        answers = [answer for answer, tokens in fed for _ in tokens]
        who = tuple(answer.request.id for answer in answers)
        if self._rules is None or self._rules[0] != who:
            self._rules = (who, _rules(answers))
        rules = self._rules[1]
        n_top = max(answer.request.logprobs for answer in answers)
        tops: list[tuple[tuple[int, float], ...]] = [()] * len(answers)
        if n_top:
            others, values = alternatives(logits, rules.temperature, n_top)
            rows = zip(answers, others.tolist(), values.tolist(), strict=True)
            tops = [tuple(zip(o, v, strict=True))[: a.request.logprobs] for a, o, v in rows]
        places = torch.tensor([len(answer.tokens) + i for answer, tokens in fed for i in range(len(tokens))])
        ids, logprobs, wrong = choose(logits, [answer.logit_rules for answer in answers], rules, places)
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
            if len(tokens) > 1:
                self.rows.rewind(answer.request.id, answer.length)
            row += len(tokens)
        return events

    def _event(self, answer: RunningAnswer, token: TokenInfo) -> Event:
        request = answer.request
        answer.tokens.append(token.id)
        if answer.lookup is not None:
            answer.lookup.push(token.id)
        if answer.logit_rules is not None:
            answer.logit_rules.push(token.id)
        reason = None
        if token.id in request.stop_ids:
            reason, text = "stop", answer.out.finish()
        else:
            text = answer.out.push(token.id)
            if answer.out.stopped:
                reason = "stop"
            elif answer.logit_rules is not None and answer.logit_rules.complete:
                reason, text = "stop", text + answer.out.finish()
            elif len(answer.tokens) >= answer.max_tokens or answer.length >= self.max_length:
                reason, text = "length", text + answer.out.finish()
        first = len(answer.tokens) == 1
        return Event(
            id=request.id,
            tokens=(token,),
            text=text,
            finish_reason=reason,
            stop_string=answer.out.stop_string,
            prompt=tuple(answer.prompt) if first else (),
            cached=_cached(answer) if first else 0,
        )

    def _remove(self, ids: set[str]) -> None:
        ended: dict[str, Sequence[int]] = {}
        for id in ids:
            answer = self.answers.pop(id)
            self._rules = None  # a later request may have the same id and other sampling
            if id not in self.scheduler.waiting:
                cached = (*answer.ids, *answer.tokens)[: answer.length]
                ended[id] = cached if self.reuse else ()
            self.scheduler.remove(id)
        if ended:
            self.rows.close(ended)


def _cached(answer: RunningAnswer) -> int:
    """Return how many of the request's own tokens were in the cache."""
    return max(0, answer.cached - answer.n_soft)


def _rules(answers: list[RunningAnswer]) -> SamplingRules:
    rows = [answer.request.sampling for answer in answers]
    return SamplingRules.of(rows, seed_tensor([row.seed for row in rows]))
