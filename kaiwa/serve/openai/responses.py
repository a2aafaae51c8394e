"""OpenAI's Responses API, its stateless core, as a translation: a request to a chat request, an answer to output items.

Nothing is stored, so `previous_response_id`, `conversation` and GET /v1/responses/{id} are refused in words, and hosted
tools (web search, files, code) do not exist. `store` is accepted and has no effect.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from kaiwa.defend.defence import FILTERED
from kaiwa.serve.http.bounded_json import JSONObject, plain_json
from kaiwa.serve.openai.answer_reader import ModelCall
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead, usage
from kaiwa.serve.openai.protocol import MAX_MESSAGES, Body, ChatRequest, Name, text_kind
from kaiwa.serve.openai.tools import FunctionName, OtherTool, other_tools, tool_kind

LOGPROBS = "message.output_text.logprobs"  # what can be included


class InputPart(BaseModel):
    """A part of text; an assistant's refusal has its text in another field."""

    type: Annotated[str, BeforeValidator(text_kind)]
    text: str = ""
    refusal: str = ""


Content = str | list[InputPart]


def text_of(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text or part.refusal for part in content)


class MessageItem(BaseModel):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    def to_chat(self) -> JSONObject:
        return {"role": self.role, "content": text_of(self.content)}


class CallItem(BaseModel):
    type: Literal["function_call"]
    call_id: Name
    name: FunctionName
    arguments: str

    def to_chat(self) -> JSONObject:
        call = {"id": self.call_id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}


class ResultItem(BaseModel):
    """A function's result: text, or a list of parts of text."""

    type: Literal["function_call_output"]
    call_id: Name
    output: str | list[JSONObject]

    def to_chat(self) -> JSONObject:
        return {"role": "tool", "content": self.output, "tool_call_id": self.call_id}


class ReasoningItem(BaseModel):
    """An earlier answer's reasoning. Encrypted reasoning is not ours and cannot be read."""

    type: Literal["reasoning"]
    content: list[InputPart] | None = None

    def to_chat(self) -> JSONObject:
        return {"role": "assistant", "content": "", "reasoning_content": text_of(list(self.content or []))}


class OtherItem(BaseModel):
    """An item of a tool that other servers host, such as web_search_call: left out of the conversation."""

    type: Name

    @field_validator("type")
    @classmethod
    def is_whole(cls, value: str) -> str:
        if value == "item_reference":
            raise ValueError("this server keeps no items; send the item itself")
        return value


ITEMS = ("message", "function_call", "function_call_output", "reasoning")
Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(lambda value: tool_kind(value, ITEMS, "message")),
]


class FunctionTool(BaseModel):
    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: JSONObject | None = None
    strict: bool | None = None

    _plain = field_validator("parameters")(plain_json)

    def to_chat(self) -> JSONObject:
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[OtherTool, Tag("other")],
    Discriminator(tool_kind),
]


class NamedChoice(BaseModel):
    type: Literal["function"]
    name: FunctionName


Choice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedChoice, Tag("function")]
    | Annotated[OtherTool, Tag("other")],  # a tool that is left out: as if it were "auto"
    Discriminator(lambda value: "word" if isinstance(value, str) else tool_kind(value)),
]


class TextFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    strict: bool | None = None
    body: Annotated[JSONObject | None, Field(alias="schema")] = None

    _plain = field_validator("body")(plain_json)

    @model_validator(mode="after")
    def is_whole(self) -> TextFormat:
        if self.type == "json_schema" and self.body is None:
            raise ValueError('type "json_schema" needs the field schema')
        return self


class TextOptions(BaseModel):
    format: TextFormat | None = None


class ReasoningOptions(BaseModel):
    effort: Name | None = None


class ResponsesRequest(Body):
    model: Name
    input: str | Annotated[list[Item], Field(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Choice | None = None
    include: Annotated[list[Name], Field(max_length=64)] | None = None  # LOGPROBS; others are named in X-Kaiwa-Ignored
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    reasoning: ReasoningOptions | None = None
    previous_response_id: None = None
    conversation: None = None
    background: Literal[False] | None = None

    @field_validator("previous_response_id", "conversation", mode="before")
    @classmethod
    def is_stateless(cls, value: object) -> object:
        if value is not None:
            raise ValueError("this server keeps no responses; send the whole conversation in input")
        return value

    def functions(self) -> list[FunctionTool]:
        return [tool for tool in self.tools or [] if isinstance(tool, FunctionTool)]

    def ignored(self) -> list[str]:
        """Return the names of request fields without effect, and of tools that are left out."""
        parts = [f"include ({name})" for name in dict.fromkeys(self.include or []) if name != LOGPROBS]
        return [*super().ignored(), *other_tools(self.tools or []), *parts]

    @property
    def scored(self) -> bool:
        """Whether the answer's log-probabilities are asked for."""
        return LOGPROBS in (self.include or []) or self.top_logprobs is not None

    def to_chat(self) -> ChatRequest:
        """Return the same request as a chat request. ValidationError for a broken bound of the chat API."""
        items: list[Item] = (
            [MessageItem(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        )
        messages = [item.to_chat() for item in items if not isinstance(item, OtherItem)]
        if self.instructions is not None:
            messages.insert(0, {"role": "system", "content": self.instructions})
        choice = self.tool_choice
        named = {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedChoice) else choice
        named = "auto" if isinstance(named, OtherTool) else named
        return ChatRequest.model_validate(
            {
                "model": self.model,
                "messages": _join_calls(messages),
                "max_completion_tokens": self.max_output_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "seed": self.seed,
                "stream": self.stream,
                "logprobs": self.scored or None,
                "top_logprobs": self.top_logprobs,
                "tools": [tool.to_chat() for tool in self.functions()] or None,
                "tool_choice": named,
                "parallel_tool_calls": self.parallel_tool_calls,
                "truncation": self.truncation,
                "reasoning_effort": self.reasoning.effort if self.reasoning is not None else None,
                "response_format": self._format(),
            }
        )

    def _format(self) -> JSONObject | None:
        form = self.text.format if self.text is not None else None
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "json_object"}
        schema = {"name": form.name or "answer", "schema": form.body, "strict": form.strict}
        return {"type": "json_schema", "json_schema": schema}


def _join_calls(messages: Sequence[JSONObject]) -> list[JSONObject]:
    """Join reasoning, text and consecutive calls of the assistant into a single turn of the assistant."""
    turns: list[JSONObject] = []
    for message in messages:
        last = turns[-1] if turns else {}
        calls, earlier = message.get("tool_calls"), last.get("tool_calls", [])
        if isinstance(calls, list) and isinstance(earlier, list) and last.get("role") == "assistant":
            last["tool_calls"] = earlier + calls
        elif message["role"] == last.get("role") == "assistant" and "reasoning_content" in last and not last["content"]:
            last |= message
        else:
            turns.append(dict(message))
    return turns


def text_part(text: str, logprobs: Sequence[JSONObject] = ()) -> JSONObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def message_item(text: str, status: str, logprobs: Sequence[JSONObject] = ()) -> JSONObject:
    content = [text_part(text, logprobs)] if status != "in_progress" else []
    id = f"msg_{secrets.token_hex(12)}"
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}


def reasoning_item(text: str, status: str) -> JSONObject:
    """Return the output item of a model's reasoning."""
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {
        "id": f"rs_{secrets.token_hex(12)}",
        "type": "reasoning",
        "status": status,
        "summary": [],
        "content": content,
    }


def call_item(call: ModelCall) -> JSONObject:
    """Return the output item of a model's call."""
    return {
        "id": f"fc_{secrets.token_hex(12)}",
        "type": "function_call",
        "status": "completed" if call.complete else "incomplete",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def response_object(
    head: ResponseHead, body: ResponsesRequest, status: str, output: list[JSONObject], choice: AnswerChoice | None
) -> JSONObject:
    """Return the Response object. status: in_progress, completed, incomplete or failed; choice: None at first."""
    filtered = choice is not None and choice.finish == FILTERED
    cut = {"reason": FILTERED if filtered else "max_output_tokens"} if status == "incomplete" else None
    form = body.text.format if body.text is not None else None
    return {
        "id": head.id,
        "object": "response",
        "created_at": head.created,
        "status": status,
        "error": None,
        "incomplete_details": cut,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": head.model,
        "output": output,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": body.reasoning.effort if body.reasoning is not None else None, "summary": None},
        "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        "tool_choice": body.model_dump()["tool_choice"] or "auto",
        "tools": [tool.model_dump() for tool in body.tools or []],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "usage": _usage(choice) if choice is not None else None,
        "user": None,
        "metadata": {},
    }


def _usage(choice: AnswerChoice) -> JSONObject:
    counted = usage([choice], 1)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": choice.cached, "cache_write_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": choice.n_reasoning},
        "total_tokens": counted["total_tokens"],
    }
