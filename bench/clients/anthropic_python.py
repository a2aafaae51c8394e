"""anthropic for Python: messages, streams, tools, prefill, count_tokens, errors."""

import anthropic
from checks import HELLO, KEY, LONG, MODEL, URL, WEATHER, check, refused

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
create = client.messages.create
TOOL = {"name": "weather", "description": "The weather.", "input_schema": WEATHER}
FORCED = {"type": "tool", "name": "weather"}


@check("messages, with a system prompt")
def _() -> bool:
    answer = create(model=MODEL, system="Be brief.", messages=HELLO, max_tokens=8)
    return answer.content[0].type == "text" and answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 8


@check("messages.stream: text and the final message")
def _() -> bool:
    with client.messages.stream(model=MODEL, messages=HELLO, max_tokens=8) as stream:
        text = "".join(stream.text_stream)
        return bool(text) and stream.get_final_message().content[0].text == text


@check("a forced tool, whole and streamed, and its result")
def _() -> bool:
    shared = {"model": MODEL, "messages": HELLO, "max_tokens": 60, "tools": [TOOL], "tool_choice": FORCED}
    called = create(**shared)
    with client.messages.stream(**shared) as stream:
        streamed = stream.get_final_message().content[0]
    use = called.content[0]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
    turns = [*HELLO, {"role": "assistant", "content": called.content}, result]
    after = create(model=MODEL, messages=turns, max_tokens=8, tools=[TOOL])
    return set(use.input) == set(streamed.input) == {"city", "days"} and after.stop_reason in ("max_tokens", "end_turn")


@check("prefill")
def _() -> bool:
    turns = [*HELLO, {"role": "assistant", "content": "The colour is"}]
    return bool(create(model=MODEL, messages=turns, max_tokens=4).content[0].text)


@check("count_tokens")
def _() -> bool:
    return client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens > 4


@check("models.list")
def _() -> bool:
    return MODEL in [model.id for model in client.models.list()]


@check("a prompt beyond the context: BadRequestError")
def _() -> bool:
    return refused(lambda: create(model=MODEL, messages=LONG, max_tokens=8), anthropic.BadRequestError, "context")


@check("an unknown model: NotFoundError")
def _() -> bool:
    return refused(lambda: create(model="nobody", messages=HELLO, max_tokens=8), anthropic.NotFoundError, "nobody")
