"""instructor: its modes for OpenAI's and Anthropic's protocols, each with a set."""

from typing import Annotated

import anthropic
import instructor
import openai
from checks import HELLO, KEY, MODEL, URL, check
from pydantic import BaseModel, Field, StringConstraints


class Basket(BaseModel):
    """A basket."""

    fruits: set[Annotated[str, StringConstraints(max_length=6)]] = Field(max_length=2)
    n: int = Field(ge=0, le=9)


def ask(mode: instructor.Mode) -> bool:
    client = instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY), mode=mode)
    shared = {"model": MODEL, "messages": HELLO, "max_tokens": 100, "max_retries": 0}
    return isinstance(client.chat.completions.create(response_model=Basket, **shared), Basket)


@check("TOOLS, with a set")
def _() -> bool:
    return ask(instructor.Mode.TOOLS)


@check("JSON_SCHEMA, with a set")
def _() -> bool:
    return ask(instructor.Mode.JSON_SCHEMA)


class Animal(BaseModel):
    """An animal."""

    name: str = Field(max_length=8)
    legs: int = Field(ge=0, le=8)


@check("a partial model, streamed")
def _() -> bool:
    client = instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY), mode=instructor.Mode.TOOLS)
    shared = {"model": MODEL, "messages": HELLO, "max_tokens": 100}
    parts = list(client.chat.completions.create_partial(response_model=Animal, **shared))
    return len(parts) > 1 and isinstance(parts[-1].legs, int)


@check("Anthropic's tools, with a set")
def _() -> bool:
    client = instructor.from_anthropic(anthropic.Anthropic(base_url=URL, api_key=KEY))
    shared = {"model": MODEL, "messages": HELLO, "max_tokens": 100, "max_retries": 0}
    return isinstance(client.messages.create(response_model=Basket, **shared), Basket)
