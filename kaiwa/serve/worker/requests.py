"""In the engine process: from a message of the server to token ids and the engine's request.

Tools go through the model's own chat template where it knows them, and otherwise as text (tools.py). Either way what
people wrote stays text: special tokens come from the template alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaiwa.core.errors import UserError
from kaiwa.engine.request import Request
from kaiwa.serve.openai.tools import as_plain, with_parsed_arguments
from kaiwa.text.jinja_template import JinjaTemplate, tool_pieces
from kaiwa.text.records import conversation
from kaiwa.text.sampling import Sampling

if TYPE_CHECKING:
    from kaiwa.catalog.load import Loaded

# Fields whose names a UserError may say, most particular first: the error then names the field.
NAMED = ("logit_bias", "max_tokens", "temperature", "top_p", "top_k", "min_p", "logprobs", "stop", "grammar")


def prompt_ids(loaded: Loaded, message: dict[str, Any]) -> list[int]:
    """The prompt's token ids. UserError for what the model's template refuses, and for a model that cannot chat."""
    if "messages" in message:
        return _chat_ids(loaded, message["messages"], message.get("tools", []))
    if "prompt_ids" in message:
        return list(message["prompt_ids"])
    return loaded.text_ids(message["prompt"]) or [loaded.tokenizer.document_end_id]


def _chat_ids(loaded: Loaded, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
    template, tokenizer = loaded.tokenizer.chat_template, loaded.tokenizer
    concerned = bool(tools) or any(m["role"] == "tool" or m.get("tool_calls") for m in messages)
    if not concerned or not loaded.entry.chat or template is None or "tools" not in template:
        return loaded.chat_ids(conversation(as_plain(messages, tools)))
    jinja = JinjaTemplate(template, tuple(tokenizer.specials), tokenizer.bos_token, tokenizer.eos_token)
    ids: list[int] = []
    for piece in tool_pieces(jinja, with_parsed_arguments(messages), tools):
        ids += [tokenizer.specials[piece.text]] if piece.special else tokenizer.encode(piece.text)
    return ids


def make_request(loaded: Loaded, message: dict[str, Any]) -> Request:
    """The engine's request from the server's message; notes the prompt's length in it. UserError for bad input."""
    ids = prompt_ids(loaded, message)
    message["prompt_tokens"] = len(ids)
    limit = loaded.context
    room = limit - len(ids)
    wanted = message.get("max_tokens")
    if wanted is not None and message.get("shorten"):
        wanted = max(min(wanted, room), 1)
    elif wanted is not None and wanted > max(room, 0) and room > 0:
        raise UserError(
            f"the prompt has {len(ids)} tokens and max_tokens is {wanted}: the context holds {limit} of both; shorten "
            "one of them"
        )
    sampling = Sampling.from_json(message | {"max_tokens": max(room, 1) if wanted is None else wanted})
    return Request(
        id=message["id"],
        prompt_ids=tuple(ids),
        sampling=sampling,
        adapter="" if loaded.adapter is None else loaded.entry.name,
        stop_ids=loaded.stop_ids,
        logprobs=message.get("logprobs", 0),
        prompt_logprobs=message.get("echo", False) and bool(message.get("detailed")),
    )


def refusal(message: dict[str, Any], error: UserError) -> dict[str, Any]:
    """The error message for a request that cannot be taken: status, code, message, and the field if it is known."""
    said = str(error)
    if "the context holds" in said or "the cache holds" in said:
        field = "prompt" if "messages" not in message else "messages"
        return {"status": 400, "code": "context_length_exceeded", "message": said, "param": field}
    if message.get("grammar") and "grammar" in said:
        return {"status": 400, "code": "invalid_value", "message": said, "param": message.get("grammar_field")}
    field_named = next((name for name in NAMED if name in said), "messages" if "messages" in message else "prompt")
    return {"status": 400, "code": "invalid_value", "message": said, "param": field_named}


def broken(message: dict[str, Any], why: str) -> dict[str, Any]:
    """The error message for an answer that cannot go on: the request's grammar is to blame, or the model."""
    if message.get("grammar") and "grammar" in why:
        return {"status": 400, "code": "invalid_value", "message": why, "param": message.get("grammar_field")}
    return {"status": 500, "code": "engine_failed", "message": why, "param": None}
