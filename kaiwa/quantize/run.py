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

from kaiwa.catalog.entries import weights_format
from kaiwa.catalog.weights import open_weights
from kaiwa.core.artifact import Artifact, Plan, fingerprint, finished, open_artifact, publish, write_atomic
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.machine import free_memory_bytes
from kaiwa.model.adapter import read_adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.families.by_name import family_of
from kaiwa.model.formats.gptq import load_int4, save_gptq, save_int4
from kaiwa.model.int4 import quantized_names
from kaiwa.quantize.card import card, card_lines, compare
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.gptq import QuantizedLayer
from kaiwa.quantize.layers import quantize_layers
from kaiwa.quantize.text import rows_by_model, rows_of_file, rows_of_tokens
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save as save_tokenizer
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.rows import Rows

CARD = "quantize.json"


def run(
    config: QuantizeConfig,
    ctx: Context,
    *,
    model: Artifact,
    text: Artifact | None = None,
    adapter: Path | None = None,
    out: Path,
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Quantize a model and publish the 4-bit model.

    model: an artifact, a folder of others or a .gguf file. text: an artifact of `kaiwa tokenizer`, a text file, or
    None: the model writes its own. adapter: a low-rank change in PEFT's layout that is merged before.
    """
    parents = {"model": model} | ({} if text is None else {"tokens": text})
    plan = Plan("int4", config, parents | ({} if adapter is None else {"adapter": fingerprint(adapter)}), ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        check_memory(model.path)
        weights = open_weights(model.path)
        tokenizer = weights.read_tokenizer()
        decoder = read_merged(model.path, adapter)
        _check_layout(decoder, config.group)
        width = min(config.width, decoder.config.max_length)
        prefix = weights.read_prefix(tokenizer) or (tokenizer.document_end_id,)
        if text is None:
            source = rows_by_model(config, decoder, prefix, weights.read_stop_ids(tokenizer), ctx, width=width)
        elif text.manifest.get("kind") == "tokenizer":
            source = rows_of_tokens(config, text, tokenizer, model, width=width, seed=ctx.seed)
        else:
            source = rows_of_file(config, text.path, tokenizer, prefix, width=width, seed=ctx.seed)
        rows = source.held_out
        before = {name: perplexity(decoder, part) for name, part in rows.items()}
        ids = special_ids(tokenizer)
        rounded: dict[str, QuantizedLayer] = {}
        if config.method == "gptq":
            rounded = quantize_layers(
                decoder, source.calibration, config, ctx, stage=out.name, checkpoint=work.checkpoint
            )
            save_rounded(work.path, decoder, ids, rounded, config)
        else:
            ctx.show(Progress(out.name, 1, 3))
            save_int4(work.path, decoder, ids, config.group)
        write_tokenizer(model.path, tokenizer, work.path)
        write_chat_card(work.path, chat)
        quantized = load_int4(work.path)
        after = {name: perplexity(quantized, part) for name, part in rows.items()}
        if rounded:
            measured = distances(read_merged(model.path, adapter), quantized, rows, before, after)
            value = card(rounded, measured)
            write_atomic(work.path / CARD, json.dumps(value, indent=1, sort_keys=True) + "\n")
            for line in card_lines(value):
                ctx.say(line)
            for name, distance in measured.items():
                work.metrics[f"kl_{name}"] = distance["kl"]["mean"]
                work.metrics[f"agree_{name}"] = distance["agree"]["mean"]
        ctx.show(Progress(out.name, 3, 3))
        work.metrics.update(bytes_before=size_of_weights(model.path), bytes_after=size_of_weights(work.path))
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


def size_of_weights(path: Path) -> int:
    """Return the bytes of a model's file, or of the weights in its folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.glob("*.safetensors"))


def check_memory(path: Path) -> None:
    """Raise UserError for a model whose weights do not fit memory twice in fp32: the original and the rounded one."""
    needed, free = 8 * open_weights(path).config.n_parameters, free_memory_bytes()
    if needed > free:
        raise UserError(
            f"{path}: quantizing needs {needed / 1e9:.1f} GB of memory (two copies in fp32), {free / 1e9:.1f} GB are "
            "free"
        )


def read_merged(path: Path, adapter: Path | None) -> Decoder:
    """Read a model's dense weights in fp32, with an adapter's low-rank change added. UserError for a soft prompt."""
    decoder = open_weights(path).read_dense().requires_grad_(False)
    if adapter is None:
        return decoder
    changes = read_adapter(adapter, decoder.config)
    if changes.soft is not None:
        raise UserError(f"{adapter}: is a soft prompt, which changes no weights; quantize the base alone")
    for block, parts in zip(decoder.blocks, changes.changes, strict=True):
        for part, (a, b) in parts.items():
            getattr(block, part).weight += b @ a
    return decoder


def write_tokenizer(model: Path, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer's files: copied from a folder, or made from a .gguf file."""
    if weights_format(model) == "folder":
        copy_tokenizer(model, folder)
    else:
        save_tokenizer(tokenizer, folder)


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
