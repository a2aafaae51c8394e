"""What clients send, after OpenAI's API reference; `top_k` is an extension.

Unknown fields are ignored and named in the header X-Kaiwa-Ignored: a harmless extra must not fail a request.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_N = 16
# Accepted because common clients always send them, and without effect at these values.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0, None),
    "frequency_penalty": (0, None),
    "best_of": (1, None),
    "logit_bias": ({}, None),
    "user": (),
    "suffix": (None, ""),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
}

Strings = str | list[str]


class StreamOptions(BaseModel):
    include_usage: bool = False


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class Sampled(BaseModel):
    """What both kinds of request share."""

    model_config = ConfigDict(extra="allow")

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Strings | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])

    def ignored(self) -> list[str]:
        """Fields that were sent and have no effect."""
        extra = self.model_extra or {}
        return sorted(name for name, value in extra.items() if name not in NEUTRAL or value not in NEUTRAL[name])


class ChatRequest(Sampled):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class CompletionRequest(Sampled):
    prompt: Strings | list[int] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=0)] | None = 16
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None

    def prompts(self) -> list[dict[str, Any]]:
        """One engine message's part for each prompt."""
        value: Any = self.prompt
        if isinstance(value, str):
            return [{"prompt": value}]
        if value and isinstance(value[0], int):
            return [{"prompt_ids": value}]
        return [{"prompt": p} if isinstance(p, str) else {"prompt_ids": p} for p in value]
