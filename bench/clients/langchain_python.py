"""LangChain: its OpenAI, Anthropic and Ollama models, structured output, tools, embeddings."""

from checks import EMBEDDER, KEY, LONG, MODEL, URL, check, refused
from langchain_anthropic import ChatAnthropic
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import BadRequestError
from pydantic import BaseModel, Field


class Animal(BaseModel):
    """An animal."""

    name: str = Field(max_length=8)
    legs: int = Field(ge=0, le=8)


class Basket(BaseModel):
    """A basket."""

    fruits: set[str] = Field(max_length=2)
    n: int = Field(ge=0, le=9)


def chat(**more: object) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, max_tokens=80, max_retries=0, **more)


@check("ChatOpenAI: invoke, stream, batch")
def _() -> bool:
    model = chat()
    return bool(model.invoke("Hi").content and list(model.stream("Hi"))) and len(model.batch(["Hi", "Ho"])) == 2


@check("structured output, json_schema (strict)")
def _() -> bool:
    return isinstance(chat().with_structured_output(Animal, method="json_schema").invoke("A dog."), Animal)


@check("structured output, json_schema with a set (strict): 400 that names uniqueItems")
def _() -> bool:
    model = chat().with_structured_output(Basket, method="json_schema")
    return refused(lambda: model.invoke("Apples."), BadRequestError, "uniqueItems")


@check("structured output, function_calling with a set")
def _() -> bool:
    shape = {"type": "object", "properties": {"fruits": {"type": "array", "items": {"type": "string", "maxLength": 6}}}}
    shape["properties"]["fruits"] |= {"uniqueItems": True, "maxItems": 2}
    shape |= {"title": "Basket", "description": "A basket.", "required": ["fruits"]}
    return "fruits" in chat().with_structured_output(shape, method="function_calling").invoke("Apples.")


@check("bind_tools, forced, streamed")
def _() -> bool:
    whole = None
    for chunk in chat().bind_tools([Animal], tool_choice="Animal").stream("A dog."):
        whole = chunk if whole is None else whole + chunk
    return whole.tool_calls[0]["name"] == "Animal" and "legs" in whole.tool_calls[0]["args"]


@check("Responses API")
def _() -> bool:
    return bool(chat(use_responses_api=True).invoke("Hi").content)


@check("a prompt beyond the context: BadRequestError")
def _() -> bool:
    return refused(lambda: chat().invoke(LONG), BadRequestError, "context_length_exceeded")


@check("OpenAIEmbeddings with check_embedding_ctx_length=False")
def _() -> bool:
    model = OpenAIEmbeddings(base_url=f"{URL}/v1", api_key=KEY, model=EMBEDDER, check_embedding_ctx_length=False)
    return len(model.embed_documents([f"text {i}" for i in range(100)])) == 100


@check("ChatAnthropic: invoke, stream")
def _() -> bool:
    model = ChatAnthropic(base_url=URL, api_key=KEY, model_name=MODEL, max_tokens=8)
    return bool(model.invoke("Hi").content) and bool(list(model.stream("Hi")))


@check("ChatOllama: invoke, structured output")
def _() -> bool:
    model = ChatOllama(base_url=URL, model=MODEL, num_predict=80)
    return bool(model.invoke("Hi").content) and isinstance(
        model.with_structured_output(Animal, method="json_schema").invoke("A dog."), Animal
    )


@check("OllamaEmbeddings")
def _() -> bool:
    return len(OllamaEmbeddings(base_url=URL, model=EMBEDDER).embed_documents(["the sea", "a"])) == 2
