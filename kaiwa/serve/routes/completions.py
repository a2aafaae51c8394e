"""POST /v1/completions: plain text, with OpenAI's old shape of log-probabilities (used by lm-eval for scoring)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from kaiwa.catalog.entries import Entry
from kaiwa.serve import answers
from kaiwa.serve.answers import AnswerFormat, AnswerStream
from kaiwa.serve.exceptions import APIError
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.http.sse import event
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead, TokenAlternative, TokenDetail, usage
from kaiwa.serve.openai.protocol import CompletionRequest, make_sampling
from kaiwa.serve.routes.chat import grammar_of
from kaiwa.serve.services import ServerServices
from kaiwa.serve.worker.wire import Generate, ModelAddress, TextPrompt, TokenPrompt, Tokens

KIND = "text_completion"
MAX_PROMPTS = 64
DEFAULT_TOKENS = 16


def routes(services: ServerServices) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        entry = await answers.resolve_writer(services, body.model)
        _check(body)
        if services.shield is not None:
            services.shield.permit(logprobs=body.logprobs is not None, echo=bool(body.echo))
        requests = completion_requests(body, entry)
        head = ResponseHead.make("cmpl", entry.name)
        form = AnswerFormat(
            whole=lambda choices: _response_body(head, body, choices),
            stream=lambda events: _stream(head, body, events),
        )
        return await answers.respond(services, request, body, requests, form)

    return router


def _check(body: CompletionRequest) -> None:
    """Raise APIError for no, too many or empty prompts, and for contradicting fields."""
    prompts, n, best_of = body.prompts(), body.n or 1, _best_of(body)
    if not 0 < len(prompts) <= MAX_PROMPTS:
        message = f"{len(prompts)} prompts; 1 to {MAX_PROMPTS} go into a request"
        raise APIError(400, message, "invalid_value", "prompt")
    if [] in prompts:
        raise APIError(400, "a list of token ids is empty", "invalid_value", "prompt")
    if body.suffix and not all(isinstance(prompt, str) for prompt in prompts):
        raise APIError(400, "suffix needs a prompt of text, not of token ids", "invalid_value", "suffix")
    if body.echo and body.stream:
        raise APIError(400, "echo and stream do not go together; leave one out", "invalid_value", "echo")
    if best_of < n:
        raise APIError(400, f"best_of is {best_of}, less than n ({n}); raise it", "invalid_value", "best_of")
    if best_of > n and body.stream:
        raise APIError(400, "best_of and stream do not go together; leave one out", "invalid_value", "best_of")


def _best_of(body: CompletionRequest) -> int:
    return body.best_of or body.n or 1


def completion_requests(body: CompletionRequest, entry: Entry) -> list[Generate]:
    """Return best_of engine requests per prompt."""
    best_of = _best_of(body)
    special, prefix = bool(body.parse_special), body.add_special_tokens is not False
    prompts = [
        TextPrompt(p, special, prefix, body.suffix or None) if isinstance(p, str) else TokenPrompt(tuple(p))
        for p in body.prompts()
    ]
    grammar = grammar_of(body.response_format) if body.response_format is not None else None
    max_tokens = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    request = Generate(
        model=ModelAddress.of(entry),
        prompt=prompts[0],
        sampling=make_sampling(body, max_tokens, grammar),
        detailed=body.logprobs is not None or bool(body.echo) or best_of > (body.n or 1),
        logprobs=body.logprobs or 0,
        echo=bool(body.echo),
        grammar_field="response_format" if grammar is not None else "",
        repeatable=body.is_repeatable(scored=body.logprobs is not None or bool(body.echo)),
    )
    return answers.for_each_choice(request, prompts, best_of)


def _response_body(head: ResponseHead, body: CompletionRequest, choices: list[AnswerChoice]) -> JSONObject:
    best_of = _best_of(body)
    best = _best(choices, body.n or 1, best_of)
    return head.to_json(KIND, choices[0].fingerprint) | {
        "choices": [_choice_json(i, body, choice) for i, choice in enumerate(best)],
        "usage": usage(choices, best_of),
    }


def _best(choices: list[AnswerChoice], n: int, best_of: int) -> list[AnswerChoice]:
    """Return, of each prompt's `best_of` answers, the n with the highest log-probability per token, best first."""
    if best_of == n:
        return choices
    groups = [choices[i : i + best_of] for i in range(0, len(choices), best_of)]
    return [choice for group in groups for choice in sorted(group, key=lambda c: -c.mean_logprob)[:n]]


def _choice_json(index: int, body: CompletionRequest, choice: AnswerChoice) -> JSONObject:
    prompt = choice.prompt if body.echo else []
    tokens = prompt + choice.tokens
    return {
        "index": index,
        "text": _text(prompt) + choice.text,
        "logprobs": _logprobs(tokens, 0) if body.logprobs is not None else None,
        "finish_reason": choice.finish,
    }


def _text(tokens: Sequence[TokenDetail]) -> str:
    return b"".join(bytes(token.data) for token in tokens).decode("utf-8", errors="replace")


async def _stream(head: ResponseHead, body: CompletionRequest, events: AnswerStream) -> AsyncGenerator[str, None]:
    """Yield a chunk per piece of text, a chunk with the finish reason, usage if requested, and [DONE]."""
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    no_usage: JSONObject = {"usage": None} if with_usage else {}
    choices: dict[int, AnswerChoice] = {}

    def chunk(index: int, text: str, logprobs: JSONObject | None, finish: str | None) -> str:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return event(head.to_json(KIND, choices[index].fingerprint) | {"choices": [choice]} | no_usage)

    async with contextlib.aclosing(events):
        async for step in events:
            index, reply, choice = step.index, step.reply, step.choice
            choices[index] = choice
            if not isinstance(reply, Tokens):
                continue
            tokens = reply.tokens if body.logprobs is not None else ()
            if reply.text or tokens:
                offset = len(choice.text) - len(reply.text)
                yield chunk(index, reply.text, _logprobs(tokens, offset) if tokens else None, None)
            if choice.finish is not None:
                yield chunk(index, "", None, choice.finish)
    if with_usage:
        total = usage([choices[i] for i in sorted(choices)], body.n or 1)
        yield event(head.to_json(KIND, choices[0].fingerprint) | {"choices": [], "usage": total})
    yield "data: [DONE]\n\n"


def _logprobs(tokens: Sequence[TokenDetail], offset: int) -> JSONObject:
    """Return OpenAI's old shape. Offsets count characters; a token inside a character has the character's offset."""
    offsets, data = [], b""
    for token in tokens:
        offsets.append(offset + len(data.decode("utf-8", errors="ignore")))
        data += bytes(token.data)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_top_logprobs(token.top) for token in tokens],
        "text_offset": offsets,
    }


def _top_logprobs(top: Sequence[TokenAlternative]) -> dict[str, float] | None:
    """Return log-probabilities by token text, best first. Tokens with equal text (partial UTF-8) keep the highest."""
    by_text: dict[str, float] = {}
    for token in top:
        by_text.setdefault(token.text, token.logprob)
    return by_text or None
