"""Anthropic's Messages API (POST /v1/messages), as a translation: a request to a chat request, an answer to blocks.

An assistant's message at the end is a prefill: the answer goes on within it. Tools that Anthropic hosts (web search,
computer use) are left out and named in X-Kaiwa-Ignored; pictures and documents are refused.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator

from kaiwa.defend.defence import FILTERED
from kaiwa.serve.http.bounded_json import JSONObject, plain_json
from kaiwa.serve.openai.answer_reader import ModelCall
from kaiwa.serve.openai.choice import AnswerChoice
from kaiwa.serve.openai.protocol import MAX_MESSAGES, MAX_STOPS, Body, ChatRequest, Name, Text
from kaiwa.serve.openai.tools import FunctionName

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", FILTERED: "refusal"}
BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use", "tool_result")


class TextBlock(BaseModel):
    type: Literal["text"]
    text: str


class ThinkingBlock(BaseModel):
    type: Literal["thinking"]
    thinking: str


class HiddenBlock(BaseModel):
    """Reasoning that only Anthropic can read: left out."""

    type: Literal["redacted_thinking"]


class ToolUseBlock(BaseModel):
    type: Literal["tool_use"]
    id: Name
    name: FunctionName
    input: JSONObject

    def to_chat(self) -> JSONObject:
        function = {"name": self.name, "arguments": json.dumps(self.input, ensure_ascii=False)}
        return {"id": self.id, "type": "function", "function": function}


class ToolResultBlock(BaseModel):
    type: Literal["tool_result"]
    tool_use_id: Name
    content: str | list[JSONObject] | None = None
    is_error: bool | None = None

    def to_chat(self) -> JSONObject:
        return {"role": "tool", "tool_call_id": self.tool_use_id, "content": self.content or ""}


class OtherBlock(BaseModel):
    type: Name

    @field_validator("type")
    @classmethod
    def is_read(cls, value: str) -> str:
        raise ValueError(f"this server reads text only, and this is {value!r}; leave it out or put it into words")


def _block_kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return str(kind) if kind in BLOCKS else "other"


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[HiddenBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_block_kind),
]


def _joined(content: str | list[TextBlock]) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content)


class InputMessage(BaseModel):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    def to_chat(self) -> list[JSONObject]:
        """Return the message as chat messages: results of tools come first, each a message of its own."""
        blocks = [TextBlock(type="text", text=self.content)] if isinstance(self.content, str) else self.content
        text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
        if self.role != "assistant":
            results = [block.to_chat() for block in blocks if isinstance(block, ToolResultBlock)]
            return results + ([{"role": self.role, "content": text}] if text or not results else [])
        calls = [block.to_chat() for block in blocks if isinstance(block, ToolUseBlock)]
        thinking = "".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock))
        message: JSONObject = {"role": "assistant", "content": text}
        return [
            message | ({"tool_calls": calls} if calls else {}) | ({"reasoning_content": thinking} if thinking else {})
        ]


class Tool(BaseModel):
    """A tool of the client. One without input_schema is Anthropic's own, and left out."""

    type: Name | None = None
    name: FunctionName
    description: str | None = None
    input_schema: JSONObject | None = None

    _plain = field_validator("input_schema")(plain_json)

    def to_chat(self) -> JSONObject:
        function = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        return {"type": "function", "function": function}


class ToolChoice(BaseModel):
    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None

    def to_chat(self) -> object:
        if self.type == "tool":
            return {"type": "function", "function": {"name": self.name or ""}}
        return {"any": "required"}.get(self.type, self.type)


class Thinking(BaseModel):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class OutputFormat(BaseModel):
    type: Literal["json_schema"]
    body: Annotated[JSONObject, Field(alias="schema")]

    _plain = field_validator("body")(plain_json)


class OutputConfig(BaseModel):
    """The form of the answer, and how much reasoning goes into it."""

    format: OutputFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None

    def to_chat(self) -> JSONObject:
        fields: JSONObject = {"reasoning_effort": self.effort} if self.effort is not None else {}
        if self.format is not None:
            schema = {"name": "answer", "schema": self.format.body}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        return fields


class TokenCountRequest(Body):
    """The fields that the prompt depends on."""

    model: Name
    messages: Annotated[list[InputMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[TextBlock] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None

    def ignored(self) -> list[str]:
        """Return the names of request fields without effect, and of tools that are left out."""
        others = [tool.name for tool in self.tools or [] if tool.input_schema is None]
        return [*super().ignored(), *(f"tools ({name})" for name in others)]

    def to_chat(self) -> ChatRequest:
        """Return the same request as a chat request. ValidationError for a broken bound of the chat API."""
        messages = [turn for message in self.messages for turn in message.to_chat()]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": _joined(self.system)})
        tools = [tool.to_chat() for tool in self.tools or [] if tool.input_schema is not None]
        choice, thinking = self.tool_choice, self.thinking
        thinks = thinking is not None and thinking.type != "disabled"
        return ChatRequest.model_validate(
            {
                "model": self.model,
                "messages": messages,
                "tools": tools or None,
                "tool_choice": choice.to_chat() if choice is not None and tools else None,
                "parallel_tool_calls": False if choice is not None and choice.disable_parallel_tool_use else None,
                "continue_final_message": self.messages[-1].role == "assistant",
                "enable_thinking": thinks,
                "thinking_budget": thinking.budget_tokens if thinking is not None and thinks else None,
                **self.sampling(),
            }
        )

    def sampling(self) -> JSONObject:
        """Return the fields of the chat request about sampling."""
        return {}


class MessagesRequest(TokenCountRequest):
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)]
    stop_sequences: Annotated[list[Text], Field(max_length=MAX_STOPS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stream: bool | None = None
    output_config: OutputConfig | None = None

    def sampling(self) -> JSONObject:
        return (self.output_config or OutputConfig()).to_chat() | {
            "max_tokens": self.max_tokens,
            "stop": self.stop_sequences,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
        }


def message_json(
    id: str, model: str, content: list[JSONObject], finish: str | None, choice: AnswerChoice
) -> JSONObject:
    """Return a Message. finish: the chat API's finish reason, None while the answer goes on."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        **stop_json(finish, choice),
        "usage": usage_json(choice),
    }


def stop_json(finish: str | None, choice: AnswerChoice) -> JSONObject:
    """Return why an answer ended; nulls while it goes on. finish: the chat API's finish reason."""
    if finish == "stop" and choice.stop:
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop}
    return {"stop_reason": None if finish is None else STOP_REASONS.get(finish, "end_turn"), "stop_sequence": None}


def usage_json(choice: AnswerChoice) -> JSONObject:
    return {
        "input_tokens": choice.prompt_tokens - choice.cached,
        "cache_read_input_tokens": choice.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": choice.n_tokens,
    }


def content_blocks(content: str | None, reasoning: str, calls: list[ModelCall]) -> list[JSONObject]:
    """Return an answer's blocks. A call that was cut has the input {}: what is no JSON cannot be an object."""
    blocks: list[JSONObject] = [{"type": "thinking", "thinking": reasoning, "signature": ""}] if reasoning else []
    blocks += [{"type": "text", "text": content}] if content else []
    return blocks + [tool_use_block(call) for call in calls]


def tool_use_block(call: ModelCall) -> JSONObject:
    try:
        value = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        value = {}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": value if isinstance(value, dict) else {}}


def fresh_message_id() -> str:
    return f"msg_{secrets.token_hex(12)}"
