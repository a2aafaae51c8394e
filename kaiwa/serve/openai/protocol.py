"""Request bodies, after OpenAI's API reference; `top_k`, `min_p`, `repetition_penalty` and grammars are extensions.

Types are strict: "3" is not 3. Unknown fields are ignored and named in the header X-Kaiwa-Ignored: a harmless extra
must not fail a request. Everything has a bound, since a request comes from anyone who may talk to the server.
"""

from __future__ import annotations

import secrets
from dataclasses import fields
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from kaiwa.serve.http.bounded_json import JSONObject, plain_json, whole_text
from kaiwa.serve.openai.chat_turn import CalledTool, ChatTurn
from kaiwa.serve.openai.tools import ChatTool, ToolChoice, ToolDefinition, other_tools
from kaiwa.text.jinja_template import PromptEnding
from kaiwa.text.sampling import Grammar, Sampling

MAX_N = 16
MAX_STOPS = 16
LEAST_TOP_P = 1e-9
MAX_MESSAGES = 2048
TEXT_PARTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal")
THINKING_PARTS = ("thinking", "redacted_thinking")  # of an earlier answer, as Anthropic's clients send it back
TEMPLATE_NAMES = {"messages", "tools", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token"}
# Accepted because common clients send them, and without effect at these values (empty: at any).
NEUTRAL: dict[str, tuple[object, ...]] = {
    "user": (),
    "metadata": (),
    "service_tier": (),
    "safety_identifier": (),
    "prompt_cache_key": (),
    "store": (),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
}

Name = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Inputs = str | list[str] | list[int] | list[list[int]]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """The rules of every request's body."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    _whole = model_validator(mode="before")(whole_text)

    def ignored(self) -> list[str]:
        """Return the names of request fields without effect."""
        return sorted(name for name, value in (self.model_extra or {}).items() if not _is_neutral(name, value))


def _is_neutral(name: str, value: object) -> bool:
    allowed = NEUTRAL.get(name, (None,))
    return not allowed or value in allowed


def without_empty(stop: object) -> object:
    """Return stop strings without empty ones, which forms of clients send for none."""
    return [text for text in stop if text != ""] if isinstance(stop, list) else None if stop == "" else stop


class StreamOptions(BaseModel):
    include_usage: bool = False


def text_kind(kind: object) -> object:
    """Return the type of a content part if it is one of text. ValueError for a picture, a sound or a file."""
    if isinstance(kind, str) and kind not in TEXT_PARTS + THINKING_PARTS:
        raise ValueError(f"this server reads text only, and this is {kind!r}; leave it out or put it into words")
    return kind


def _in_words(part: object) -> object:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind in TEXT_PARTS + THINKING_PARTS:
        return part
    return {"type": "text", "text": f"[{kind[:40]} left out: this server reads text only]"}


class TextPart(BaseModel):
    """A part of text; an assistant's refusal and its thinking have theirs in fields of their own."""

    type: Annotated[str, BeforeValidator(text_kind)]
    text: str = ""
    refusal: str = ""
    thinking: str = ""


class FunctionCall(BaseModel):
    name: Name
    arguments: str


class ToolCall(BaseModel):
    id: Name = ""
    type: Literal["function"] = "function"
    function: FunctionCall

    def to_json(self) -> CalledTool:
        function = self.function
        return {"id": self.id, "type": self.type, "function": {"name": function.name, "arguments": function.arguments}}


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Name | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # another name of it
    prefix: bool | None = None  # Mistral's and DeepSeek's way to say that the answer goes on with this message

    @model_validator(mode="before")
    @classmethod
    def results_are_text(cls, value: object) -> object:
        """Put into words what a tool's result has beside text: a client sends it with every later request too."""
        if not (isinstance(value, dict) and value.get("role") == "tool" and isinstance(value.get("content"), list)):
            return value
        return value | {"content": [_in_words(part) for part in value["content"]]}

    @model_validator(mode="after")
    def has_content(self) -> ChatMessage:
        if self.content is None and self.role not in ("assistant", "tool"):  # an answer or a result may be empty
            raise ValueError(f"a {self.role} message needs content")
        return self

    def to_turn(self) -> ChatTurn:
        """Return the message for templates: text in a single piece, "developer" as "system", calls only if any."""
        parts = self.content if isinstance(self.content, list) else []
        content = self.content if isinstance(self.content, str) else "".join(p.text or p.refusal for p in parts)
        reasoning = self.reasoning_content or self.reasoning or "".join(part.thinking for part in parts)
        turn: ChatTurn = {"role": "system" if self.role == "developer" else self.role, "content": content}
        if self.tool_calls:
            turn["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.tool_call_id:
            turn["tool_call_id"] = self.tool_call_id
        if reasoning:
            turn["reasoning_content"] = reasoning
        return turn


class JsonSchema(BaseModel):
    name: Name = "answer"
    description: str | None = None
    strict: bool | None = None
    body: Annotated[JSONObject, Field(alias="schema")]

    _plain = field_validator("body")(plain_json)


class ResponseFormat(BaseModel):
    """OpenAI's three formats, and kaiwa's "grammar": `definition` in the `syntax` "regex" or "lark"."""

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


class SampledBody(Body):
    """The fields shared by chat and completion requests."""

    model: Name
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None  # 0: the likeliest token alone
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None  # 0 and, as vLLM's clients send it, -1: all tokens
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        Text | Annotated[list[Text], Field(max_length=MAX_STOPS)] | None, BeforeValidator(without_empty)
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def is_repeatable(self, *, scored: bool) -> bool:
        """Return whether the same request is to have the same answer: seeded, greedy, or with log-probabilities."""
        return scored or self.seed is not None or self.temperature == 0 or self.top_k == 1 or self.top_p == 0

    @field_validator("logit_bias")
    @classmethod
    def token_ids(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name in value or {}:
            if not (name.isdecimal() and name.isascii() and len(name) < 10):
                raise ValueError(f"{name[:20]!r} is no token id; keys are token ids as strings")
        return value


def make_sampling(body: SampledBody, max_tokens: int | None, grammar: Grammar | None) -> Sampling:
    """Return the sampling requested by a body. Absent fields have Sampling's defaults; an absent seed is random.

    Parameters of Sampling with a body field of the same name are taken over automatically.
    """
    names = [f.name for f in fields(Sampling) if f.name in SampledBody.model_fields]
    values = {name: getattr(body, name) for name in names} | {"max_tokens": max_tokens, "grammar": grammar}
    values["seed"] = secrets.randbits(62) if body.seed is None else body.seed
    values["top_p"] = LEAST_TOP_P if body.top_p == 0 else body.top_p
    values["top_k"] = None if body.top_k == -1 else body.top_k
    values["stop"] = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    values["logit_bias"] = tuple((int(id), bias) for id, bias in (body.logit_bias or {}).items())
    return Sampling(**{name: value for name, value in values.items() if value is not None})


class ChatRequest(SampledBody):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ChatTool], Field(max_length=128)] | None = None
    tool_choice: Annotated[ToolChoice | None, BeforeValidator(lambda v: "required" if v == "any" else v)] = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: JSONObject | None = None
    enable_thinking: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None  # auto: a history that is too long loses its oldest turns
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    thinking_budget: Annotated[int, Field(ge=0, lt=2**31)] | None = None  # tokens of reasoning at most
    reasoning_format: Literal["none", "auto", "deepseek"] | None = None  # none: left in the content, tags and all
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @field_validator("chat_template_kwargs")
    @classmethod
    def variables_of_templates(cls, value: JSONObject | None) -> JSONObject | None:
        if reserved := sorted(TEMPLATE_NAMES & set(value or {})):
            raise ValueError(f"{reserved[0]} is not for chat_template_kwargs; the request has a field for it")
        return plain_json(value)

    def functions(self) -> list[ToolDefinition]:
        """Return the tools that are functions; others are left out."""
        return [tool for tool in self.tools or [] if isinstance(tool, ToolDefinition)]

    def ignored(self) -> list[str]:
        return [*super().ignored(), *other_tools(self.tools or [])]

    def ending(self) -> PromptEnding:
        """Return how the prompt ends: ready for an answer, within its last message, or after it."""
        if self.continue_final_message or (self.messages[-1].prefix and self.messages[-1].role == "assistant"):
            return "continue"
        return "none" if self.add_generation_prompt is False else "answer"

    def template_variables(self) -> JSONObject:
        """Return the variables of the chat template that the request sets."""
        variables: JSONObject = {}
        if self.reasoning_effort is not None:
            variables = {"reasoning_effort": self.reasoning_effort, "enable_thinking": self.reasoning_effort != "none"}
        if self.enable_thinking is not None:
            variables["enable_thinking"] = self.enable_thinking
        return variables | (self.chat_template_kwargs or {})

    @model_validator(mode="after")
    def is_consistent(self) -> ChatRequest:
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise ValueError("continue_final_message goes on with the last message, which must be the assistant's")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message and add_generation_prompt exclude each other; give one")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self


class CompletionRequest(SampledBody):
    prompt: Inputs
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None  # 16
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    response_format: ResponseFormat | None = None
    suffix: str | None = None  # the text after the answer
    parse_special: bool | None = None  # the names of special tokens in the prompt are tokens
    add_special_tokens: bool | None = None  # False: without the token with which the model's texts begin

    def prompts(self) -> list[str | list[int]]:
        """Return each prompt as its text or its token ids."""
        return listed_inputs(self.prompt)


def listed_inputs(value: Inputs) -> list[str | list[int]]:
    """Return a text, a list of token ids, or several of either as a list of texts and lists of ids."""
    if isinstance(value, str):
        return [value]
    ids = [item for item in value if isinstance(item, int)]
    return [ids] if ids else [item for item in value if not isinstance(item, int)]
