"""The tokenizer of a GGUF file: the lists and ids under tokenizer.ggml, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # kinds of tokens (tokenizer.ggml.token_type)
# Control tokens that end a turn or a text; many files name one of several as the end token.
ENDS = (
    *(
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<end_of_turn>",
        "<EOT>",
    ),
    *("<|end_of_turn|>", "<|return|>", "<|call|>", "<turn|>", "<｜end▁of▁sentence｜>"),
)
BEGINS = ("llama-bpe", "llama3", "llama-v3")  # pre-tokenizers whose texts begin with the first token


@dataclass(frozen=True, slots=True)
class RawVocabulary:
    """The parts of a tokenizer (Tokenizer.from_vocab_merges, from_pieces). `scores`: SentencePiece only.

    special: control tokens. user: tokens that are whole wherever they stand in a text. ends: ids that end an answer.
    """

    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    special: tuple[str, ...]
    pre: str
    eos: str
    pad: str
    bos: str
    chat_template: str | None
    add_bos: bool
    scores: tuple[float, ...] = ()
    add_space: bool = True
    user: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()


def read_vocabulary(fields: Mapping[str, Any], path: Path) -> RawVocabulary:
    """Return the tokenizer of a file's fields. UserError for a tokenizer that is neither byte-level nor SentencePiece
    BPE, and for lists and ids that do not fit."""

    def get(name: str, usual: Any = None) -> Any:
        return fields.get(f"tokenizer.ggml.{name}", usual)

    model, tokens = get("model"), get("tokens")
    if model not in ("gpt2", "llama"):
        raise UserError(f"{path}: tokenizer {str(model)[:40]!r}; byte-level BPE ('gpt2') and 'llama' are read")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(t, str) for t in tokens):
        raise UserError(f"{path}: tokenizer.ggml.tokens is no list of texts; the file is incomplete")
    kinds = get("token_type") or [NORMAL] * len(tokens)
    scores = get("scores") if model == "llama" else []
    if len(kinds) != len(tokens) or (model == "llama" and (not scores or len(scores) != len(tokens))):
        raise UserError(f"{path}: the tokenizer's lists have different lengths; the file is damaged")
    if model == "gpt2" and not get("merges"):
        raise UserError(f"{path}: tokenizer.ggml.merges is missing; the file is incomplete, text would become nonsense")

    def id_of(role: str) -> int | None:
        id = get(f"{role}_token_id")
        if id is not None and not 0 <= int(id) < len(tokens):
            raise UserError(f"{path}: the {role} token is number {id} of {len(tokens)}; the file is damaged")
        return None if id is None else int(id)

    def token_of(role: str) -> str:
        id = id_of(role)
        return "" if id is None else str(tokens[id])

    special = dict.fromkeys(t for t, kind in zip(tokens, kinds, strict=True) if kind in (UNKNOWN, CONTROL))
    named = (token_of(role) for role in ("eos", "bos", "padding", "eot", "eom"))
    special |= dict.fromkeys(name for name in named if name)  # some files mark them as normal tokens
    user = tuple(t for t, kind in zip(tokens, kinds, strict=True) if kind == USER_DEFINED and t and t not in special)
    by_name = [i for i, token in enumerate(tokens) if token in ENDS and kinds[i] in (CONTROL, USER_DEFINED)]
    by_role = [id for role in ("eos", "eot", "eom") if (id := id_of(role)) is not None]
    pre = str(get("pre") or _usual_cut(tokens))
    return RawVocabulary(
        tokens=tuple(tokens),
        merges=tuple(get("merges", [])),
        special=tuple(special),
        pre=pre,
        eos=token_of("eos"),
        pad=token_of("padding"),
        bos=token_of("bos"),
        chat_template=fields.get("tokenizer.chat_template"),
        add_bos=bool(get("add_bos_token", model == "llama" or pre in BEGINS)),
        scores=tuple(scores or ()),
        add_space=bool(get("add_space_prefix", True)),
        user=user,
        ends=tuple(sorted({*by_name, *by_role})),
    )


def _usual_cut(tokens: list[str]) -> str:
    """Return the name of the pre-tokenizer for a file from before the name was written, by the vocabulary."""
    last = set(tokens[-1000:])
    if "<|begin_of_text|>" in last:
        return "llama-bpe"
    return "qwen2" if "<|im_start|>" in last and len(tokens) > 150_000 else "gpt-2"
