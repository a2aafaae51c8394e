"""openai for Python: chat, parse, streams, tools, Responses, completions, embeddings, errors."""

import openai
from checks import EMBEDDER, HELLO, KEY, LONG, MODEL, URL, WEATHER, check, refused
from pydantic import BaseModel, Field

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
create = client.chat.completions.create
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}}
FORCED = {"type": "function", "function": {"name": "weather"}}
FLAT_TOOL = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}


class Animal(BaseModel):
    name: str = Field(max_length=8)
    legs: int = Field(ge=0, le=8)


class Basket(BaseModel):
    fruits: set[str]


@check("models.list, retrieve")
def _() -> bool:
    return client.models.retrieve(MODEL).id == MODEL and MODEL in [model.id for model in client.models.list()]


@check("chat: n = 2, seed, stop, logprobs, usage")
def _() -> bool:
    answer = create(model=MODEL, messages=HELLO, max_tokens=8, n=2, seed=3, stop=["\n"], logprobs=True, top_logprobs=2)
    return len(answer.choices) == 2 and answer.usage.completion_tokens > 0 and bool(answer.choices[0].logprobs.content)


@check("chat streamed, include_usage")
def _() -> bool:
    options = {"include_usage": True}
    chunks = list(create(model=MODEL, messages=HELLO, max_tokens=8, stream=True, stream_options=options))
    return chunks[-1].usage.completion_tokens == 8 and not chunks[-1].choices


@check("chat.parse of a pydantic model (strict)")
def _() -> bool:
    answer = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Animal, max_tokens=60)
    return isinstance(answer.choices[0].message.parsed, Animal)


@check("chat.parse of a set (strict; OpenAI refuses it too): 400 that names uniqueItems")
def _() -> bool:
    def parse() -> object:
        return client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Basket, max_tokens=60)

    return refused(parse, openai.BadRequestError, "uniqueItems")


@check("a forced tool, and its result sent back")
def _() -> bool:
    message = create(model=MODEL, messages=HELLO, tools=[TOOL], tool_choice=FORCED, max_tokens=60).choices[0].message
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = create(model=MODEL, messages=[*HELLO, message, result], tools=[TOOL], max_tokens=8)
    return call.function.name == "weather" and after.choices[0].finish_reason in ("length", "stop")


@check("chat.stream: a tool's arguments, parsed by the helper")
def _() -> bool:
    tool = openai.pydantic_function_tool(Animal)
    choice = {"type": "function", "function": {"name": "Animal"}}
    with client.chat.completions.stream(
        model=MODEL, messages=HELLO, tools=[tool], tool_choice=choice, max_tokens=60
    ) as stream:
        kinds = {event.type for event in stream}
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    return "tool_calls.function.arguments.delta" in kinds and isinstance(call.function.parsed_arguments, Animal)


@check("AsyncOpenAI, eight at once")
async def _() -> bool:
    import asyncio

    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as several:
        asked = [several.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4) for _ in range(8)]
        return len({(await answer).choices[0].finish_reason for answer in asyncio.as_completed(asked)}) == 1


@check("prefill (continue_final_message in extra_body)")
def _() -> bool:
    turns = [*HELLO, {"role": "assistant", "content": "The colour is"}]
    more = {"continue_final_message": True, "add_generation_prompt": False}
    return bool(create(model=MODEL, messages=turns, max_tokens=4, extra_body=more).choices[0].message.content)


@check("completions: two prompts, echo, logprobs")
def _() -> bool:
    answer = client.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=2, echo=True, logprobs=1)
    return [choice.text[0] for choice in answer.choices] == ["a", "b"]


@check("responses.create, parse, a tool, log-probabilities")
def _() -> bool:
    include = ["message.output_text.logprobs"]
    plain = client.responses.create(model=MODEL, input="Hi", max_output_tokens=8, include=include, top_logprobs=1)
    parsed = client.responses.parse(model=MODEL, input="A dog.", text_format=Animal, max_output_tokens=60)
    called = client.responses.create(
        model=MODEL, input="Paris", tools=[FLAT_TOOL], tool_choice="required", max_output_tokens=60
    )
    names = [item.name for item in called.output if item.type == "function_call"]
    return bool(plain.output_text) and isinstance(parsed.output_parsed, Animal) and names == ["weather"]


@check("responses.stream: text and a final response, parsed")
def _() -> bool:
    with client.responses.stream(model=MODEL, input="A dog.", text_format=Animal, max_output_tokens=60) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    return final.output_text == text and isinstance(final.output_parsed, Animal)


@check("embeddings of 100 texts (base64)")
def _() -> bool:
    return len(client.embeddings.create(model=EMBEDDER, input=[f"text {i}" for i in range(100)]).data) == 100


@check("a prompt beyond the context: BadRequestError, context_length_exceeded")
def _() -> bool:
    return refused(lambda: create(model=MODEL, messages=LONG), openai.BadRequestError, "context_length_exceeded")


@check("an unknown model: NotFoundError")
def _() -> bool:
    return refused(lambda: create(model="nobody", messages=HELLO), openai.NotFoundError, "nobody")
