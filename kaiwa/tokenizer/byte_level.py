"""Byte-level BPE (GPT-2 and most models since) by the `tokenizers` library, from a vocabulary and its merges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.tokenizer.alphabet import byte_of_char
from kaiwa.tokenizer.pre_tokenizers import WHOLE_PIECES, pre_tokenizer


def make_inner(
    vocab: Sequence[str],
    merges: Sequence[str | tuple[str, str]],
    special: Sequence[str],
    user: Sequence[str] = (),
    pre: str = "gpt-2",
) -> Any:
    """Return a tokenizers.Tokenizer. UserError for doubled tokens, missing bytes or merges.

    user: tokens that are whole wherever they stand in a text. pre: name or regex of the pre-tokenizer.
    """
    import tokenizers
    from tokenizers import decoders, models

    ids = {token: i for i, token in enumerate(vocab)}
    if len(ids) < len(vocab):
        raise UserError(f"the vocabulary has {len(vocab)} tokens but only {len(ids)} different ones")
    missing = [c for c in byte_of_char() if c not in ids]
    if len(missing) > 64:  # SmolLM2 lacks 21 bytes that its training text never had; encoding skips them
        raise UserError(f"the vocabulary is not byte-level: {len(missing)} of the 256 byte tokens are missing")
    pairs = [m if isinstance(m, tuple) else (m.split(" ")[0], m.split(" ")[1]) for m in merges]
    if not pairs:
        raise UserError("the vocabulary has no merges, without which text cannot be cut into its tokens")
    model = models.BPE(vocab=ids, merges=pairs, fuse_unk=False, byte_fallback=False, ignore_merges=pre in WHOLE_PIECES)
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizer(pre)
    inner.decoder = decoders.ByteLevel()
    unknown = [t for t in special if t not in ids]
    if unknown:
        raise UserError(f"special token {unknown[0]!r} is not in the vocabulary of {len(vocab)} tokens")
    inner.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in special])
    inner.add_tokens([tokenizers.AddedToken(t, special=False, normalized=False) for t in user])
    return inner
