"""4-bit quantization: the weights of each group are rounded to 16 levels, to nearest or by GPTQ.

The folder has Hugging Face's layout with GPTQ's tensors (qweight, qzeros, scales). Embedding and norms stay in bf16,
and so does the unembedding unless `head` is set. The stage measures bytes on disk, and perplexity per token before and
after on the same held-out rows; GPTQ adds a card (quantize.json). Symmetric models are written in GPTQ's version 1,
which all programs read, asymmetric models in version 2, the only version for all zero points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish, write_atomic
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.by_name import family_of
from kaiwa.model.formats.gptq import load_int4, save_gptq, save_int4
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.model.int4 import quantized_names
from kaiwa.quantize.card import card, card_lines, compare
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.gptq import QuantizedLayer
from kaiwa.quantize.layers import quantize_layers
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.rows import Rows
from kaiwa.train.shards import Shards

CARD = "quantize.json"


def run(
    config: QuantizeConfig,
    ctx: Context,
    *,
    model: Artifact,
    tokens: Artifact,
    out: Path,
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Quantize a model artifact and publish the 4-bit model. tokens: has the held-out text for the perplexity."""
    plan = Plan("int4", config, {"model": model, "tokens": tokens}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        decoder, tokenizer = load_decoder(model.path), Tokenizer.load(model.path)
        _check_layout(decoder, config.group)
        shards = Shards.of_model(tokens.path, tokenizer, model.path)
        width = min(config.width, decoder.config.max_length)
        rows = {name: shards.held_out(name, width, config.evaluate_rows) for name in shards.sources}
        before = {name: perplexity(decoder, part) for name, part in rows.items()}
        ids = special_ids(tokenizer)
        rounded: dict[str, QuantizedLayer] = {}
        if config.method == "gptq":
            text = shards.mixture(width, ctx.seed).next(config.calibration_rows)
            rounded = quantize_layers(decoder, text, config, ctx, stage=out.name, checkpoint=work.checkpoint)
            save_rounded(work.path, decoder, ids, rounded, config)
        else:
            ctx.show(Progress(out.name, 1, 3))
            save_int4(work.path, decoder, ids, config.group)
        copy_tokenizer(model.path, work.path)
        write_chat_card(work.path, chat)
        quantized = load_int4(work.path)
        after = {name: perplexity(quantized, part) for name, part in rows.items()}
        if rounded:
            measured = distances(load_decoder(model.path), quantized, rows, before, after)
            value = card(rounded, measured)
            write_atomic(work.path / CARD, json.dumps(value, indent=1, sort_keys=True) + "\n")
            for line in card_lines(value):
                ctx.say(line)
            for name, distance in measured.items():
                work.metrics[f"kl_{name}"] = distance["kl"]["mean"]
                work.metrics[f"agree_{name}"] = distance["agree"]["mean"]
        ctx.show(Progress(out.name, 3, 3))
        work.metrics.update(bytes_before=_bytes(model.path), bytes_after=_bytes(work.path))
        for name in rows:
            work.metrics[f"perplexity_before_{name}"] = before[name]
            work.metrics[f"perplexity_after_{name}"] = after[name]
        metrics = ctx.metrics(out.name)
        metrics.cut(0)
        metrics.log(0, **work.metrics)
    return open_artifact(out)


def _check_layout(decoder: Decoder, group: int) -> None:
    """Raise UserError for a model whose layers are not quantized, or a group that does not divide their inputs."""
    if decoder.config.experts.n_experts or family_of(decoder.config).qkv_by_head:
        what = "experts" if decoder.config.experts.n_experts else "GPT-NeoX's layout"
        raise UserError(f"models with {what} are not quantized; export to GGUF with --type Q4_0 instead")
    for name in quantized_names(decoder):
        inputs = decoder.state_dict()[name].shape[1]
        if inputs % group:
            raise UserError(
                f"quantize.group {group} does not divide the {inputs} inputs of {name}; choose a smaller group"
            )


def save_rounded(
    folder: Path,
    decoder: Decoder,
    special: dict[str, int],
    layers: Mapping[str, QuantizedLayer],
    config: QuantizeConfig,
) -> None:
    """Write the GPTQ folder of a decoder whose linear layers were rounded by GPTQ."""
    settings = {
        "group_size": config.group,
        "sym": config.symmetric,
        "desc_act": config.act_order and not config.static_groups,
        "static_groups": config.act_order and config.static_groups,
        "true_sequential": True,
        "meta": {"quantizer": ["kaiwa:gptq"], "damp_percent": config.damping},
    }
    codes = {name: rounded.codes for name, rounded in layers.items()}
    save_gptq(folder, decoder, special, codes, settings=settings, version=1 if config.symmetric else 2)


def distances(
    original: Decoder,
    quantized: Decoder,
    rows: Mapping[str, Rows],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> dict[str, Any]:
    """Return the card's measurements for each source."""
    measured = {}
    for name, part in rows.items():
        kl, agree = compare(original, quantized, part)
        measured[name] = {"before": before[name], "after": after[name], "kl": kl.to_json(), "agree": agree.to_json()}
    return measured


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@torch.no_grad()
def perplexity(model: Decoder, rows: Rows, batch: int = 8) -> float:
    """Return the perplexity exp(mean loss per token) of a model on rows."""
    nats = count = 0.0
    for at in range(0, len(rows.ids), batch):
        part = slice(at, at + batch)
        piece = Rows(rows.ids[part], rows.segments[part], rows.positions[part], rows.weights[part]).tensors()
        nats += float(rows_loss(model, piece))
        count += float(piece[-1].sum())
    return math.exp(nats / max(1.0, count))
