"""Requests that come and go between steps: the scheduler's plan, run on rows, turned into text.

Row order: rows that decode stand first, the row that is being prefilled is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.engine.grammar import Vocabulary
from kaiwa.engine.request import Event, Request, TextTokenizer, TokenInfo
from kaiwa.engine.runner import Rows
from kaiwa.engine.sampling import Rules, alternatives, seed_tensor
from kaiwa.engine.scheduler import Scheduler
from kaiwa.engine.shaping import Shaping, choose
from kaiwa.engine.stops import TextOut
from kaiwa.model.decoder import Decoder

MAX_TOKENS = 65536  # in the cache, over all rows


@dataclass(slots=True)
class Answer:
    """A request under way."""

    request: Request
    out: TextOut
    last: int = -1  # the newest token
    length: int = 0  # positions in the cache
    written: int = 0  # tokens answered
    prompt: list[TokenInfo] = field(default_factory=list)
    cached: int = 0
    shaping: Shaping | None = None


class Serving:
    def __init__(
        self, decoder: Decoder, tokenizer: TextTokenizer | None, dtype: torch.dtype, max_rows: int, max_length: int
    ) -> None:
        self.decoder, self.tokenizer, self.max_length = decoder, tokenizer, max_length
        self.rows = Rows(decoder, dtype)
        self.scheduler = Scheduler(max_rows, max(MAX_TOKENS, max_length))
        self.answers: dict[str, Answer] = {}
        self.order: list[str] = []  # which request each row answers
        self._rules: Rules | None = None  # of the decoding rows; None: they changed
        self._vocabulary: Vocabulary | None = None  # made for the first grammar

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def add(self, request: Request) -> None:
        room = self.max_length - len(request.prompt_ids)
        if room < 0 or (room < 1 and request.max_tokens > 0):
            raise UserError(
                f"the prompt has {len(request.prompt_ids)} tokens, the context holds {self.max_length} with the answer;"
                " shorten the prompt"
            )
        if request.id in self.answers:
            raise UserError(f"request {request.id!r} is under way already; give each its own id")
        V = self.decoder.config.vocab_size
        if not all(0 <= i < V for i in request.prompt_ids):
            raise UserError(f"the prompt has a token id outside 0 to {V - 1}")
        shaping = self._shaping(request) if request.shaped else None
        self.scheduler.add(request.id, len(request.prompt_ids), min(request.max_tokens, room))
        self.answers[request.id] = Answer(request, TextOut(self.tokenizer, request.stop), shaping=shaping)

    def _shaping(self, request: Request) -> Shaping:
        V = self.decoder.config.vocab_size
        if request.grammar is not None and self._vocabulary is None and self.tokenizer is not None:
            self._vocabulary = Vocabulary(self.tokenizer, V)
        return Shaping(request, V, self._vocabulary)

    def cancel(self, id: str) -> bool:
        if id not in self.answers:
            return False
        self._remove({id})
        return True

    @torch.inference_mode()
    def step(self) -> list[Event]:
        plan = self.scheduler.plan()
        events: list[Event] = []
        if plan.decode:
            events += self._decode()
        if plan.prefill is not None:
            events += self._prefill(*plan.prefill)
        self._remove({event.id for event in events if event.finish_reason is not None})
        return events

    def _decode(self) -> list[Event]:
        answers = [self.answers[id] for id in self.order if id in self.scheduler.decoding]
        last = torch.tensor([answer.last for answer in answers])
        hidden = self.rows.decode(last, max(answer.length for answer in answers))
        for answer in answers:
            answer.length += 1
        if self._rules is None:
            self._rules = _rules(answers)
        return self._sample(self.rows.logits(hidden), answers, self._rules)

    def _prefill(self, id: str, start: int, stop: int) -> list[Event]:
        answer = self.answers[id]
        ids = answer.request.prompt_ids
        if start == 0:
            self.rows.new_row()
            self.order.append(id)
        hidden = self.rows.append(len(self.order) - 1, torch.tensor(ids[start:stop]))
        answer.length = stop
        if answer.request.prompt_logprobs:
            self._prompt_logprobs(answer, hidden, start, stop)
        if not self.scheduler.prefilled(id, stop):
            return []
        if answer.request.max_tokens == 0:
            return [Event(id=id, prompt=tuple(answer.prompt), finish_reason="length", cached=answer.cached)]
        self._rules = None
        return self._sample(self.rows.logits(hidden[-1:]), [answer], _rules([answer]))

    def _prompt_logprobs(self, answer: Answer, hidden: Tensor, start: int, stop: int) -> None:
        ids, request = answer.request.prompt_ids, answer.request
        if start == 0:
            answer.prompt.append(TokenInfo(ids[0], None))
        targets = ids[start + 1 : stop + 1]
        logprobs = self.rows.logits(hidden[: len(targets)]).log_softmax(dim=-1)
        index = torch.tensor(targets, dtype=torch.int64, device=logprobs.device)
        chosen = logprobs.gather(1, index[:, None])[:, 0].tolist()
        values, best = logprobs.topk(max(1, request.logprobs), dim=-1)
        for i, target in enumerate(targets):
            top = tuple(zip(best[i].tolist(), values[i].tolist(), strict=True))[: request.logprobs]
            answer.prompt.append(TokenInfo(target, chosen[i], top))

    def _sample(self, logits: Tensor, answers: list[Answer], rules: Rules) -> list[Event]:
        wanted = max(answer.request.logprobs for answer in answers)
        tops: list[tuple[tuple[int, float], ...]] = [()] * len(answers)
        if wanted:
            others, values = alternatives(logits, rules.temperature, wanted)
            rows = zip(answers, others.tolist(), values.tolist(), strict=True)
            tops = [tuple(zip(o, v, strict=True))[: a.request.logprobs] for a, o, v in rows]
        places = torch.tensor([answer.written for answer in answers])
        ids, logprobs, wrong = choose(logits, [answer.shaping for answer in answers], rules, places)
        return [
            Event(id=answer.request.id, finish_reason="error", error=wrong[i])
            if i in wrong
            else self._event(answer, TokenInfo(ids[i], logprobs[i], tops[i]))
            for i, answer in enumerate(answers)
        ]

    def _event(self, answer: Answer, token: TokenInfo) -> Event:
        request = answer.request
        answer.last, answer.written = token.id, answer.written + 1
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
            elif answer.written >= request.max_tokens or answer.length >= self.max_length:
                reason, text = "length", text + answer.out.finish()
        first = answer.written == 1
        return Event(
            id=request.id,
            tokens=(token,),
            text=text,
            finish_reason=reason,
            prompt=tuple(answer.prompt) if first else (),
            cached=answer.cached if first else 0,
        )

    def _remove(self, ids: set[str]) -> None:
        for id in ids:
            self.scheduler.remove(id)
            self.answers.pop(id, None)
        if not ids & set(self.order):
            return
        # The last decoding rows fill the holes, then the prefilling row follows: it stays the last one.
        job = self.scheduler.prefilling
        tail = [i for i, id in enumerate(self.order) if job is not None and id == job.id]
        alive = [i for i, id in enumerate(self.order) if i not in tail and id not in ids]
        n = len(alive)
        movers = [i for i in alive if i >= n]
        sources = [i if i in alive else movers.pop() for i in range(n)] + tail
        self.rows.select(sources)
        self.order = [self.order[i] for i in sources]
        self._rules = None


def _rules(answers: list[Answer]) -> Rules:
    requests = [answer.request for answer in answers]
    return Rules.make(
        [r.temperature for r in requests],
        [r.top_k for r in requests],
        [r.top_p for r in requests],
        seed_tensor([r.seed for r in requests]),
        [r.min_p for r in requests],
    )
