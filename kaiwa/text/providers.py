"""How a server is spoken to: OpenAI's protocol, Azure's paths for it, Anthropic's and Ollama's own.

A provider may rename or drop parameters ({"max_tokens": "max_completion_tokens", "temperature": ""}) and add headers
and fields of the body. Requests and answers are built here as plain values; the transport is in client.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.openai_answer import completion_from_answer, content_text, tool_calls
from kaiwa.text.records import Completion, Conversation, Message, whole_text
from kaiwa.text.sampling import Grammar, Sampling

PROTOCOLS = ("openai", "azure", "anthropic", "ollama")
ANTHROPIC_VERSION = "2023-06-01"
ANTHROPIC_ENDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
OLLAMA_OPTIONS = ("temperature", "top_p", "seed", "stop", "top_k", "min_p", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One server's ways. protocol "": read from the URL. parameters: name -> the server's name, "" to leave it out."""

    protocol: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 120.0
    retries: int = 4

    def __post_init__(self) -> None:
        if self.protocol and self.protocol not in PROTOCOLS:
            raise UserError(f"protocol {self.protocol!r}{did_you_mean(self.protocol, PROTOCOLS)}", field="protocol")
        if not self.timeout > 0 or self.retries < 0:
            raise UserError(f"timeout {self.timeout:g} s must be above 0, retries {self.retries} at least 0")

    def protocol_of(self, url: str) -> str:
        """Return the protocol, read from the URL where none is set."""
        if self.protocol:
            return self.protocol
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host.endswith("anthropic.com"):
            return "anthropic"
        if host.endswith((".azure.com", ".azure-api.net")) and "/openai/deployments/" in parts.path:
            return "azure"
        return "ollama" if parts.port == 11434 and "/v1" not in parts.path else "openai"


USUAL_WAYS = Provider()


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL's address, ending in /, and its query, such as Azure's api-version."""
    address, _, query = url.partition("?")
    return address.rstrip("/") + "/", dict(parse_qsl(query))


def key_headers(protocol: str, api_key: str) -> dict[str, str]:
    """Return the headers that carry a key, and those that a protocol always needs."""
    always = {"anthropic-version": ANTHROPIC_VERSION} if protocol == "anthropic" else {}
    if not api_key:
        return always
    if protocol == "anthropic":
        return always | {"x-api-key": api_key}
    return {"api-key": api_key} if protocol == "azure" else {"Authorization": f"Bearer {api_key}"}


def build_request(
    protocol: str, model: str, call: GenerateCall, provider: Provider = USUAL_WAYS
) -> tuple[str, dict[str, Any]]:
    """Return path and body of one request. UserError for tools beside plain text."""
    prompt, sampling = call.prompt, call.sampling
    if call.tools and isinstance(prompt, str):
        raise UserError(f"{model}: tools need messages; plain text takes none")
    if protocol == "anthropic":
        path, body = "messages", _anthropic_body(model, prompt, sampling)
    elif protocol == "ollama":
        path, body = _ollama_request(model, prompt, sampling)
    elif isinstance(prompt, str):
        path, body = "completions", {"model": model, **sampling_fields(sampling), "prompt": prompt}
    else:
        messages = [m.to_json() for m in prompt]
        path, body = "chat/completions", {"model": model, **sampling_fields(sampling), "messages": messages}
    if call.tools:
        body["tools"] = [_anthropic_tool(tool) for tool in call.tools] if protocol == "anthropic" else [*call.tools]
    return path, _rename(body, provider.parameters) | dict(provider.body)


def read_answer(protocol: str, answer: Mapping[str, Any]) -> Completion:
    """Return a server's answer. KeyError, IndexError, TypeError or AttributeError for what is none."""
    if protocol == "anthropic":
        return _anthropic_completion(answer)
    return _ollama_completion(answer) if protocol == "ollama" else completion_from_answer(answer)


def _rename(body: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the body with parameters renamed or left out, also inside Ollama's options."""
    renamed: dict[str, Any] = {}
    for name, value in body.items():
        new = parameters.get(name, name)
        if new:
            renamed[new] = _rename(value, parameters) if name == "options" else value
    return renamed


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Return the request fields for a sampling: OpenAI's names where defined, else kaiwa's own.

    Fields that other servers may not know (top_k, min_p, a grammar …) are sent only if different from the default.
    """
    body = sampling.to_json()
    if not sampling.stop:
        del body["stop"]
    if sampling.logit_bias:
        body["logit_bias"] = {str(id): bias for id, bias in sampling.logit_bias}
    if sampling.grammar is not None:
        del body["grammar"]
        body["response_format"] = _response_format(sampling.grammar)
    return body


def _response_format(grammar: Grammar) -> dict[str, Any]:
    if grammar.kind == "json_object":
        return {"type": "json_object"}
    if grammar.kind == "json_schema":
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": json.loads(grammar.source)}}
    return {"type": "grammar", "syntax": grammar.kind, "definition": grammar.source}


def _anthropic_body(model: str, prompt: Conversation | str, sampling: Sampling) -> dict[str, Any]:
    """Return the body of /messages; it knows no seed, and no stop string of spaces only."""
    conversation = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    system = "\n\n".join(m.content for m in conversation if m.role == "system")
    messages = [_anthropic_message(m) for m in conversation if m.role != "system"]
    body: dict[str, Any] = {"model": model, "max_tokens": max(1, sampling.max_tokens), "messages": messages}
    body |= {"system": system} if system else {}
    body["temperature"] = min(1.0, sampling.temperature)
    body |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
    body |= {"top_k": sampling.top_k} if sampling.top_k else {}
    stops = [stop for stop in sampling.stop if stop.strip()]
    return body | ({"stop_sequences": stops} if stops else {})


def _anthropic_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    schema = function.get("parameters") or {"type": "object"}
    return {"name": function["name"], "description": function.get("description", ""), "input_schema": schema}


def _anthropic_message(message: Message) -> dict[str, Any]:
    """Return a message with its calls and results as parts; a tool's result is the user's there."""
    if message.role == "tool":
        part = {
            "type": "tool_result",
            "tool_use_id": message.fields.get("tool_call_id", ""),
            "content": message.content,
        }
        return {"role": "user", "content": [part]}
    calls = tool_calls(message.fields)
    if not calls:
        return message.to_json()
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    parts += [{"type": "tool_use", "id": c.id, "name": c.name, "input": _object(c.arguments)} for c in calls]
    return {"role": message.role, "content": parts}


def _object(arguments: str) -> dict[str, Any]:
    """Return a call's arguments as an object; what is none stands under "arguments"."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = arguments
    return value if isinstance(value, dict) else {"arguments": value}


def _anthropic_completion(answer: Mapping[str, Any]) -> Completion:
    usage = answer.get("usage") or {}
    reused = usage.get("cache_read_input_tokens") or 0
    n_prompt = (usage.get("input_tokens") or 0) + reused + (usage.get("cache_creation_input_tokens") or 0)
    reason = answer.get("stop_reason") or "stop"
    used = [part for part in answer["content"] if part.get("type") == "tool_use"]
    calls = [{"id": p.get("id"), "function": {"name": p.get("name"), "arguments": p.get("input")}} for p in used]
    return Completion(
        text=whole_text(content_text([part for part in answer["content"] if part.get("type") == "text"])),
        finish_reason=ANTHROPIC_ENDS.get(reason, reason),
        n_prompt=n_prompt,
        n_reused=reused,
        n_tokens=usage.get("output_tokens") or 0,
        tool_calls=tool_calls({"tool_calls": calls}),
    )


def _ollama_request(model: str, prompt: Conversation | str, sampling: Sampling) -> tuple[str, dict[str, Any]]:
    fields = sampling.to_json()
    options = {name: fields[name] for name in OLLAMA_OPTIONS if name in fields and fields[name] != []}
    options["num_predict"] = sampling.max_tokens
    if sampling.repetition_penalty != 1.0:
        options["repeat_penalty"] = sampling.repetition_penalty
    body: dict[str, Any] = {"model": model, "stream": False, "options": options}
    if sampling.grammar is not None:
        if sampling.grammar.kind not in ("json_object", "json_schema"):
            raise UserError(f"Ollama takes no {sampling.grammar.kind} grammar; use json_schema", field="grammar")
        body["format"] = "json" if sampling.grammar.kind == "json_object" else json.loads(sampling.grammar.source)
    if isinstance(prompt, str):
        return "api/generate", body | {"prompt": prompt, "raw": True}
    return "api/chat", body | {"messages": [_ollama_message(m) for m in prompt]}


def _ollama_message(message: Message) -> dict[str, Any]:
    """Return a message; Ollama takes the arguments of earlier calls as objects."""
    calls = tool_calls(message.fields)
    fields = [{"function": {"name": call.name, "arguments": _object(call.arguments)}} for call in calls]
    return message.to_json() | ({"tool_calls": fields} if fields else {})


def _ollama_completion(answer: Mapping[str, Any]) -> Completion:
    message = answer.get("message") or {}
    text, calls = answer["response"] if "response" in answer else answer["message"]["content"], tool_calls(message)
    return Completion(
        text=whole_text(content_text(text)),
        finish_reason="tool_calls" if calls and not text else answer.get("done_reason") or "stop",
        n_prompt=answer.get("prompt_eval_count") or 0,
        n_tokens=answer.get("eval_count") or 0,
        tool_calls=calls,
    )
