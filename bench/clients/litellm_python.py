"""litellm: its openai/, ollama_chat/ and anthropic/ routes, tools in a stream, fallbacks' exceptions."""

import litellm
from checks import EMBEDDER, HELLO, KEY, LONG, MODEL, URL, WEATHER, check, refused

litellm.suppress_debug_info = True
OPENAI = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": KEY}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}}


@check("openai/: whole and streamed")
def _() -> bool:
    whole = litellm.completion(**OPENAI, messages=HELLO, max_tokens=8)
    parts = list(litellm.completion(**OPENAI, messages=HELLO, max_tokens=8, stream=True))
    return bool(whole.choices[0].message.content) and len(parts) > 2


@check("openai/: a forced tool in a stream")
def _() -> bool:
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = list(
        litellm.completion(**OPENAI, messages=HELLO, max_tokens=60, tools=[TOOL], tool_choice=choice, stream=True)
    )
    return litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0].function.name == "weather"


@check("ollama_chat/: whole and streamed")
def _() -> bool:
    shared = {"model": f"ollama_chat/{MODEL}", "api_base": URL, "messages": HELLO, "max_tokens": 8}
    return bool(litellm.completion(**shared).choices[0].message.content) and bool(
        list(litellm.completion(**shared, stream=True))
    )


@check("anthropic/: whole and streamed")
def _() -> bool:
    shared = {"model": f"anthropic/{MODEL}", "api_base": URL, "api_key": KEY, "messages": HELLO, "max_tokens": 8}
    return bool(litellm.completion(**shared).choices[0].message.content) and bool(
        list(litellm.completion(**shared, stream=True))
    )


@check("a turn of reasoning alone is taken")
def _() -> bool:
    turns = [*HELLO, {"role": "assistant", "content": None, "reasoning_content": "Hm."}, *HELLO]
    return bool(litellm.completion(**OPENAI, messages=turns, max_tokens=4).choices)


@check("a prompt beyond the context: ContextWindowExceededError, so that fallbacks start")
def _() -> bool:
    return refused(
        lambda: litellm.completion(**OPENAI, messages=LONG, max_tokens=8, num_retries=0),
        litellm.ContextWindowExceededError,
        "maximum context length",
    )


@check("embeddings by openai/ and ollama/")
def _() -> bool:
    one = litellm.embedding(model=f"openai/{EMBEDDER}", input=["the sea"], api_base=f"{URL}/v1", api_key=KEY)
    two = litellm.embedding(model=f"ollama/{EMBEDDER}", input=["the sea"], api_base=URL)
    return len(one.data[0]["embedding"]) == len(two.data[0]["embedding"])
