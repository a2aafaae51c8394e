"""Ollama's API (/api/chat, /api/generate, /api/embed …), as a translation: a request to ours, an answer to its lines.

Answers stream as a JSON object a line unless `stream` is false. `keep_alive`, `num_ctx` and the like have no effect,
and pictures are refused. A model's name may end in ":latest".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kaiwa.catalog.entries import Entry
from kaiwa.serve.http.bounded_json import JSONObject, plain_json
from kaiwa.serve.openai.answer_reader import ModelCall
from kaiwa.serve.openai.choice import AnswerChoice
from kaiwa.serve.openai.protocol import MAX_MESSAGES, MAX_STOPS, Body, ChatRequest, CompletionRequest, Name, Text
from kaiwa.serve.openai.tools import FunctionName, ToolDefinition

LATEST = ":latest"
NO_EFFECT = {"keep_alive": (), "truncate": (), "options": (), "context": (), "template": (), "stream": (), "raw": ()}


def model_name(name: str) -> str:
    return name.removesuffix(LATEST)


class OllamaFunction(BaseModel):
    name: FunctionName
    arguments: JSONObject = Field(default_factory=dict)


class OllamaCall(BaseModel):
    function: OllamaFunction


def no_pictures(value: list[str] | None) -> list[str] | None:
    """Return no pictures. ValueError for any."""
    if value:
        raise ValueError("this server reads text only; leave the pictures out or put them into words")
    return value


class OllamaMessage(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    tool_calls: list[OllamaCall] | None = None
    images: list[str] | None = None

    _text = field_validator("images")(no_pictures)


class Options(BaseModel):
    """The sampling of an answer, in Ollama's names. num_predict: tokens at most; below 0 as many as have room."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    num_predict: Annotated[int, Field(ge=-2, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=MAX_STOPS)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None

    def to_chat(self) -> JSONObject:
        """Return the options as fields of a chat or completion request."""
        values = self.model_dump(exclude={"num_predict", "repeat_penalty", "top_p"}, exclude_none=True)
        values |= {"repetition_penalty": self.repeat_penalty, "top_p": self.top_p or None}
        limit = self.num_predict or 0
        return values | {"max_tokens": limit if limit > 0 else None}


class OllamaBody(Body):
    model: Name
    stream: bool | None = None
    options: Options | None = None
    format: JSONObject | Literal["", "json"] | None = None
    think: bool | Literal["low", "medium", "high"] | None = None

    _plain = field_validator("format")(plain_json)

    def common(self) -> JSONObject:
        """Return the fields of a chat request that all of Ollama's requests have."""
        fields: JSONObject = {"model": self.model} | (self.options or Options()).to_chat()
        if isinstance(self.format, dict):
            schema = {"name": "answer", "schema": self.format}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.format == "json":
            fields["response_format"] = {"type": "json_object"}
        return fields

    def thinking(self) -> JSONObject:
        """Return the fields about reasoning."""
        if isinstance(self.think, str):
            return {"reasoning_effort": self.think}
        return {"enable_thinking": self.think}

    def ignored(self) -> list[str]:
        return [name for name in super().ignored() if name not in NO_EFFECT]

    @property
    def streams(self) -> bool:
        return self.stream is not False


class OllamaChatRequest(OllamaBody):
    messages: Annotated[list[OllamaMessage], Field(max_length=MAX_MESSAGES)] = Field(default_factory=list)
    tools: Annotated[list[ToolDefinition], Field(max_length=128)] | None = None

    def to_chat(self) -> ChatRequest:
        """Return the same request as a chat request. ValidationError for a broken bound of the chat API."""
        messages: list[JSONObject] = []
        pending: list[str] = []  # ids of calls without a result yet, in order
        for number, message in enumerate(self.messages):
            turn: JSONObject = {"role": message.role, "content": message.content}
            if message.tool_calls:
                pending = [f"call_{number}_{i}" for i in range(len(message.tool_calls))]
                turn["tool_calls"] = [
                    {"id": id, "type": "function", "function": _function(call.function)}
                    for id, call in zip(pending, message.tool_calls, strict=True)
                ]
            if message.role == "tool":
                turn["tool_call_id"] = pending.pop(0) if pending else f"call_{number}"
            if message.thinking:
                turn["reasoning_content"] = message.thinking
            messages.append(turn)
        tools = [tool.model_dump() for tool in self.tools or []]
        return ChatRequest.model_validate(
            self.common() | self.thinking() | {"messages": messages, "tools": tools or None}
        )


def _function(called: OllamaFunction) -> JSONObject:
    return {"name": called.name, "arguments": json.dumps(called.arguments, ensure_ascii=False)}


class OllamaGenerateRequest(OllamaBody):
    prompt: str = ""
    system: str | None = None
    suffix: str | None = None
    raw: bool | None = None
    images: list[str] | None = None

    _text = field_validator("images")(no_pictures)

    def to_chat(self) -> ChatRequest:
        """Return the request as a conversation of one question."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": self.prompt}]
        return ChatRequest.model_validate(self.common() | self.thinking() | {"messages": messages})

    def to_completion(self) -> CompletionRequest:
        """Return the request as a text to continue, in which special tokens are tokens."""
        fields = self.common() | {"prompt": self.prompt, "suffix": self.suffix, "parse_special": True}
        return CompletionRequest.model_validate(fields)


class OllamaEmbedRequest(Body):
    """/api/embed, and the older /api/embeddings with a single `prompt`."""

    model: Name
    input: str | list[str] = ""
    prompt: str = ""
    truncate: bool | None = None
    dimensions: Annotated[int, Field(ge=0, lt=2**31)] | None = None

    def ignored(self) -> list[str]:
        return [name for name in super().ignored() if name not in NO_EFFECT]


class OllamaShowRequest(BaseModel):
    model: Name = ""
    name: Name = ""


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def details(entry: Entry) -> JSONObject:
    """Return a model's details. A model's bits are those of its blocks."""
    size = f"{entry.parameters / 1e6:.1f}M" if entry.parameters < 1e9 else f"{entry.parameters / 1e9:.1f}B"
    suffix = entry.path.suffix.removeprefix(".")
    return {
        "parent_model": entry.base.name if entry.base is not None else "",
        "format": "gguf" if suffix == "gguf" else "safetensors",
        "family": entry.kind,
        "families": [entry.kind],
        "parameter_size": size,
        "quantization_level": f"{entry.bits} bits",
    }


def model_json(entry: Entry, size: int) -> JSONObject:
    """Return an entry of the list of models. size: bytes in memory, 0 if not loaded."""
    modified = datetime.fromtimestamp(entry.created, UTC).isoformat().replace("+00:00", "Z")
    head = {"name": entry.name, "model": entry.name, "modified_at": modified, "size": size}
    return head | {"digest": f"{entry.created:x}", "details": details(entry)}


def call_json(call: ModelCall) -> JSONObject:
    """Return a model's call; what is no JSON object, since it was cut, becomes {}."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = {}
    return {"function": {"name": call.name, "arguments": arguments if isinstance(arguments, dict) else {}}}


def ending(choice: AnswerChoice, seconds: float) -> JSONObject:
    """Return the fields of the last line: why the answer ended, tokens, and the time in nanoseconds."""
    nanoseconds = int(seconds * 1e9)
    return {
        "done": True,
        "done_reason": "length" if choice.finish == "length" else "stop",
        "total_duration": nanoseconds,
        "load_duration": 0,
        "prompt_eval_count": choice.prompt_tokens,
        "prompt_eval_duration": 0,
        "eval_count": choice.n_tokens,
        "eval_duration": nanoseconds,
    }
