"""What clients send, after OpenAI's API reference; `top_k`, `min_p`, `repetition_penalty` and grammars are extensions.

Types are strict: "3" is not 3. Unknown fields are ignored and named in the header X-Kaiwa-Ignored: a harmless extra
must not fail a request. Everything has a bound, since a request comes from anyone who may talk to the server.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kaiwa.serve.http.bounded_json import plain_json, whole_text
from kaiwa.serve.openai.tools import Tool, ToolChoice
from kaiwa.text.sampling import Sampling

MAX_N = 16
MAX_STOPS = 16
MAX_MESSAGES = 2048
# Accepted because common clients send them, and without effect at these values (empty: at any).
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "user": (),
    "metadata": (),
    "service_tier": (),
    "safety_identifier": (),
    "prompt_cache_key": (),
    "store": (),
    "parallel_tool_calls": (),
    "suffix": (None, ""),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
}

Name = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Strings = str | list[str]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """The rules of every request's body."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    _whole = model_validator(mode="before")(whole_text)

    def ignored(self) -> list[str]:
        """Fields that were sent and have no effect."""
        return sorted(name for name, value in (self.model_extra or {}).items() if not _neutral(name, value))


def _neutral(name: str, value: Any) -> bool:
    allowed = NEUTRAL.get(name, (None,))
    return not allowed or value in allowed


class StreamOptions(BaseModel):
    include_usage: bool = False


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class FunctionCall(BaseModel):
    name: Name
    arguments: str


class ToolCall(BaseModel):
    id: Name = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Name | None = None

    @model_validator(mode="after")
    def has_content(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError(f"a {self.role} message needs content")
        return self

    def plain(self) -> dict[str, Any]:
        """As templates want it: text in one piece, no developers, tool calls only where there are some."""
        content = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content or [])
        made: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": content}
        if self.tool_calls:
            made["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.tool_call_id:
            made["tool_call_id"] = self.tool_call_id
        return made


class JsonSchema(BaseModel):
    name: Name = "answer"
    description: str | None = None
    strict: bool | None = None
    body: Annotated[dict[str, Any], Field(alias="schema")]

    _plain = field_validator("body")(plain_json)


class ResponseFormat(BaseModel):
    """OpenAI's three, and "grammar" (ours): `definition` in the `syntax` "regex" or "lark"."""

    type: Literal["text", "json_object", "json_schema", "grammar"]
    json_schema: JsonSchema | None = None
    syntax: Literal["regex", "lark"] | None = None
    definition: Annotated[str, Field(min_length=1, max_length=1 << 16)] | None = None

    @model_validator(mode="after")
    def is_whole(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError('type "json_schema" needs the field json_schema')
        if self.type == "grammar" and (self.syntax is None or self.definition is None):
            raise ValueError('type "grammar" needs the fields syntax and definition')
        return self


class Sampled(Body):
    """What both kinds of request share."""

    model: Name
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("logit_bias")
    @classmethod
    def token_ids(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name in value or {}:
            if not (name.isdecimal() and name.isascii() and len(name) < 10):
                raise ValueError(f"{name[:20]!r} is no token id; keys are token ids as strings")
        return value

    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])


def make_sampling(body: Sampled, seed: int) -> Sampling:
    """Return the sampling that a body asks for; max_tokens and the grammar are the route's to add."""
    names = [f.name for f in fields(Sampling) if f.name in Sampled.model_fields]
    chosen = {name: value for name in names if (value := getattr(body, name)) is not None}
    bias = tuple((int(id), value) for id, value in (body.logit_bias or {}).items())
    return Sampling(**chosen | {"seed": seed, "stop": tuple(body.stops()), "logit_bias": bias})


class ChatRequest(Sampled):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None

    @model_validator(mode="after")
    def is_consistent(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self


class CompletionRequest(Sampled):
    prompt: Strings | list[int] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None  # 16
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    response_format: ResponseFormat | None = None

    def prompts(self) -> list[dict[str, Any]]:
        """One engine message's part for each prompt."""
        value: Any = self.prompt
        if isinstance(value, str):
            return [{"prompt": value}]
        if value and isinstance(value[0], int):
            return [{"prompt_ids": value}]
        return [{"prompt": p} if isinstance(p, str) else {"prompt_ids": p} for p in value]
