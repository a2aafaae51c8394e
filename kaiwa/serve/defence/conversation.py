"""Views of a request for the defences: its messages, its other text, and the request with rewritten messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.openai.tools import with_parsed_arguments
from kaiwa.serve.worker.wire import ChatPrompt, ModelPrompt, TextPrompt
from kaiwa.text.records import Conversation, Message

ORDINARY_ID = re.compile(r"(call_|toolu_|chatcmpl-tool-)?[A-Za-z0-9]{0,32}")  # of a call; any other may be a text


def conversation_of(prompt: ChatPrompt | TextPrompt, system: str) -> Conversation:
    """Return the messages to check. A tool's result counts as a user's turn; the operator's system text comes first."""
    if isinstance(prompt, TextPrompt):
        messages = [Message("user", prompt.text)]
    else:
        turns = _under_operator(prompt.messages) if system else prompt.messages
        messages = [Message("user" if turn["role"] == "tool" else turn["role"], turn["content"]) for turn in turns]
    return (Message("system", system), *messages) if system else tuple(messages)


def text_outside_messages(prompt: ModelPrompt) -> str:
    """Return all client text outside message contents (tools, calls, the template's variables), a string per line.

    Ordinary ids of calls are skipped, since ids would raise false alarms.
    """
    if not isinstance(prompt, ChatPrompt):
        return prompt.suffix or "" if isinstance(prompt, TextPrompt) else ""
    functions: list[object] = [tool["function"] for tool in prompt.tools]
    ids: list[str] = []
    for turn in with_parsed_arguments(prompt.messages):
        calls = turn.get("tool_calls", [])
        functions += [call["function"] for call in calls]
        ids += [turn.get("tool_call_id", ""), *(call["id"] for call in calls)]
        functions.append({"reasoning": turn.get("reasoning_content", "")})
    functions.append(prompt.variables)
    values = [list(function.values()) for function in functions if isinstance(function, dict)]
    return "\n".join(text for text in _strings([values, [id for id in ids if not ORDINARY_ID.fullmatch(id)]]) if text)


def _strings(value: object) -> Iterator[str]:
    """Yield the strings of a JSON value in order, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _under_operator(messages: Sequence[ChatTurn]) -> list[ChatTurn]:
    """Return the messages with each of the client's system texts moved into the next turn of the user."""
    turns: list[ChatTurn] = []
    pending: list[str] = []
    for message in messages:
        if message["role"] == "system":
            pending.append(message["content"])
            continue
        if pending and message["role"] == "user":
            message = {**message, "content": "\n\n".join([*pending, message["content"]])}
        elif pending:
            turns.append({"role": "user", "content": "\n\n".join(pending)})
        pending = []
        turns.append(message)
    return turns + ([{"role": "user", "content": "\n\n".join(pending)}] if pending else [])


def with_conversation(prompt: ModelPrompt, before: Conversation, rewritten: Conversation, system: str) -> ModelPrompt:
    """Return the prompt with the contents rewritten by the defence. Roles of tools, and calls, stay unchanged."""
    if rewritten == before and not system:
        return prompt
    if not isinstance(prompt, ChatPrompt):
        text = "\n\n".join(message.content for message in rewritten)
        return replace(prompt, text=text) if isinstance(prompt, TextPrompt) else TextPrompt(text)
    turns = _under_operator(prompt.messages) if system else list(prompt.messages)
    n_new = len(rewritten) - len(turns)
    assert n_new in (0, 1), "a defence may put one message in front"
    assert not n_new or rewritten[0].role == "system", "what a defence puts in front is the system's"
    front: list[ChatTurn] = [{"role": "system", "content": rewritten[0].content}] if n_new else []
    changed: list[ChatTurn] = [
        {**turn, "content": message.content} for turn, message in zip(turns, rewritten[n_new:], strict=True)
    ]
    return replace(prompt, messages=tuple(front + changed))
