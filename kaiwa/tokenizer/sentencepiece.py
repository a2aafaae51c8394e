"""SentencePiece's BPE (LLaMA 1 and 2, Vicuna, Mistral) by the `tokenizers` library, from pieces and their scores.

SentencePiece repeatedly joins the neighbouring pair whose joined piece has the highest score, the leftmost on a tie. A
BPE with ranked merges does the same if every split of a piece into two pieces is a merge, ranked by the piece's score.
Characters without a piece become their UTF-8 bytes ("<0xE3>" ...); spaces become "▁", and a text begins with "▁".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaiwa.core.errors import UserError


def make_inner(
    pieces: Sequence[str],
    scores: Sequence[float],
    special: Sequence[str],
    user: Sequence[str],
    add_space: bool,
    *,
    unknown: str = "",
    steps: Sequence[Any] = (),
) -> Any:
    """Return a tokenizers.Tokenizer. UserError for doubled pieces or missing byte pieces.

    user: pieces that are whole wherever they stand in a text; "▁" in them is a space. unknown: the piece for a
    character without one, for a model without byte pieces. steps: normalizers that come before the spaces.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers

    ids = {piece: i for i, piece in enumerate(pieces)}
    if len(ids) < len(pieces):
        raise UserError(f"the vocabulary has {len(pieces)} pieces but only {len(ids)} different ones")
    if not unknown and any(f"<0x{b:02X}>" not in ids for b in range(256)):
        raise UserError("the vocabulary lacks byte pieces (<0x00> to <0xFF>); text outside it could not be encoded")
    missing = [t for t in special if t not in ids]
    if missing:
        raise UserError(f"special token {missing[0]!r} is not in the vocabulary of {len(pieces)} pieces")
    model = models.BPE(
        vocab=ids,
        merges=merges(ids, scores, {*special, *user}),
        unk_token=unknown or None,
        fuse_unk=bool(unknown),
        byte_fallback=not unknown,
    )
    inner = tokenizers.Tokenizer(model)
    spaces = [normalizers.Replace(" ", "▁")]
    inner.normalizer = normalizers.Sequence([*steps, *([normalizers.Prepend("▁")] if add_space else []), *spaces])
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in special])
    # With a space in front of every text a normalised token would begin with one too.
    inner.add_tokens([tokenizers.AddedToken(t, special=False, normalized="▁" in t and not add_space) for t in user])
    return inner


def merges(ids: dict[str, int], scores: Sequence[float], special: set[str]) -> list[tuple[str, str]]:
    """Return every split of a piece into two pieces, ordered by the piece's score, highest first (ties: by id)."""
    pairs = []
    for piece in sorted(ids, key=lambda piece: (-scores[ids[piece]], ids[piece])):
        if len(piece) < 2 or piece in special or (piece.startswith("<0x") and len(piece) == 6):
            continue
        splits = [
            (head, tail)
            for cut in range(1, len(piece))
            if (head := piece[:cut]) in ids and (tail := piece[cut:]) in ids
        ]
        pairs += splits if len(splits) < 2 else sorted(splits, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return pairs
