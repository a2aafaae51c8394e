"""Records from rows in the shapes that people have: conversations, questions with answers, preferences, prompts.

    messages       {"messages": [{"role", "content"}, …]}, also content in parts, tool calls, a system column
    ShareGPT       {"conversations": [{"from", "value"}, …]}, and other names of the list, of roles and of texts
    Alpaca         {"instruction", "input", "output"}
    completion     {"prompt", "completion"}, {"question", "answer"}, …
    text           {"text"}: learned whole, without a chat template
    preference     {"prompt", "chosen", "rejected"}: texts or message lists, the prompt also as their common beginning
    HH             "\\n\\nHuman: …\\n\\nAssistant: …" as chosen and rejected
    ranking        {"prompt", "completions", "ranks"}
    tools          rankings of Argilla and Label Studio (text/labelling_tools.py)
    published      two answers with a verdict, several with scores (text/verdicts.py)

Every function takes a row and returns a record, or raises a UserError that begins with the faulty field.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.labelling_tools import tool_rows
from kaiwa.text.records import FIELDS, Comparison, Conversation, Demonstration, Message
from kaiwa.text.verdicts import verdict_rows

TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "utterances", "turns", "chat")
ROLE = ("role", "from", "speaker", "interlocutor_id", "author")
CONTENT = ("content", "value", "text", "utterance")
PROMPT = ("prompt", "question", "query", "instruction", "input")
COMPLETION = ("completion", "response", "answer", "output", "reply", "chosen")
CHOSEN = ("chosen", "preferred_output", "preferred", "chosen_response")
REJECTED = ("rejected", "non_preferred_output", "rejected_response", "dispreferred")
SYSTEM = ("system", "system_prompt")
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "client", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "ai", "agent"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),
}
KNOWN = "system, user, assistant, tool"
HH = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
DEMONSTRATION = (
    '{"messages": [{"role", "content"}, …]}, {"prompt", "completion"}, {"instruction", "output"} or {"text"}'
)
COMPARISON = '{"prompt", "chosen", "rejected"} or {"prompt", "completions", "ranks"}'
PROMPTS = '{"messages": [{"role", "content"}, …]} or {"prompt"}'


def demonstration_of(row: Any) -> Demonstration:
    """Return the conversation to be imitated. UserError where nothing in the row is an assistant's."""
    row = _row(row)
    meta = _meta(row)
    prompt, answer, chosen = (_first(row, names) for names in (PROMPT, COMPLETION, CHOSEN))
    if chosen is not None and _first(row, REJECTED) and answer in (None, "chosen"):  # a preference: the better reply
        pair = comparison_of(row)
        reply = Message("assistant", pair.completions[0])
        return Demonstration(messages=(*pair.prompt, reply), meta=meta, tools=_tools(row))
    if (name := _first(row, TURNS)) is not None:
        messages = _with_system(row, turns(row[name], name))
        if not any(m.role == "assistant" for m in messages):
            raise UserError(f"{name}: the last one is the {messages[-1].role}'s; the assistant's answer must end it")
        if not any(m.role == "assistant" and m.weight for m in messages):
            number = max(i for i, m in enumerate(messages) if m.role == "assistant")
            raise UserError(
                f"{name}[{number}].weight: 0, as of every message of the assistant; nothing would be learned"
            )
        return Demonstration(messages=messages, meta=meta, tools=_tools(row))
    if prompt is not None and answer is not None:
        answered = as_turns(row[answer], answer)
        messages = (
            continued(prompt_messages(row), answered) if len(answered) > 1 else (*prompt_messages(row), *answered)
        )
        if messages[-1].role != "assistant":
            raise UserError(f"{answer}: the last message is the {messages[-1].role}'s; the assistant's must end it")
        return Demonstration(messages=messages, meta=meta, tools=_tools(row))
    if isinstance(row.get("text"), str):
        if not row["text"].strip():
            raise UserError("text: it is empty")
        return Demonstration(messages=(), meta=meta, text=row["text"])
    raise UserError(f"no conversation in it{_columns(row)}")


def comparisons_of(row: Any) -> list[Comparison]:
    """Return all rankings of a row: several where a labelling tool's row holds those of several people."""
    rows = rows_of(row)
    if rows is not None and not rows:
        raise UserError("nobody has ranked it yet")
    return [comparison_of(one) for one in rows or [row]]


def rows_of(row: Any) -> list[dict[str, Any]] | None:
    """Return the rankings in a row of a labelling tool or of a published data set; None for a row in our shapes."""
    tool = tool_rows(row)
    return verdict_rows(row) if tool is None else tool


def comparison_of(row: Any) -> Comparison:
    """Return ranked completions of one prompt; of two message lists the common beginning is the prompt.

    Of a labelling tool's row the first person's ranking.
    """
    if rows_of(row) is not None:
        return comparisons_of(row)[0]
    row = _row(row)
    chosen, rejected = _first(row, CHOSEN), _first(row, REJECTED)
    labeller, meta = str(row.get("labeller") or ""), _meta(row)
    talk = _first(row, TURNS)
    if rejected is not None and (chosen is not None or talk is not None):
        before = prompt_messages(
            {k: v for k, v in row.items() if k != talk} if _first(row, PROMPT) else row, required=False
        )
        if chosen is None:  # the conversation ends with the chosen reply
            chosen = talk
        if talk is not None and before and before[-1].role == "assistant":
            before = before[:-1]
        pair = [continued(before, as_turns(row[name], name)) for name in (chosen or "", rejected)]
        for name, messages in zip((chosen, rejected), pair, strict=True):
            if messages[-1].role != "assistant":
                raise UserError(
                    f"{name}: ends with the {messages[-1].role}'s message; it must end with the assistant's"
                )
        prompt = _common(*pair)
        if any(len(messages) != len(prompt) + 1 for messages in pair):
            raise UserError(f"{rejected}: differs from {chosen} before the last reply; both must answer one prompt")
        _must_ask(prompt, "prompt")
        texts, ranks = tuple(messages[-1].content for messages in pair), (0, 1)
        return Comparison(prompt=prompt, completions=texts, ranks=ranks, labeller=labeller, meta=meta)
    completions = _loaded(row.get("completions", row.get("responses")))
    if not isinstance(completions, list):
        raise UserError(f"no preference in it{_columns(row)}")
    prompt = prompt_messages(row)
    _must_ask(prompt, "prompt")
    texts = tuple(_text(c, f"completions[{i}]") if isinstance(c, list) else c for i, c in enumerate(completions))
    return Comparison(prompt=prompt, completions=texts, ranks=_ranks(row, len(texts)), labeller=labeller, meta=meta)


def prompt_of(row: Any) -> Conversation:
    """Return the messages to be answered: without the answer that a demonstration or preference holds already."""
    row = _row(row)
    if _first(row, TURNS) or _first(row, PROMPT):
        messages = prompt_messages(row)
    elif (chosen := _first(row, CHOSEN)) and (rejected := _first(row, REJECTED)):
        messages = _common(as_turns(row[chosen], chosen), as_turns(row[rejected], rejected))
    else:
        raise UserError(f"no prompt in it{_columns(row)}")
    while messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    if not messages or all(m.role == "system" for m in messages):
        raise UserError("prompt: no message of a user in it")
    return messages


def prompt_messages(row: Mapping[str, Any], required: bool = True) -> Conversation:
    """Return the prompt of a row: a conversation, a text, or Alpaca's instruction with its input."""
    if (name := _first(row, TURNS)) is not None:
        return _with_system(row, turns(row[name], name))
    if isinstance(row.get("input"), Mapping):  # OpenAI's preferences
        return turns(row["input"].get("messages"), "input.messages")
    name = _first(row, PROMPT)
    if name is None:
        if required:
            raise UserError(f"no prompt in it{_columns(row)}")
        return _with_system(row, ())
    if not isinstance(row[name], str):
        return _with_system(row, turns(row[name], name))
    more = row.get("input") or row.get("context") if name == "instruction" else None
    text = "\n\n".join(part for part in (row[name], more) if isinstance(part, str) and part)
    history = row.get("history") or ()
    if not isinstance(history, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in history):
        raise UserError("history: a list of pairs of a question and an answer is expected")
    before = tuple(Message(("user", "assistant")[i], _text(pair[i], "history")) for pair in history for i in (0, 1))
    return _with_system(row, (*before, *(_dialogue(text) or (Message("user", text),))))


def as_turns(value: Any, where: str) -> Conversation:
    """Return an answer as messages: a text is one of the assistant's, or a dialogue in HH's words."""
    if isinstance(value, Mapping):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    if isinstance(value, str) and not _is_messages(_loaded(value)):
        return _dialogue(value) or (Message("assistant", value),)
    return turns(value, where)


def turns(value: Any, where: str) -> Conversation:
    """Return messages from a list of them, under any names of roles and texts; two unknown speakers are user and
    assistant, the first speaker being the user."""
    if isinstance(value, str) and _is_messages(_loaded(value)):
        value = _loaded(value)
    if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
        value = value["messages"]
    if isinstance(value, Mapping) and all(isinstance(v, list) for v in value.values()) and value:  # columns of messages
        value = [dict(zip(value, item, strict=False)) for item in zip(*value.values(), strict=False)]
    if isinstance(value, str):
        return _dialogue(value) or (Message("user", value),)
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"{where}: a list with at least one message is expected, got {type(value).__name__}")
    if all(isinstance(item, str) for item in value):
        return tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(value))
    if all(isinstance(item, Mapping) and {"input", "output"} <= set(item) for item in value):
        pairs = [(("user", item["input"]), ("assistant", item["output"])) for item in value]
        value = [{"role": role, "content": text} for pair in pairs for role, text in pair]
    speakers = _two_speakers(value)
    messages: list[Message] = []
    for i, item in enumerate(value):
        message = _message(item, f"{where}[{i}]", speakers)
        if messages and speakers and messages[-1].role == message.role:
            message = Message(message.role, f"{messages.pop().content}\n{message.content}")
        messages.append(message)
    return tuple(messages)


def _message(item: Any, at: str, speakers: Mapping[str, str]) -> Message:
    if not isinstance(item, Mapping):
        raise UserError(f"{at}: an object with role and content is expected")
    name = _first(item, ROLE)
    spoken = str(item[name]) if name is not None else ""
    role = speakers.get(spoken) or ROLES.get(spoken.lower())
    if name is None or role is None:
        raise UserError(f"{at}.{name or 'role'}: {spoken[:40]!r} is unknown; use one of {KNOWN}")
    fields = {key: item[key] for key in FIELDS if item.get(key)}
    key = _first(item, CONTENT)
    if spoken.lower() in ("function_call", "tool_call"):
        fields["tool_calls"], content = [_loaded(item.get(key or "content"))], ""
    elif key is None and fields.get("tool_calls"):
        content = ""
    else:
        content = _text(item.get(key or "content"), f"{at}.{key or 'content'}")
    if "tool_calls" in fields:
        fields["tool_calls"] = _calls(fields["tool_calls"], f"{at}.tool_calls")
    return Message(role, content, _weight(item, at) if role == "assistant" else 1.0, fields)


def _calls(value: Any, where: str) -> list[dict[str, Any]]:
    """Return tool calls as chat templates take them, the arguments as objects."""
    if not isinstance(value, list) or not all(isinstance(call, Mapping) for call in value):
        raise UserError(f"{where}: a list of calls is expected")
    calls = []
    for call in value:
        function = call.get("function", call)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UserError(f"{where}: each call needs a function with a name")
        arguments = _loaded(function.get("arguments", {}))
        identity = {"id": call["id"]} if call.get("id") else {}
        calls.append({**identity, "type": "function", "function": {"name": function["name"], "arguments": arguments}})
    return calls


def _weight(item: Mapping[str, Any], at: str) -> float:
    for name in ("weight", "loss_weight", "train"):
        value = item.get(name)
        if value is not None:
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UserError(f"{at}.{name}: {value!r} must be a number, 0 for context only")
            return float(value)
    return 1.0


def _two_speakers(items: Sequence[Any]) -> dict[str, str]:
    """Return the roles of exactly two speakers whose names are no roles, {} otherwise."""
    names = [str(item[key]) for item in items if isinstance(item, Mapping) and (key := _first(item, ROLE))]
    distinct = list(dict.fromkeys(names))
    known = [name for name in distinct if name in ROLES or (name.title() == name and name.lower() in ROLES)]
    return dict(zip(distinct, ("user", "assistant"), strict=True)) if len(distinct) == 2 and not known else {}


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        parts = [part.get("text") or part.get("value") or part.get("content") for part in value]
        other = next((p.get("type") for p, text in zip(value, parts, strict=True) if not isinstance(text, str)), None)
        if other is not None or not all(isinstance(text, str) for text in parts):
            raise UserError(f"{where}: a part of type {str(other)[:40]!r}; only text can be learned here")
        return "".join(parts)  # type: ignore[arg-type]
    if not isinstance(value, str):
        raise UserError(f"{where}: a text is expected, got {type(value).__name__}")
    return value


def _dialogue(text: str) -> Conversation:
    """Return the messages of a dialogue in HH's words, () for another text."""
    parts = HH.split(text)
    if len(parts) < 3 or parts[0].strip():
        return ()
    names = {"Human": "user", "Assistant": "assistant"}
    if parts[-2] == "Assistant" and not parts[-1].strip():  # the place of the answer
        parts = parts[:-2]
    return tuple(Message(names[who], words.strip()) for who, words in zip(parts[1::2], parts[2::2], strict=True))


def continued(before: Conversation, messages: Conversation) -> Conversation:
    """Return a prompt and its answer as one conversation; the answer may repeat the prompt, also without the system."""
    for start in (before, tuple(m for m in before if m.role != "system")):
        if start and [_turn_key(m) for m in messages[: len(start)]] == [_turn_key(m) for m in start]:
            return (*before, *messages[len(start) :])
    return (*before, *messages)


def _common(one: Conversation, other: Conversation) -> Conversation:
    """Return the common beginning of two conversations, without the last message of either."""
    most = min(len(one), len(other)) - 1
    same = next((i for i in range(most) if _turn_key(one[i]) != _turn_key(other[i])), most)
    return one[: max(0, same)]


def _turn_key(message: Message) -> tuple[str, str]:
    return message.role, message.content.strip()


def _must_ask(prompt: Conversation, where: str) -> None:
    if not any(m.role != "system" for m in prompt):
        raise UserError(f"{where}: no message of a user before the replies")
    if prompt[-1].role == "assistant":
        raise UserError(f"{where}: the last message is the assistant's; a reply follows a user's")


def _ranks(row: Mapping[str, Any], n: int) -> tuple[int, ...]:
    """Return the ranks of n completions, 0 the best; of scores the highest is the best."""
    ranks, scores = _loaded(row.get("ranks")), _loaded(row.get("scores"))
    if ranks is None and isinstance(scores, list) and all(isinstance(s, int | float) for s in scores):
        order = sorted(set(scores), reverse=True)
        ranks = [order.index(s) for s in scores]
    if not isinstance(ranks, list):
        raise UserError(f"ranks: a list of {n} whole numbers is expected, 0 the best")
    return tuple(ranks)


def _with_system(row: Mapping[str, Any], messages: Conversation) -> Conversation:
    text = next((row[name] for name in SYSTEM if isinstance(row.get(name), str) and row[name]), "")
    return (Message("system", text), *messages) if text and (not messages or messages[0].role != "system") else messages


def _tools(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    tools = _loaded(row.get("tools")) or ()
    for i, tool in enumerate(tools if isinstance(tools, list | tuple) else [None]):
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise UserError(f"tools[{i}]: a function with a name is expected")
    return tuple(tools)


def _meta(row: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = row.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise UserError(f"meta: an object is expected, got {type(meta).__name__}")
    return meta


def _row(row: Any) -> dict[str, Any]:
    """Return a row as an object without empty columns; a bare list is a conversation."""
    if isinstance(row, list):
        return {"messages": row}
    if not isinstance(row, Mapping):
        raise UserError(f"an object is expected, got {type(row).__name__}")
    if isinstance(row.get("row"), Mapping) and "row_idx" in row:  # a page of the Hub's dataset viewer
        row = row["row"]
    return {str(name): value for name, value in row.items() if value is not None}


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def _loaded(value: Any) -> Any:
    """Return the list or object that a text holds as JSON (or as Python prints one, in CSV), else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        for read in (json.loads, ast.literal_eval):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                return read(value)
    return value


def _is_messages(value: Any) -> bool:
    """Return whether a value is a list of messages, or an object that holds one."""
    if isinstance(value, Mapping):
        value = value.get("messages")
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and _first(v, ROLE) for v in value)


def _columns(row: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(row))
    return f" (its columns: {names[:100]}; name others by --map, as --map prompt=question)" if names else ""
