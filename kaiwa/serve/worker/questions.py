"""In the engine process: what is asked of a model beside answers. Each takes (loaded, message), returns plain JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kaiwa.core.errors import UserError
from kaiwa.serve.worker.requests import prompt_ids

if TYPE_CHECKING:
    from kaiwa.catalog.load import Loaded


def embed(loaded: Loaded, message: dict[str, Any]) -> dict[str, Any]:
    """{"embedding": d_model floats, "tokens": n}"""
    from kaiwa.engine.embed import embed as embedded

    ids = prompt_ids(loaded, message)
    _check(loaded, ids)
    return {"embedding": embedded(loaded.decoder, ids, loaded.adapter), "tokens": len(ids)}


def tokenize(loaded: Loaded, message: dict[str, Any]) -> dict[str, Any]:
    """{"tokens": ids, "token_strs", "max_model_len"}; `special`: with what the model's texts begin with."""
    if "prompt" in message and not message["special"]:
        ids = loaded.tokenizer.encode(message["prompt"])
    elif "prompt" in message:
        ids = loaded.text_ids(message["prompt"])
    else:
        ids = prompt_ids(loaded, message)
    texts = [loaded.tokenizer.token_text(id) for id in ids]
    return {"tokens": ids, "token_strs": texts, "max_model_len": loaded.context}


def detokenize(loaded: Loaded, message: dict[str, Any]) -> dict[str, Any]:
    """{"prompt": text}; special tokens have no text, bytes that are no UTF-8 become �."""
    _check(loaded, message["tokens"])
    return {"prompt": loaded.tokenizer.decode_bytes(message["tokens"]).decode("utf-8", errors="replace")}


def tokenizer(loaded: Loaded, message: dict[str, Any]) -> dict[str, Any]:
    """What a client needs to count and to template by itself."""
    found = loaded.tokenizer
    return {
        "model": loaded.entry.name,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "vocab_size": found.vocab_size,
        "model_max_length": loaded.context,
        "eos_token": found.eos_token or None,
        "pad_token": found.pad_token or None,
        "bos_token": found.bos_token or None,
        "eos_token_id": found.eos_id,
        "bos_token_id": found.bos_id,
        "special_tokens": dict(found.specials),
        "prefix_ids": list(loaded.prefix),
        "chat_template": found.chat_template if loaded.entry.chat else None,
    }


def _check(loaded: Loaded, ids: list[int]) -> None:
    V = loaded.decoder.config.vocab_size
    for place, id in enumerate(ids):
        if not 0 <= id < V:
            raise UserError(f"token id {id} at {place} is outside 0 to {V - 1}")


QUESTIONS: dict[str, Callable[[Loaded, dict[str, Any]], dict[str, Any]]] = {
    "embed": embed,
    "tokenize": tokenize,
    "detokenize": detokenize,
    "tokenizer": tokenizer,
}
