"""Conversion between text and token ids by a BPE tokenizer, trained by kaiwa or read from another model.

`encode` never produces special tokens: "<|im_end|>" in a message is ordinary text, so that no user can end a turn or
begin a system turn by writing the token's name. The chat template inserts special tokens as ids.
"""

from __future__ import annotations

import codecs
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.text.template import END, END_OF_TEXT, PAD, turn_end
from kaiwa.tokenizer import byte_level, sentencepiece
from kaiwa.tokenizer.alphabet import piece_bytes, token_bytes, word_piece_bytes
from kaiwa.tokenizer.files import chat_template, generation_ends, open_json, read_inner, read_json, token_text


class Tokenizer:
    """A BPE tokenizer, made by `load`, `from_file`, `from_vocab_merges` or `from_pieces`."""

    def __init__(
        self,
        inner: Any,
        *,
        chat_template: str | None,
        eos_token: str,
        pad_token: str,
        bos_token: str = "",
        document_end: str = "",
        generation_ends: Sequence[int] = (),
    ) -> None:
        """Wrap `inner`, a tokenizers.Tokenizer. UserError if a named token is not an added token of `inner`.

        generation_ends: ids of further end tokens (generation_config.json's eos_token_id).
        """
        self.inner = inner
        inner.encode_special_tokens = True  # special tokens in text stay text
        inner.no_padding()
        inner.no_truncation()
        added = dict(sorted(inner.get_added_tokens_decoder().items()))
        named = {eos_token, pad_token, bos_token}
        self._specials: dict[str, int] = {t.content: i for i, t in added.items() if t.special or t.content in named}
        self._controls = {
            t.content: i for i, t in added.items() if t.content.strip() and t.content not in self.specials
        }
        self._strips = {t.content: (t.lstrip, t.rstrip) for t in added.values() if t.lstrip or t.rstrip}
        self.chat_template = chat_template
        self.generation_ends = tuple(generation_ends)
        self.eos_token, self.pad_token, self.bos_token = eos_token, pad_token, bos_token
        for role, name in (("eos", eos_token), ("pad", pad_token), ("bos", bos_token)):
            if name and name not in self._specials:
                suggestion = did_you_mean(name, self._specials) if self._specials else ""
                raise UserError(f"the tokenizer's {role} token {name!r} is not one of its special tokens{suggestion}")
        self.document_end = document_end or (END_OF_TEXT if END_OF_TEXT in self._specials else eos_token)
        self._bytes = self._byte_table()

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """Load the tokenizer of a Hugging Face folder: tokenizer.json, else SentencePiece's tokenizer.model, else
        vocab.json and merges.txt; with tokenizer_config.json."""
        folder = Path(folder)
        file = folder / "tokenizer_config.json"
        settings = read_json(file) if file.is_file() else {}
        template, ends = chat_template(folder, settings), generation_ends(folder)
        return cls._wrap(*read_inner(folder), settings=settings, template=template, ends=ends)

    @classmethod
    def from_file(cls, path: Path | str, chat_template: str | None = None) -> Tokenizer:
        """Load a tokenizer.json; eos and pad are ChatML's tokens if present, else <|endoftext|>."""
        return cls._wrap(open_json(Path(path)), Path(path), {}, settings={}, template=chat_template)

    @classmethod
    def _wrap(
        cls,
        inner: Any,
        path: Path,
        usual: Mapping[str, str],
        *,
        settings: Mapping[str, Any],
        template: str | None,
        ends: Sequence[int] = (),
    ) -> Tokenizer:
        """Return the tokenizer with the named tokens of `settings`, else of `usual`, else those of ChatML."""
        import tokenizers

        names = {t.content for t in inner.get_added_tokens_decoder().values() if t.special}
        named = {
            role: token_text(settings.get(f"{role}_token")) or usual.get(role, "") for role in ("eos", "pad", "bos")
        }
        named["eos"] = named["eos"] or next((n for n in (END, END_OF_TEXT, "</s>") if n in names), "")
        if not named["eos"]:
            raise UserError(f"{path}: no end token; tokenizer_config.json must name an eos_token")
        for role, name in named.items():
            if name and inner.token_to_id(name) is None and role != "eos":
                named[role] = ""  # as <pad> of a tokenizer without padding: nothing was trained with it
        inner.add_special_tokens(
            [
                tokenizers.AddedToken(n, normalized=False)
                for n in named.values()
                if n and inner.token_to_id(n) is not None
            ]
        )
        return cls(
            inner,
            chat_template=template,
            eos_token=named["eos"],
            pad_token=named["pad"] or (PAD if PAD in names else named["eos"]),
            bos_token=named["bos"],
            generation_ends=ends,
        )

    @classmethod
    def from_vocab_merges(
        cls,
        vocab: Sequence[str],
        merges: Sequence[str | tuple[str, str]],
        *,
        special_tokens: Sequence[str],
        user_tokens: Sequence[str] = (),
        pre: str = "gpt-2",
        chat_template: str | None = None,
        eos_token: str = "",
        pad_token: str = "",
        bos_token: str = "",
        generation_ends: Sequence[int] = (),
    ) -> Tokenizer:
        """Build a tokenizer from the lists of a GGUF file (tokenizer.ggml.tokens, .merges, .pre).

        user_tokens: tokens that are whole wherever they stand in a text, such as "<think>" or runs of spaces.
        """
        inner = byte_level.make_inner(vocab, merges, special_tokens, user_tokens, pre)
        eos = end_token(eos_token, special_tokens)
        return cls(
            inner,
            chat_template=chat_template,
            eos_token=eos,
            pad_token=pad_token or eos,
            bos_token=bos_token,
            generation_ends=generation_ends,
        )

    @classmethod
    def from_pieces(
        cls,
        pieces: Sequence[str],
        scores: Sequence[float],
        *,
        special_tokens: Sequence[str],
        user_tokens: Sequence[str] = (),
        chat_template: str | None = None,
        eos_token: str = "",
        pad_token: str = "",
        bos_token: str = "",
        generation_ends: Sequence[int] = (),
        add_space: bool = True,
    ) -> Tokenizer:
        """Build a SentencePiece BPE from the pieces of a GGUF or llama2.c file ("▁": a space, "<0x0A>": a byte)."""
        inner = sentencepiece.make_inner(pieces, scores, special_tokens, user_tokens, add_space)
        eos = end_token(eos_token, special_tokens)
        return cls(
            inner,
            chat_template=chat_template,
            eos_token=eos,
            pad_token=pad_token or eos,
            bos_token=bos_token,
            generation_ends=generation_ends,
        )

    @property
    def vocab_size(self) -> int:
        """Number of token ids, 0 to vocab_size - 1."""
        return len(self._bytes)

    @property
    def specials(self) -> Mapping[str, int]:
        return MappingProxyType(self._specials)

    @property
    def controls(self) -> Mapping[str, int]:
        """Added tokens that are no special tokens and not white space, such as <think>."""
        return MappingProxyType(self._controls)

    @property
    def strips(self) -> Mapping[str, tuple[bool, bool]]:
        """Added tokens that take the white space before or after them away."""
        return MappingProxyType(self._strips)

    @property
    def eos_id(self) -> int:
        """Id of the end token that tokenizer_config.json names; the template may end a turn with another (`end_id`)."""
        return self._specials[self.eos_token]

    @functools.cached_property
    def end_id(self) -> int:
        """Id of the token with which the chat template ends an assistant's turn; without one `eos_id`."""
        name = turn_end(self) or self.eos_token
        return self._specials[name] if name in self._specials else self._controls[name]

    @functools.cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids at which a reply ends: the template's end of turn, the end token, and generation_config.json's."""
        return tuple(sorted({self.end_id, self.eos_id, *self.generation_ends}))

    @property
    def pad_id(self) -> int:
        """Id of the padding token; distinct from the end token in kaiwa's tokenizers, not in all others."""
        return self._specials[self.pad_token]

    @property
    def bos_id(self) -> int | None:
        return self._specials[self.bos_token] if self.bos_token else None

    @property
    def document_end_id(self) -> int:
        """Id of the token between documents of the pretraining text."""
        return self._specials[self.document_end]

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, never special tokens."""
        return list(self.inner.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts, on several threads."""
        return [e.ids for e in self.inner.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts without any added token that is more than white space: <think> becomes ordinary text."""
        return [e.ids for e in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)] if texts else []

    @functools.cached_property
    def _plain(self) -> Any:
        """The tokenizer with all added tokens made special, since special tokens in text stay text."""
        import tokenizers

        state = json.loads(self.inner.to_str())
        for token in state["added_tokens"]:
            token["special"] = token["special"] or token["content"] in self._controls
        plain = tokenizers.Tokenizer.from_str(json.dumps(state))
        plain.encode_special_tokens = True
        return plain

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of tokens; special tokens and ids beyond the vocabulary have no bytes."""
        return b"".join([self._bytes[i] for i in ids if i < len(self._bytes)])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens. An incomplete character at the end is dropped; broken bytes elsewhere become �."""
        stream = StreamDecoder(self)
        return "".join([stream.push(i) for i in ids])

    def token_text(self, id: int) -> str:
        """Return a token as text for display: a special token's name, or the token's bytes with invalid bytes as �."""
        for name, special in self._specials.items():
            if special == id:
                return name
        return self.decode_bytes((id,)).decode("utf-8", errors="replace")

    def byte_lengths(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Return the number of bytes of each token [vocab_size], the divisor of bits per byte."""
        return np.array([len(b) for b in self._bytes], dtype=np.int32)

    def _byte_table(self) -> list[bytes]:
        special = set(self._specials.values())
        kind = self.inner.decoder.__getstate__() if self.inner.decoder is not None else b""
        pieces = b"ByteLevel" not in kind  # SentencePiece's pieces, not GPT-2's alphabet
        to_bytes = word_piece_bytes if b"WordPiece" in kind else piece_bytes if pieces else token_bytes
        added = self.inner.get_added_tokens_decoder()
        vocab: dict[str, int] = self.inner.get_vocab(with_added_tokens=True)
        table = [b""] * (max(vocab.values()) + 1)
        for token, id in vocab.items():
            if id not in special:
                table[id] = token.encode("utf-8") if id in added and not pieces else to_bytes(token)
        return table


class StreamDecoder:
    """Decoding of a stream of tokens. The bytes of a character are held back until the character is complete."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Add a token and return the characters completed by the token, possibly none."""
        return self._utf8.decode(self._tokenizer.decode_bytes((id,)))


def end_token(name: str, special: Sequence[str]) -> str:
    """Return the end token: `name`, else the usual one among `special`. UserError where there is none."""
    end = name or next((usual for usual in ("</s>", END, END_OF_TEXT) if usual in special), "")
    if not end:
        raise UserError("the vocabulary names no end token, so no answer would end")
    return end
