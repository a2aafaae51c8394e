"""The distance of the quantized model from the original, per token on the same held-out rows:

    KL(original || quantized) per token, in nats, and the share of positions with the same likeliest next token,

each with a 95 % interval over rows (bootstrap; tokens of a row are not independent).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kaiwa.model.attention import attend_rows, segment_mask
from kaiwa.model.decoder import Decoder
from kaiwa.quantize.gptq import QuantizedLayer
from kaiwa.stats.intervals import Interval, bootstrap
from kaiwa.train.rows import Rows

BATCH = 4
MOST_LAYERS = 5  # layers with the largest errors to print


@torch.no_grad()
def logits_of(model: Decoder, rows: Rows, start: int) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [B,T,V] of BATCH rows from `start` on, and a mask of the counted targets [B,T]."""
    part = slice(start, start + BATCH)
    piece = Rows(rows.ids[part], rows.segments[part], rows.positions[part], rows.weights[part])
    ids, positions, segments, _, weights = piece.tensors()
    hidden = model(ids, positions, attend_rows(segment_mask(segments)))
    return model.logits(hidden).float().log_softmax(dim=-1), weights > 0


def compare(original: Decoder, quantized: Decoder, rows: Rows) -> tuple[Interval, Interval]:
    """Return KL and agreement of the likeliest token, means over rows."""
    kl, same = [], []
    for start in range(0, len(rows.ids), BATCH):
        p, counts = logits_of(original, rows, start)
        q, _ = logits_of(quantized, rows, start)
        n = counts.sum(dim=1).clamp(min=1)
        kl += (((p.exp() * (p - q)).sum(dim=-1) * counts).sum(dim=1) / n).tolist()
        same += (((p.argmax(-1) == q.argmax(-1)) & counts).sum(dim=1) / n).tolist()
    return bootstrap(kl), bootstrap(same)


def bits_per_weight(layers: Mapping[str, QuantizedLayer]) -> float:
    """Return bits per weight from 4 bits per code, 16 per scale, 4 per zero point (also in symmetric models)."""
    weights = sum(r.codes.codes.numel() for r in layers.values())
    groups = sum(r.codes.scales.numel() for r in layers.values())
    order = sum(32 * len(r.codes.order) for r in layers.values() if r.codes.order is not None)
    return (4 * weights + 20 * groups + order) / max(1, weights)


def card(layers: Mapping[str, QuantizedLayer], measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return quantize.json: bits, the measured distance, each layer's relative output error, every fallback."""
    return {
        "bits_per_weight": round(bits_per_weight(layers), 4),
        "measured": dict(measured),
        "layers": {name: round(r.error, 6) for name, r in layers.items()},
        "fallbacks": {name: r.note for name, r in layers.items() if r.note},
    }


def card_lines(value: Mapping[str, Any]) -> list[str]:
    """Return the card's lines for the terminal."""
    lines = [f"{value['bits_per_weight']:.3f} bits per weight"]
    for source, m in value["measured"].items():
        kl, same = m["kl"], m["agree"]
        lines.append(
            f"{source}: perplexity {m['before']:.3f} -> {m['after']:.3f}; "
            f"KL {kl['mean']:.5f} [{kl['low']:.5f}, {kl['high']:.5f}] nats per token; "
            f"same likeliest token {same['mean']:.1%} [{same['low']:.1%}, {same['high']:.1%}]"
        )
    worst = sorted(value["layers"].items(), key=lambda item: -item[1])[:MOST_LAYERS]
    lines.append("largest output errors: " + ", ".join(f"{n.removesuffix('.weight')} {e:.4f}" for n, e in worst))
    lines += [f"{name}: {note}" for name, note in value["fallbacks"].items()]
    return lines
