"""pydantic-ai: its OpenAI models (chat and Responses) and its Anthropic model, output types and tools."""

from typing import Annotated

from checks import KEY, MODEL, URL, check
from pydantic import BaseModel, Field, StringConstraints
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)


class Basket(BaseModel):
    """A basket."""

    fruits: set[Annotated[str, StringConstraints(max_length=6)]] = Field(max_length=2)
    n: int = Field(ge=0, le=9)


def ask(model: object) -> bool:
    agent = Agent(model, output_type=Basket, retries=0, model_settings={"max_tokens": 100})
    return isinstance(agent.run_sync("Some apples.").output, Basket)


@check("chat, text")
def _() -> bool:
    agent = Agent(OpenAIChatModel(MODEL, provider=PROVIDER), model_settings={"max_tokens": 8})
    return bool(agent.run_sync("Hi").output)


@check("chat, an output type with a set")
def _() -> bool:
    return ask(OpenAIChatModel(MODEL, provider=PROVIDER))


@check("Responses, an output type with a set")
def _() -> bool:
    return ask(OpenAIResponsesModel(MODEL, provider=PROVIDER))


@check("chat, streamed")
async def _() -> bool:
    agent = Agent(OpenAIChatModel(MODEL, provider=PROVIDER), model_settings={"max_tokens": 8})
    async with agent.run_stream("Hi") as run:
        return bool([text async for text in run.stream_text(delta=True)])


@check("its Anthropic model, an output type with a set")
def _() -> bool:
    return ask(AnthropicModel(MODEL, provider=AnthropicProvider(base_url=URL, api_key=KEY)))
