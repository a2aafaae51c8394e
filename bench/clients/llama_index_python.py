"""LlamaIndex: OpenAI-like models and embeddings, structured output."""

from checks import EMBEDDER, KEY, MODEL, URL, check
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

MODELS = {"model": MODEL, "api_base": f"{URL}/v1", "api_key": KEY, "max_tokens": 60, "max_retries": 0}
chat = OpenAILike(**MODELS, is_chat_model=True, is_function_calling_model=True, context_window=2048)


class Animal(BaseModel):
    """An animal."""

    name: str = Field(max_length=8)
    legs: int = Field(ge=0, le=8)


@check("chat, whole and streamed")
def _() -> bool:
    turns = [ChatMessage(role="user", content="Hi")]
    return bool(chat.chat(turns).message.content) and bool(list(chat.stream_chat(turns)))


@check("complete, whole and streamed (/v1/completions)")
def _() -> bool:
    plain = OpenAILike(**MODELS, is_chat_model=False, context_window=2048)
    return bool(plain.complete("Once").text) and bool(list(plain.stream_complete("Once")))


@check("as_structured_llm")
def _() -> bool:
    return isinstance(chat.as_structured_llm(Animal).complete("A dog.").raw, Animal)


@check("embeddings of 100 texts")
def _() -> bool:
    model = OpenAILikeEmbedding(model_name=EMBEDDER, api_base=f"{URL}/v1", api_key=KEY)
    return len(model.get_text_embedding_batch([f"text {i}" for i in range(100)])) == 100
