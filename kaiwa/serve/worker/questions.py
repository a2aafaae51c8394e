"""In the engine process: answers to questions about a model other than "continue this"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError
from kaiwa.engine.request import CONTEXT_EXCEEDED
from kaiwa.serve.worker.requests import prompt_ids
from kaiwa.serve.worker.wire import (
    DecodedText,
    DescribeTokenizer,
    Detokenize,
    Embed,
    Embedding,
    Embeddings,
    ModelPrompt,
    Question,
    TextPrompt,
    TokenIds,
    Tokenize,
    TokenizerInfo,
    TokenPrompt,
    Value,
)

if TYPE_CHECKING:
    from kaiwa.catalog.encoder import LoadedEncoder
    from kaiwa.catalog.load import LoadedModel

QUOTED = 40  # characters of a text in an error about it


def answer_for_text(loaded: LoadedEncoder, question: Question) -> Value:
    """Return an embedding model's answer. UserError for bad input."""
    tokenizer, rows = loaded.tokenizer, loaded.encoder.config.vocab_size
    match question:
        case Embed():
            return _embed_texts(loaded, question)
        case Tokenize():
            ids = _encoder_ids(loaded, question.prompt, "", question.special)
            texts = tuple(tokenizer.id_to_token(id) or "" for id in ids)
            return TokenIds(tokens=tuple(ids), token_strs=texts, max_model_len=loaded.context)
        case Detokenize():
            _check_ids(rows, question.tokens)
            return DecodedText(text=tokenizer.decode(list(question.tokens)))
        case DescribeTokenizer():
            added = tokenizer.get_added_tokens_decoder().items()
            return TokenizerInfo(
                model=loaded.entry.name,
                vocab_size=rows,
                model_max_length=loaded.context,
                special_tokens={token.content: id for id, token in added if token.special},
            )


def _embed_texts(loaded: LoadedEncoder, question: Embed) -> Embeddings:
    """Return the vectors of texts, padded to the longest: the client sends texts of a similar length together."""
    before = loaded.prompt(question.prompt_name, question.input_type)
    batch, cut = [], []
    for prompt in question.prompts:
        ids = _encoder_ids(loaded, prompt, before)
        _check_ids(loaded.encoder.config.vocab_size, ids)
        cut.append(len(ids) > loaded.context)
        if cut[-1] and question.truncate is False:
            raise _too_long(prompt, len(ids), loaded.context)
        whole = before + prompt.text if isinstance(prompt, TextPrompt) else ""
        batch.append(loaded.cut(whole) if cut[-1] and whole else ids[: loaded.context])
    vectors = loaded.embed(batch)
    return Embeddings(
        items=tuple(
            Embedding(vector=tuple(v), tokens=len(ids), cut=c) for v, ids, c in zip(vectors, batch, cut, strict=True)
        )
    )


def _encoder_ids(loaded: LoadedEncoder, prompt: ModelPrompt, before: str, special: bool = True) -> list[int]:
    """Return the ids of a text with `before` in front; ids are taken as they are."""
    if isinstance(prompt, TextPrompt):
        return loaded.encode(before + prompt.text, special)
    if isinstance(prompt, TokenPrompt):
        return list(prompt.ids)
    raise UserError(f"{loaded.entry.name} is an embedding model without a chat template; send a text", field="prompt")


def answer_question(loaded: LoadedModel, question: Question) -> Value:
    """Return the answer. UserError for bad input."""
    match question:
        case Embed():
            return _embed(loaded, question)
        case Tokenize():
            return _tokenize(loaded, question)
        case Detokenize():
            _check_ids(loaded.decoder.config.vocab_size, question.tokens)
            data = loaded.tokenizer.decode_bytes(question.tokens)  # special tokens have no text
            return DecodedText(text=data.decode("utf-8", errors="replace"))
        case DescribeTokenizer():
            return _describe_tokenizer(loaded)


def _embed(loaded: LoadedModel, question: Embed) -> Embeddings:
    from kaiwa.engine.embed import embed

    if question.prompt_name is not None:
        message = f"{loaded.entry.name} is no embedding model and has no prompts for texts; leave it out"
        raise UserError(message, field="prompt_name")
    items = []
    for prompt in question.prompts:
        ids = prompt_ids(loaded, prompt)
        _check_ids(loaded.decoder.config.vocab_size, ids)
        cut = len(ids) > loaded.context
        if cut and not question.truncate:
            raise _too_long(prompt, len(ids), loaded.context)
        ids = ids[: loaded.context]
        items.append(Embedding(vector=tuple(embed(loaded.decoder, ids, loaded.adapter)), tokens=len(ids), cut=cut))
    return Embeddings(items=tuple(items))


def _too_long(prompt: ModelPrompt, n: int, limit: int) -> UserError:
    begins = f" (it begins {prompt.text[:QUOTED]!r})" if isinstance(prompt, TextPrompt) else ""
    message = f"a text{begins} has {n} tokens, this model's maximum context length is {limit} tokens; shorten it"
    return UserError(f"{message}, or send truncate: true", field="prompt", code=CONTEXT_EXCEEDED)


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


def _check_ids(V: int, ids: Sequence[int]) -> None:
    """Raise UserError for an id outside a vocabulary of V tokens."""
    for index, id in enumerate(ids):
        if not 0 <= id < V:
            raise UserError(f"token id {id} at {index} is outside 0 to {V - 1}: another model's? Send the text instead")
