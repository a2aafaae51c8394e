"""`tokenizer.model`: SentencePiece's own file, read without its library, as pieces, scores and settings.

The file is one protocol-buffer message (sentencepiece_model.proto): field 1 the pieces (1 text, 2 score, 3 kind),
field 2 the trainer's settings (3 the algorithm, 35 byte fallback, 40 to 43 the ids of unknown, begin, end, padding),
field 3 the normaliser's (2 a compiled table, 3 a space in front, 4 no doubled spaces).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.tokenizer.sentencepiece import make_inner

UNIGRAM, BPE = 1, 2
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # kinds of pieces; 1 is a normal one


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """Pieces in the order of their ids, with scores and kinds; ids of named tokens are -1 where there is none."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]
    algorithm: int
    byte_fallback: bool
    ids: tuple[int, int, int, int]  # unknown, begin, end, padding
    table: bytes
    add_space: bool
    one_space: bool

    def token(self, role: str) -> str:
        """Return the piece of "unk", "bos", "eos" or "pad"; "" where there is none."""
        id = self.ids[("unk", "bos", "eos", "pad").index(role)]
        return self.pieces[id] if 0 <= id < len(self.pieces) else ""

    def special(self) -> tuple[str, ...]:
        return tuple(p for p, kind in zip(self.pieces, self.kinds, strict=True) if kind in (UNKNOWN, CONTROL))

    def user(self) -> tuple[str, ...]:
        return tuple(p for p, kind in zip(self.pieces, self.kinds, strict=True) if kind == USER_DEFINED)

    def make_inner(self) -> Any:
        """Return a tokenizers.Tokenizer. UserError for an algorithm other than BPE and unigram."""
        if self.algorithm == BPE:
            unknown = "" if self.byte_fallback else self.token("unk")
            lists = (self.pieces, self.scores, self.special(), self.user())
            return make_inner(*lists, self.add_space, unknown=unknown, steps=self._steps())
        if self.algorithm == UNIGRAM:
            return self._make_unigram()
        raise UserError(f"a SentencePiece model of kind {self.algorithm}; BPE ({BPE}) and unigram ({UNIGRAM}) are read")

    def _steps(self) -> list[Any]:
        """Return the normalizers of the model's own settings."""
        from tokenizers import Regex, normalizers

        steps: list[Any] = [normalizers.Precompiled(self.table)] if self.table else []
        if self.one_space:
            steps += [normalizers.Strip(left=True, right=True), normalizers.Replace(Regex(" {2,}"), " ")]
        return steps

    def _make_unigram(self) -> Any:
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers

        unknown = self.ids[0]
        if not 0 <= unknown < len(self.pieces):
            raise UserError("a unigram model without an unknown piece is not read")
        vocabulary = list(zip(self.pieces, self.scores, strict=True))
        inner = tokenizers.Tokenizer(models.Unigram(vocabulary, unknown, self.byte_fallback))
        inner.normalizer = normalizers.Sequence(self._steps())
        scheme = "always" if self.add_space else "never"
        inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        inner.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in self.special()])
        inner.add_tokens([tokenizers.AddedToken(t, special=False, normalized=False) for t in self.user()])
        return inner


def read_model(path: Path) -> SentencePieceModel:
    """Read a tokenizer.model. UserError for a file that is damaged or no SentencePiece model."""
    try:
        data = path.read_bytes()
        pieces: list[tuple[str, float, int]] = []
        trainer: dict[int, Any] = {}
        normaliser: dict[int, Any] = {}
        for number, value in _fields(data):
            if number == 1:
                piece = dict(_fields(_message(value)))
                pieces.append((_message(piece[1]).decode("utf-8"), float(piece.get(2, 0.0)), int(piece.get(3, 1))))
            elif number == 2:
                trainer = dict(_fields(_message(value)))
            elif number == 3:
                normaliser = dict(_fields(_message(value)))
        if not pieces:
            raise ValueError("no pieces")
        names, scores, kinds = zip(*pieces, strict=True)
        return SentencePieceModel(
            pieces=names,
            scores=scores,
            kinds=kinds,
            algorithm=int(trainer.get(3, UNIGRAM)),
            byte_fallback=bool(trainer.get(35, 0)),
            ids=tuple(_signed(trainer.get(field, usual)) for field, usual in ((40, 0), (41, 1), (42, 2), (43, -1))),  # type: ignore[arg-type]
            table=_message(normaliser.get(2, b"")),
            add_space=bool(normaliser.get(3, 1)),
            one_space=bool(normaliser.get(4, 1)),
        )
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise UserError(f"{path}: damaged or no SentencePiece model ({error})") from None


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield number and value of a message's fields: a whole number, a float, or bytes. ValueError past the end."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if size > len(data) - at:
                raise ValueError(f"{size} bytes are announced, {len(data) - at} are left")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, struct.unpack("<d" if wire == 1 else "<f", data[at : at + size])[0]
            at += size
        else:
            raise ValueError(f"field of unknown kind {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the whole number at a place, seven bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _signed(value: Any) -> int:
    """Return a number of 64 bits with its sign: -1 stands for no token."""
    return int(value) - (1 << 64) if int(value) >= 1 << 63 else int(value)


def _message(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a message is expected")
    return value
