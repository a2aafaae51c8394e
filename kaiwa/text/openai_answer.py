"""An answer of OpenAI's protocol as a Completion, in every form that servers send.

Content is text, nothing, or parts; a refusal may have a field of its own; lone surrogates become U+FFFD. The reason of
the end is kept as the server names it: "content_filter", "tool_calls", "length"; "refusal" where the refusal's field is
filled. What the model thought in a field of its own (reasoning_content, reasoning) is not the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kaiwa.text.chat_model import ModelUnavailable
from kaiwa.text.records import Completion, ToolUse, whole_text

BROKEN = ("error", "insufficient_system_resource", "unexpected_model_error")  # reasons for an answer that broke off


def completion_from_answer(answer: Mapping[str, Any]) -> Completion:
    """Return the first choice of a chat or text answer.

    KeyError, IndexError, TypeError or AttributeError for an answer without choices, ModelUnavailable where the server
    says that the answer broke off.
    """
    choice = answer["choices"][0]
    reason = choice.get("finish_reason") or "stop"
    if reason in BROKEN:
        raise ModelUnavailable(f"the answer broke off: {choice.get('error') or reason}"[:160], "broken")
    calls: tuple[ToolUse, ...] = ()
    if "text" in choice and "message" not in choice:
        text = content_text(choice["text"])
    else:
        message = choice["message"]
        text = content_text(message.get("content"))
        if not text and isinstance(message.get("refusal"), str) and message["refusal"]:
            text, reason = message["refusal"], "refusal"
        calls = tool_calls(message)
        if not text and (message.get("tool_calls") or message.get("function_call")):
            reason = "tool_calls"
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return Completion(
        text=whole_text(text),
        finish_reason=str(reason),
        n_prompt=usage.get("prompt_tokens") or 0,
        n_reused=details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0,
        n_tokens=usage.get("completion_tokens") or 0,
        tool_calls=calls,
    )


def tool_calls(message: Mapping[str, Any]) -> tuple[ToolUse, ...]:
    """Return the calls of an assistant's message: a list, or the one of the protocol's first form (function_call).

    Arguments are JSON text, or an object, which becomes such text. Calls without a name are left out.
    """
    rows = list(message.get("tool_calls") or [])
    if message.get("function_call"):
        rows.append({"function": message["function_call"]})
    calls = []
    for row in rows:
        function = row.get("function") or {}
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        if isinstance(function.get("name"), str) and function["name"]:
            calls.append(ToolUse(name=function["name"], arguments=whole_text(text), id=str(row.get("id") or "")))
    return tuple(calls)


def content_text(content: Any) -> str:
    """Return a message's content as text: a string, None, or parts, of which those of text count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError(f"content is {type(content).__name__}")
    texts = [part if isinstance(part, str) else _part_text(part) for part in content]
    return "".join(texts)


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        raise TypeError(f"a part of the content is {type(part).__name__}")
    value = part.get("text") if part.get("type") in ("text", "output_text", None) else part.get("refusal")
    if isinstance(value, Mapping):  # as assistants' messages have it
        value = value.get("value")
    return value if isinstance(value, str) else ""
