"""The card of a quantized model: bits by hand, KL by a slow loop, and lines for the terminal."""

import numpy as np
import pytest
import torch

from kaiwa.core.config import from_json
from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.int4 import Codes
from kaiwa.quantize.card import bits_per_weight, card, card_lines, compare
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.gptq import QuantizedLayer
from kaiwa.train.rows import Rows

CONFIG = DecoderConfig(vocab_size=20, d_model=16, n_layer=1, n_head=2, d_ff=24, max_length=16)


def layer(
    out: int, inputs: int, group: int, *, order: bool = False, error: float = 0.0, note: str = ""
) -> QuantizedLayer:
    shape = (out, inputs // group)
    codes = Codes(
        torch.zeros(out, inputs, dtype=torch.uint8), torch.ones(shape), torch.zeros(shape),
        torch.arange(inputs) if order else None,
    )  # fmt: skip
    return QuantizedLayer(codes, error, note)


def test_bits_by_hand() -> None:
    assert bits_per_weight({"a": layer(8, 64, 32)}) == 4 + 20 / 32
    assert bits_per_weight({"a": layer(8, 128, 128)}) == 4 + 20 / 128
    # an order of 128 columns, 32 bits each, over 8 x 128 weights
    assert bits_per_weight({"a": layer(8, 128, 128, order=True)}) == 4 + 20 / 128 + 32 / 8
    both = {"a": layer(8, 64, 32), "b": layer(24, 64, 64)}
    assert bits_per_weight(both) == pytest.approx((512 * (4 + 20 / 32) + 1536 * (4 + 20 / 64)) / 2048)
    assert bits_per_weight({}) == 0


def rows() -> Rows:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (6, 9)).astype(np.int32)
    weights = np.ones((6, 9), np.float32)
    weights[2, 4:] = 0  # padding
    zeros = np.zeros((6, 9), np.int32)
    return Rows(ids, zeros, np.tile(np.arange(9, dtype=np.int32), (6, 1)), weights)


def test_a_model_is_itself() -> None:
    model = make_decoder(CONFIG, 0)
    kl, same = compare(model, model, rows())
    assert (kl.mean, same.mean, kl.n) == (0.0, 1.0, 6)


@torch.no_grad()
def test_the_distance_is_the_mean_over_rows_of_the_kl_a_token() -> None:
    first, second, text = make_decoder(CONFIG, 0), make_decoder(CONFIG, 1), rows()
    kls, sames = [], []
    for row in range(6):
        ids = torch.from_numpy(text.ids[row].astype(np.int64))[None]
        p, q = (
            torch.softmax(m.logits(m(ids, torch.arange(9)[None], attend_rows(None)))[0].double(), -1)
            for m in (first, second)
        )
        counted = [t for t in range(8) if text.weights[row, t + 1] > 0]
        kls.append(np.mean([float((p[t] * (p[t] / q[t]).log()).sum()) for t in counted]))
        sames.append(np.mean([float(p[t].argmax() == q[t].argmax()) for t in counted]))
    kl, same = compare(first, second, text)
    assert kl.mean == pytest.approx(np.mean(kls), rel=1e-4)
    assert same.mean == pytest.approx(np.mean(sames))


def test_the_card_and_its_lines() -> None:
    layers = {
        f"blocks.{i}.qkv.weight": layer(8, 64, 32, error=i / 100, note="damping 0.1" if i == 2 else "")
        for i in range(8)
    }
    interval = {"mean": 0.01, "low": 0.005, "high": 0.02, "n": 4}
    measured = {"docs": {"kl": interval, "agree": {**interval, "mean": 0.9}, "before": 10.0, "after": 10.5}}
    value = card(layers, measured)
    assert value["bits_per_weight"] == 4.625
    assert value["fallbacks"] == {"blocks.2.qkv.weight": "damping 0.1"}
    lines = card_lines(value)
    assert lines[0].startswith("4.625 bits")
    assert lines[1].startswith("docs: perplexity 10.000 -> 10.500; KL 0.01000 [0.00500, 0.02000]")
    assert "90.0%" in lines[1]
    worst = lines[2].removeprefix("largest output errors: ").split(", ")
    assert worst == [f"blocks.{i}.qkv {i / 100:.4f}" for i in (7, 6, 5, 4, 3)]
    assert lines[3] == "blocks.2.qkv.weight: damping 0.1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 48}, "quantize.group is 48; it must be 32, 64 or 128"),
        ({"damping": 0}, "quantize.damping is 0.0; it must be above 0 and at most 1"),
        ({"calibration_rows": 0}, "quantize.calibration_rows is 0; it must be at least 1"),
        ({"evaluate_rows": 0}, "quantize.evaluate_rows is 0; it must be at least 1"),
        ({"width": 0}, "quantize.width is 0; it must be at least 1"),
        ({"head": True}, "quantize.head needs --method gptq"),
        ({"method": "gtpq"}, "'gtpq' is not possible; did you mean 'gptq'"),
    ],
)
def test_a_limit_names_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(QuantizeConfig, changes)
