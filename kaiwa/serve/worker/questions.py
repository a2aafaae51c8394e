"""In the engine process: answers to questions about a model other than "continue this"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError
from kaiwa.serve.worker.requests import prompt_ids
from kaiwa.serve.worker.wire import (
    DecodedText,
    DescribeTokenizer,
    Detokenize,
    Embed,
    Embedding,
    Question,
    TextPrompt,
    TokenIds,
    Tokenize,
    TokenizerInfo,
    Value,
)

if TYPE_CHECKING:
    from kaiwa.catalog.load import LoadedModel


def answer_question(loaded: LoadedModel, question: Question) -> Value:
    """Return the answer. UserError for bad input."""
    match question:
        case Embed():
            return _embed(loaded, question)
        case Tokenize():
            return _tokenize(loaded, question)
        case Detokenize():
            _check_ids(loaded, question.tokens)
            data = loaded.tokenizer.decode_bytes(question.tokens)  # special tokens have no text
            return DecodedText(text=data.decode("utf-8", errors="replace"))
        case DescribeTokenizer():
            return _describe_tokenizer(loaded)


def _embed(loaded: LoadedModel, question: Embed) -> Embedding:
    from kaiwa.engine.embed import embed

    ids = prompt_ids(loaded, question.prompt)
    _check_ids(loaded, ids)
    return Embedding(vector=tuple(embed(loaded.decoder, ids, loaded.adapter)), tokens=len(ids))


def _tokenize(loaded: LoadedModel, question: Tokenize) -> TokenIds:
    prompt = question.prompt
    if isinstance(prompt, TextPrompt):
        ids = loaded.text_ids(prompt.text) if question.special else loaded.tokenizer.encode(prompt.text)
    else:
        ids = prompt_ids(loaded, prompt)
    texts = tuple(loaded.tokenizer.token_text(id) for id in ids)
    return TokenIds(tokens=tuple(ids), token_strs=texts, max_model_len=loaded.context)


def _describe_tokenizer(loaded: LoadedModel) -> TokenizerInfo:
    tokenizer = loaded.tokenizer
    return TokenizerInfo(
        model=loaded.entry.name,
        vocab_size=tokenizer.vocab_size,
        model_max_length=loaded.context,
        eos_token=tokenizer.eos_token or None,
        pad_token=tokenizer.pad_token or None,
        bos_token=tokenizer.bos_token or None,
        eos_token_id=tokenizer.eos_id,
        bos_token_id=tokenizer.bos_id,
        special_tokens=dict(tokenizer.specials),
        prefix_ids=tuple(loaded.prefix),
        chat_template=tokenizer.chat_template if loaded.entry.chat else None,
    )


def _check_ids(loaded: LoadedModel, ids: Sequence[int]) -> None:
    """Raise UserError for an id outside the vocabulary."""
    V = loaded.decoder.config.vocab_size
    for index, id in enumerate(ids):
        if not 0 <= id < V:
            raise UserError(f"token id {id} at {index} is outside 0 to {V - 1}")
