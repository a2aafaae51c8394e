"""In the engine process: from the server's record to token ids and the engine's request, and from errors to Failed.

Tools go through the model's own chat template if the template supports tools, and otherwise as text (openai/tools.py).
Either way text written by people stays text: special tokens come from the template alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError
from kaiwa.engine.request import CONTEXT_EXCEEDED, Event, Request
from kaiwa.serve.http.bounded_json import JSONObject
from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.openai.tools import as_plain, with_parsed_arguments
from kaiwa.serve.worker.wire import ChatPrompt, Detokenize, Failed, Generate, ModelPrompt, ModelRequest, TokenPrompt
from kaiwa.text.jinja_template import template_of, tool_pieces
from kaiwa.text.records import conversation
from kaiwa.text.template import encode_pieces

if TYPE_CHECKING:
    from kaiwa.catalog.load import LoadedModel


def prompt_ids(loaded: LoadedModel, prompt: ModelPrompt) -> list[int]:
    """Return the prompt's token ids. UserError if the model's template refuses the prompt, or the model cannot chat."""
    if isinstance(prompt, ChatPrompt):
        return _chat_ids(loaded, prompt.messages, prompt.tools)
    if isinstance(prompt, TokenPrompt):
        return list(prompt.ids)
    return loaded.text_ids(prompt.text) or [loaded.tokenizer.document_end_id]


def _chat_ids(loaded: LoadedModel, messages: Sequence[ChatTurn], tools: Sequence[JSONObject]) -> list[int]:
    template, tokenizer = loaded.tokenizer.chat_template, loaded.tokenizer
    uses_tools = bool(tools) or any(m["role"] == "tool" or m.get("tool_calls") for m in messages)
    if not uses_tools or not loaded.entry.chat or template is None or "tools" not in template:
        return loaded.chat_ids(conversation(as_plain(messages, tools)))
    pieces = tool_pieces(template_of(tokenizer, template), with_parsed_arguments(messages), tools)
    return [id for ids in encode_pieces(tokenizer, pieces) for id in ids]


def make_request(loaded: LoadedModel, generate: Generate) -> Request:
    """Return the engine's request. UserError for bad input, with the field at fault."""
    ids = prompt_ids(loaded, generate.prompt)
    max_tokens, room = generate.sampling.max_tokens, loaded.context - len(ids)
    if generate.fit == "fill":
        max_tokens = max(room, 1)
    elif generate.fit == "shorten":
        max_tokens = max(min(max_tokens, room), 1)
    elif max_tokens > max(room, 0) and room > 0:
        raise UserError(
            f"the prompt has {len(ids)} tokens and max_tokens is {max_tokens}: the context holds {loaded.context} of "
            "both; shorten one of them",
            code=CONTEXT_EXCEEDED,
        )
    return Request(
        id=generate.id,
        prompt_ids=tuple(ids),
        sampling=replace(generate.sampling, max_tokens=max_tokens),
        adapter="" if loaded.adapter is None else loaded.entry.name,
        stop_ids=loaded.stop_ids,
        logprobs=generate.logprobs,
        prompt_logprobs=generate.echo and generate.detailed,
    )


def refusal(request: ModelRequest, error: UserError) -> Failed:
    """Return the error for a refused request: the code and field of the UserError if present, else "prompt"."""
    code = error.code or "invalid_value"
    return Failed(id=request.id, status=400, code=code, message=str(error), param=_client_field(request, error.field))


def failed_answer(generate: Generate, event: Event) -> Failed:
    """Return the error for a failed answer: the request's grammar is to blame, or the model."""
    if event.error_field:
        param = _client_field(generate, event.error_field)
        return Failed(id=generate.id, status=400, code="invalid_value", message=event.error, param=param)
    return Failed(id=generate.id, status=500, code="engine_failed", message=event.error)


def _client_field(request: ModelRequest, field: str) -> str:
    """Return the client's name for the field at fault."""
    if isinstance(request, Generate) and field == "grammar" and request.grammar_field:
        return request.grammar_field
    if field and field != "prompt":
        return field
    if isinstance(request, Detokenize):
        return "tokens"
    return "messages" if isinstance(getattr(request, "prompt", None), ChatPrompt) else "prompt"
