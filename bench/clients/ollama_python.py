"""ollama for Python: lists, chat, generate, streams, formats, tools, embeddings, errors."""

import json

import ollama
from checks import EMBEDDER, HELLO, MODEL, URL, WEATHER, check, refused

client = ollama.Client(host=URL)
OPTIONS = {"num_predict": 8, "seed": 3}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}}


@check("list, show, ps")
def _() -> bool:
    names = [model.model for model in client.list().models]
    return MODEL in [name.removesuffix(":latest") for name in names] and bool(client.show(MODEL).capabilities)


@check("chat, whole and streamed: the same text")
def _() -> bool:
    whole = client.chat(MODEL, messages=HELLO, options=OPTIONS).message.content
    return whole == "".join(part.message.content for part in client.chat(MODEL, HELLO, options=OPTIONS, stream=True))


@check("chat with a schema as format")
def _() -> bool:
    answer = client.chat(MODEL, HELLO, format=WEATHER, options={"num_predict": 60})
    return set(json.loads(answer.message.content)) == {"city", "days"}


@check("tools are taken")
def _() -> bool:
    return client.chat(MODEL, HELLO, tools=[TOOL], options=OPTIONS).done


@check("generate, raw too, streamed")
def _() -> bool:
    parts = list(client.generate(MODEL, "Once", raw=True, options=OPTIONS, stream=True))
    return parts[-1].done and bool(client.generate(MODEL, "Hi", system="Be brief.", options=OPTIONS).response)


@check("embed, embeddings")
def _() -> bool:
    two = client.embed(EMBEDDER, ["the sea", "a"]).embeddings
    return len(two) == 2 and len(client.embeddings(EMBEDDER, "the sea").embedding) == len(two[0])


@check("an unknown model: ResponseError 404")
def _() -> bool:
    return refused(lambda: client.chat("nobody", messages=HELLO), ollama.ResponseError, "404")
