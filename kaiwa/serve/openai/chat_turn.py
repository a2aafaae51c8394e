"""Chat messages and tool calls as plain JSON objects, with the fields known to templates and models."""

from __future__ import annotations

from typing import NotRequired  # pydantic reads typing's own only from Python 3.12 on

from typing_extensions import TypedDict


class CalledFunction(TypedDict):
    """`arguments` is JSON text, or its value for a chat template with tools."""

    name: str
    arguments: object


class CalledTool(TypedDict):
    id: str
    type: str
    function: CalledFunction


class ChatTurn(TypedDict):
    """A message. role: system, user, assistant or tool. A tool's result names the answered call."""

    role: str
    content: str
    tool_calls: NotRequired[list[CalledTool]]
    tool_call_id: NotRequired[str]
    reasoning_content: NotRequired[str]
