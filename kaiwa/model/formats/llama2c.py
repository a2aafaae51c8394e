"""llama2.c's files: MODEL.bin (a header of seven int32, then fp32 weights) beside its tokenizer (tok*.bin).

The header is dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: the unembedding is not tied) and
seq_len. Weights follow by kind, each over all layers, then two rotary tables that are not needed. Rotary positions turn
neighbouring pairs there and halves here, so rows of query and key are put in our order. The file has no magic number: a
file is in llama2.c's format exactly if the header's shapes add up to the file's size.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gguf_vocabulary import RawVocabulary
from kaiwa.model.formats.hf_folder import check_state

HEADER = struct.Struct("<7i")
MOST_TOKENS = 1 << 20


class Llama2cFile:
    """An open file: `config`, `vocabulary()`, `decoder()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as f:
            head = f.read(HEADER.size)
        why = f"{path}: no model of llama2.c (pickled .bin files are refused: they can run code)"
        if len(head) < HEADER.size:
            raise UserError(why)
        d, ff, layers, heads, kv, vocab, length = HEADER.unpack(head)
        if min(d, ff, layers, heads, kv, abs(vocab), length) < 1 or max(layers, heads, kv) > 1 << 12 or d % heads:
            raise UserError(why)
        self.shapes = _shapes(
            d, ff, layers, kv * (d // heads), vocab=abs(vocab), tied=vocab > 0, length=length, d_head=d // heads
        )
        size = HEADER.size + 4 * sum(math.prod(shape) for shape in self.shapes.values())
        if size != path.stat().st_size:
            raise UserError(why)
        self.config = DecoderConfig(
            vocab_size=abs(vocab),
            d_model=d,
            n_layer=layers,
            n_head=heads,
            n_kv_head=kv,
            d_ff=ff,
            max_length=length,
            tie_embeddings=vocab > 0,
        )

    def decoder(self, dtype: torch.dtype = torch.float32, kernel: bool | None = None) -> Decoder:
        """Read the model in `dtype`."""
        c = self.config
        flat = torch.from_numpy(np.fromfile(self.path, dtype="<f4", offset=HEADER.size))
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), flat.split(sizes), strict=True)
        w = {name: part.view(shape) for (name, shape), part in parts}
        state = {"embed.weight": w["embed"], "norm.weight": w["norm"], "unembed.weight": w.get("unembed", w["embed"])}
        for i in range(c.n_layer):
            p = f"blocks.{i}."
            state[p + "norm_attn.weight"], state[p + "norm_mlp.weight"] = w["norm_attn"][i], w["norm_mlp"][i]
            state[p + "qkv.weight"] = torch.cat((_halves(w["q"][i], c.d_head), _halves(w["k"][i], c.d_head), w["v"][i]))
            state[p + "out.weight"], state[p + "down.weight"] = w["out"][i], w["down"][i]
            state[p + "up.weight"] = torch.cat((w["gate"][i], w["up"][i]))
        model = Decoder(c)
        try:
            check_state(state, {n: tuple(t.shape) for n, t in model.state_dict().items()})
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        model.load_state_dict(state)
        return model.to(dtype).requires_grad_(False).eval()

    def vocabulary(self) -> RawVocabulary:
        """Read the tokenizer beside the model: tok*.bin of as many tokens as the model has."""
        for file in sorted(self.path.parent.glob("tok*.bin")):
            tokens, scores = _tokens(file, self.config.vocab_size)
            if tokens:
                break
        else:
            raise UserError(f"{self.path}: no tokenizer of {self.config.vocab_size} tokens (tok*.bin) beside it")
        tokens[:3] = ["<unk>", "<s>", "</s>"]
        return RawVocabulary(
            tokens=tuple(t.replace(" ", "▁") for t in tokens),
            merges=(),
            special=("<unk>", "<s>", "</s>"),
            pre="",
            eos="</s>",
            pad="</s>",
            bos="<s>",
            chat_template=None,
            add_bos=True,
            scores=tuple(scores),
        )


def _shapes(
    d: int, ff: int, layers: int, kv: int, *, vocab: int, tied: bool, length: int, d_head: int
) -> dict[str, tuple[int, ...]]:
    """Return the tensors' shapes in the file's order."""
    shapes: dict[str, tuple[int, ...]] = {
        "embed": (vocab, d),
        "norm_attn": (layers, d),
        "q": (layers, d, d),
        "k": (layers, kv, d),
        "v": (layers, kv, d),
        "out": (layers, d, d),
        "norm_mlp": (layers, d),
        "gate": (layers, ff, d),
        "down": (layers, d, ff),
        "up": (layers, ff, d),
        "norm": (d,),
        "cos": (length, d_head // 2),
        "sin": (length, d_head // 2),
    }
    return shapes if tied else shapes | {"unembed": (vocab, d)}


def _halves(weight: Tensor, d_head: int) -> Tensor:
    index = torch.arange(len(weight)).view(-1, d_head // 2, 2).transpose(1, 2).reshape(-1)
    return weight[index]


def _tokens(file: Path, n: int) -> tuple[list[str], list[float]]:
    """Read n tokens with their scores; ([], []) for a file that has not exactly so many."""
    data, at = file.read_bytes(), 4
    tokens: list[str] = []
    scores: list[float] = []
    while at + 8 <= len(data) and len(tokens) <= MOST_TOKENS:
        score, size = struct.unpack_from("<fi", data, at)
        at += 8
        if not 0 <= size <= len(data) - at:
            return [], []
        tokens.append(data[at : at + size].decode("utf-8", errors="replace"))
        scores.append(score)
        at += size
    return (tokens, scores) if len(tokens) == n and at == len(data) else ([], [])
