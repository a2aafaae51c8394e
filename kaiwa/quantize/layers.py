"""GPTQ over a whole decoder, layer after layer; each layer gets its inputs from the layers already rounded.

Within a block the order is query-key-value, out, up, down; each part's inputs are measured after the earlier parts were
rounded. Rounded layers are written to the checkpoint block by block, so that a stopped run continues from there.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kaiwa.core.artifact import write_atomic
from kaiwa.core.context import Context, Progress
from kaiwa.model.attention import attend_rows, segment_mask
from kaiwa.model.decoder import Decoder
from kaiwa.model.int4 import LINEARS, Codes
from kaiwa.model.rotary import rotary_by_layer
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.gptq import Hessian, QuantizedLayer, gptq
from kaiwa.train.rows import Rows

BATCH = 8  # calibration rows at a time


@torch.no_grad()
def quantize_layers(
    decoder: Decoder, rows: Rows, config: QuantizeConfig, ctx: Context, *, stage: str, checkpoint: Path
) -> dict[str, QuantizedLayer]:
    """Round the decoder's linear layers in place (dense, to their 4-bit values). Return each result by name."""
    parts = [Rows(*(getattr(rows, f)[i : i + BATCH] for f in ("ids", "segments", "positions", "weights")))
             for i in range(0, len(rows.ids), BATCH)]  # fmt: skip
    texts = [CalibrationText(decoder, *part.tensors()[:3]) for part in parts]
    layers: dict[str, QuantizedLayer] = {}
    total = len(decoder.blocks) + config.head
    for i, block in enumerate(decoder.blocks):
        file = checkpoint / f"block-{i}.safetensors"
        saved = read_rounded(file)
        for part in LINEARS:
            name, linear = f"blocks.{i}.{part}.weight", getattr(block, part)
            layers[name] = saved[name] if name in saved else _round(linear, texts, i, config)
            linear.weight.copy_(layers[name].codes.dense())
        if not saved:
            write_rounded(file, {n: r for n, r in layers.items() if n.startswith(f"blocks.{i}.")})
        for text in texts:
            text.x = text.through(i)
        ctx.show(Progress(stage, i + 1, total, f"error {layers[f'blocks.{i}.down.weight'].error:.4f}"))
        ctx.check_stop()
    if config.head:
        hessian = Hessian(decoder.config.d_model)
        for text in texts:
            hessian.see(decoder.norm(text.x))
        if decoder.config.tie_embeddings:
            decoder.unembed.weight = nn.Parameter(decoder.embed.weight.clone())
        layers["unembed.weight"] = _gptq(decoder.unembed.weight, hessian, config)
        decoder.unembed.weight.copy_(layers["unembed.weight"].codes.dense())
        ctx.show(Progress(stage, total, total, "head"))
    return layers


class CalibrationText:
    """A batch of calibration rows on its way through the decoder. x [B,T,D]: the input of the next block."""

    def __init__(self, decoder: Decoder, ids: Tensor, positions: Tensor, segments: Tensor) -> None:
        self.decoder = decoder
        self.attend = attend_rows(segment_mask(segments))
        self.x = decoder.embedded(ids, positions)
        self.rotary = rotary_by_layer(positions, decoder.config)

    def through(self, block: int) -> Tensor:
        """Return the hidden states [rows,T,D] after a block."""
        return self.decoder.blocks[block](self.x, self.rotary[block], self.attend)  # type: ignore[no-any-return]


def _round(linear: nn.Linear, texts: list[CalibrationText], block: int, config: QuantizeConfig) -> QuantizedLayer:
    hessian = Hessian(linear.in_features)
    handle = linear.register_forward_pre_hook(lambda module, inputs: hessian.see(inputs[0]))
    try:
        for text in texts:
            text.through(block)
    finally:
        handle.remove()
    return _gptq(linear.weight, hessian, config)


def _gptq(weight: Tensor, hessian: Hessian, config: QuantizeConfig) -> QuantizedLayer:
    return gptq(
        weight,
        hessian.mean(),
        config.group,
        symmetric=config.symmetric,
        act_order=config.act_order,
        static_groups=config.static_groups,
        damping=config.damping,
    )


def write_rounded(file: Path, layers: dict[str, QuantizedLayer]) -> None:
    """Write a block's layers: first the tensors, then the list that marks the block as complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{n}:{f}": getattr(r.codes, f) for n, r in layers.items() for f in ("codes", "scales", "zeros", "order")
    }
    save_file({n: t.contiguous() for n, t in tensors.items() if t is not None}, file)
    notes = {n: {"error": r.error, "note": r.note} for n, r in layers.items()}
    write_atomic(file.with_suffix(".json"), json.dumps(notes))


def read_rounded(file: Path) -> dict[str, QuantizedLayer]:
    """Read the layers written by `write_rounded`, {} for an incomplete block."""
    if not file.with_suffix(".json").is_file():
        return {}
    tensors = load_file(file)
    notes = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    layers = {}
    for name, values in notes.items():
        codes, scales, zeros = (tensors[f"{name}:{part}"] for part in ("codes", "scales", "zeros"))
        layers[name] = QuantizedLayer(Codes(codes, scales, zeros, tensors.get(f"{name}:order")), **values)
    return layers
