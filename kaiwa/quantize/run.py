"""Round-to-nearest 4-bit quantization: each group of weights becomes 16 levels between its ends.

The folder keeps Hugging Face's layout with GPTQ's tensors (qweight, qzeros, scales). Embedding, unembedding and norms
stay in bf16. Reported: bytes on disk, and perplexity a token before and after on the same held-out rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.model.decoder import Decoder
from kaiwa.model.folder import load_decoder
from kaiwa.model.int4 import load_int4, save_int4
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.rows import Rows
from kaiwa.train.shards import Shards


def run(
    config: QuantizeConfig,
    ctx: Context,
    *,
    model: Artifact,
    tokens: Artifact,
    out: Path,
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Quantizes a model artifact; `tokens` gives the held-out text that perplexity is measured on."""
    plan = Plan("int4", config, {"model": model, "tokens": tokens}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        decoder, tokenizer = load_decoder(model.path), Tokenizer.load(model.path)
        if decoder.config.d_model % config.group or decoder.config.d_ff % config.group:
            raise UserError(
                f"quantize.group {config.group} does not divide d_model {decoder.config.d_model} and d_ff "
                f"{decoder.config.d_ff}; choose a smaller group"
            )
        shards = Shards(tokens.path)
        rows = {name: shards.held_out(name, config.width, config.evaluate_rows) for name in shards.sources}
        before = {name: perplexity(decoder, part) for name, part in rows.items()}
        ctx.show(Progress(out.name, 1, 3))
        save_int4(work.path, decoder, special_ids(tokenizer), config.group)
        copy_tokenizer(model.path, work.path)
        write_chat_card(work.path, chat)
        ctx.show(Progress(out.name, 2, 3))
        small = load_int4(work.path)
        after = {name: perplexity(small, part) for name, part in rows.items()}
        ctx.show(Progress(out.name, 3, 3))
        work.metrics.update(bytes_before=_bytes(model.path), bytes_after=_bytes(work.path))
        for name in rows:
            work.metrics[f"perplexity_before_{name}"] = before[name]
            work.metrics[f"perplexity_after_{name}"] = after[name]
        metrics = ctx.metrics(out.name)
        metrics.cut(0)
        metrics.log(0, **work.metrics)
    return open_artifact(out)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@torch.no_grad()
def perplexity(model: Decoder, rows: Rows, batch: int = 8) -> float:
    """exp of the mean loss a token."""
    nats = count = 0.0
    for at in range(0, len(rows.ids), batch):
        part = slice(at, at + batch)
        piece = Rows(rows.ids[part], rows.segments[part], rows.positions[part], rows.weights[part]).tensors()
        nats += float(rows_loss(model, *piece))
        count += float(piece[-1].sum())
    return math.exp(nats / max(1.0, count))
