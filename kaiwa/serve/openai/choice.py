"""An answer in the terms of OpenAI's API: its text so far, its tokens, the head of its chunks, its usage."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.openai.call_forms import PLAIN, AnswerMarkup


@dataclass(frozen=True, slots=True)
class TokenAlternative:
    """An alternative to a sampled token: its text, its bytes, and its log-probability."""

    text: str
    data: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenDetail:
    """A token with its log-probability (None for the first of a prompt) and the likeliest alternatives."""

    text: str
    data: tuple[int, ...]
    logprob: float | None
    top: tuple[TokenAlternative, ...] = ()


@dataclass(slots=True)
class AnswerChoice:
    """The state of an answer during generation. Tokens are listed only if log-probabilities were requested."""

    text: str = ""
    tokens: list[TokenDetail] = field(default_factory=list)
    prompt: list[TokenDetail] = field(default_factory=list)
    n_tokens: int = 0
    prompt_tokens: int = 0
    cached: int = 0
    finish: str | None = None
    stop: str = ""  # the stop string that ended the answer
    unenforced: tuple[str, ...] = ()  # keywords of the request's schema without effect
    n_dropped: int = 0  # oldest turns of the conversation that the model did not see
    markup: AnswerMarkup = PLAIN
    fingerprint: str = ""
    n_reasoning: int = 0  # tokens of its reasoning
    reasons: bool | None = None  # whether the reasoning goes on; None: not known yet

    def start(
        self, prompt_tokens: int, cached: int, prompt: Sequence[TokenDetail], markup: AnswerMarkup = PLAIN
    ) -> None:
        """Note the prompt's length, how many of its tokens were cached, its tokens, and how the answer is read."""
        self.prompt_tokens, self.cached, self.prompt, self.markup = prompt_tokens, cached, list(prompt), markup
        self.reasons = None if markup.reasoning is not None else False

    def add(self, text: str, n_tokens: int, tokens: Sequence[TokenDetail], finish: str | None) -> None:
        """Append generated text and tokens; `finish` is the reason if the answer has ended."""
        self.text += text
        if self.reasons is not False:
            self._count_reasoning(text, n_tokens)
        self.tokens += tokens
        self.n_tokens += n_tokens
        self.finish = finish

    def _count_reasoning(self, text: str, n_tokens: int) -> None:
        assert self.markup.reasoning is not None
        opening, closing = self.markup.reasoning
        if self.reasons is None and self.text.strip():
            start = self.text.lstrip()
            undecided = len(start) < len(opening) and opening.startswith(start)
            self.reasons = self.markup.thinking or (None if undecided else start.startswith(opening))
        if self.reasons is not False:
            self.n_reasoning += n_tokens
        if closing in self.text[-len(text) - len(closing) :]:
            self.reasons = False

    @property
    def mean_logprob(self) -> float:
        """Log-probability per token, by which best_of ranks."""
        return sum(token.logprob or 0.0 for token in self.tokens) / max(1, len(self.tokens))


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The fields repeated in every chunk of a response."""

    id: str
    created: int
    model: str

    @classmethod
    def make(cls, prefix: str, model: str) -> ResponseHead:
        return cls(f"{prefix}-{secrets.token_hex(12)}", int(time.time()), model)

    def to_json(self, kind: str, fingerprint: str = "") -> JSONObject:
        """Return the fields. fingerprint: an answer's, "" while it is not known."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"system_fingerprint": fingerprint or None}


def usage(choices: Sequence[AnswerChoice], n: int) -> JSONObject:
    """Return the token counts over all choices. A prompt counts once for its n answers, which follow each other."""
    prompt = sum(choice.prompt_tokens for choice in choices[::n])
    answer = sum(choice.n_tokens for choice in choices)
    cached = sum(choice.cached for choice in choices[::n])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": sum(choice.n_reasoning for choice in choices)},
    }
