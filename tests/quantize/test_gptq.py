"""GPTQ: equal to a slow twin, better than rounding, resumable, and honest about what went another way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.gptq import load_int4
from kaiwa.quantize.card import card, card_lines, compare
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.quantize.gptq import fit_grid, gptq, nearest, output_error, round_to
from kaiwa.quantize.layers import quantize_layers
from kaiwa.quantize.run import save_rounded
from kaiwa.train.rows import Rows

WAYS = [
    {"act_order": False},
    {"act_order": True, "static_groups": True},
    {"act_order": True, "static_groups": False},
    {"act_order": True, "static_groups": True, "symmetric": True},
]


def problem(inputs: int = 256, out: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and the second moments of correlated inputs of very different sizes."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2000, inputs // 2, generator=g) @ torch.randn(inputs // 2, inputs, generator=g)
    x = (x + torch.randn(2000, inputs, generator=g)) * torch.rand(inputs, generator=g).exp()
    return torch.randn(out, inputs, generator=g) * 0.05, x.T @ x / 2000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("group", [32, 128])
def test_it_loses_less_than_rounding(way: dict[str, Any], group: int) -> None:
    w, H = problem()
    made = gptq(w, H, group, **way)
    rounded = nearest(w, group, way.get("symmetric", False))
    assert made.error < 0.7 * output_error(w, rounded, H)
    assert made.note == ""
    assert (made.codes.order is None) == (way.get("static_groups", True) or not way["act_order"])
    if way.get("symmetric"):
        assert not made.codes.zeros.any()


def slow(w: torch.Tensor, H: torch.Tensor, group: int, damping: float) -> torch.Tensor:
    """Optimal brain surgery as it is derived: after each column the inverse Hessian is shrunk by elimination."""
    w, H = w.double().clone(), H.double()
    inverse = torch.linalg.inv(H + damping * H.diagonal().mean() * torch.eye(len(H)))
    made = torch.zeros_like(w)
    for j in range(w.shape[1]):
        if j % group == 0:
            scale, point = fit_grid(w[:, j : j + group].float(), False)
        made[:, j] = round_to(w[:, j].float(), scale, point)[1]
        error = (w[:, j] - made[:, j]) / inverse[j, j]
        w -= error[:, None] * inverse[j]
        inverse = inverse - inverse[:, j, None] * inverse[j] / inverse[j, j]
    return made


def test_it_equals_the_derivation() -> None:
    w, H = problem(inputs=160, out=12)
    fast = gptq(w, H, 32, act_order=False).codes.dense().double()
    exact = slow(w, H, 32, 0.01)
    assert ((fast - exact).abs() > 1e-4).double().mean() < 0.01  # ties of fp32 and fp64 aside, the same levels


def test_uncorrelated_inputs_leave_nothing_to_make_up_for() -> None:
    w, _ = problem()
    made = gptq(w, torch.eye(256) * 3, 64, act_order=False)
    assert torch.equal(made.codes.codes, nearest(w, 64, False).codes)


def test_dead_inputs_and_broken_hessians_are_told() -> None:
    w, H = problem()
    H[5] = H[:, 5] = 0
    assert gptq(w, H, 32).codes.dense().isfinite().all()
    u = torch.ones(256) / 16
    indefinite = torch.eye(256) - 1.05 * torch.outer(u, u)  # its least eigenvalue is -0.05
    assert gptq(w, indefinite, 32).note == "damping 0.1 instead of 0.01"
    broken = gptq(w, -H - torch.eye(256) * 1e6, 32)
    assert "no Cholesky decomposition" in broken.note
    assert torch.equal(broken.codes.codes, nearest(w, 32, False).codes)


CONFIG = QuantizeConfig(method="gptq", calibration_rows=12, head=True)


def toy(tie: bool = True) -> Decoder:
    shape = DecoderConfig(vocab_size=96, d_model=64, n_layer=2, n_head=4, n_kv_head=2, d_ff=96, max_length=64)
    decoder = make_decoder(replace(shape, tie_embeddings=tie), 0).eval()
    with torch.no_grad():
        for p in decoder.parameters():
            p.mul_(4 if p.ndim == 2 else 1)
    return decoder


def text(n: int = 12) -> Rows:
    ids = np.random.default_rng(0).integers(0, 96, (n, 40)).astype(np.int32)
    ids[:, 1::2] = ids[:, ::2]  # something to correlate
    places = np.tile(np.arange(40, dtype=np.int32), (n, 1))
    return Rows(ids, np.zeros_like(ids), places, np.ones(ids.shape, np.float32))


@pytest.mark.parametrize(
    "change", [{}, {"static_groups": False}, {"symmetric": True}, {"symmetric": True, "act_order": False}]
)
def test_a_model_is_rounded_saved_and_loaded(change: dict[str, Any], tmp_path: Path) -> None:
    config = replace(CONFIG, **change)
    decoder, rows = toy(), text()
    made = quantize_layers(decoder, rows, config, Context(), stage="q", checkpoint=tmp_path / "c")
    assert len(made) == 2 * 4 + 1
    save_rounded(tmp_path / "m", decoder, {"eos_token_id": 0}, made, config)
    said: list[str] = []
    loaded = load_int4(tmp_path / "m", say=said.append)
    assert said == []
    ids = torch.from_numpy(rows.ids[:2].astype(np.int64))
    with torch.no_grad():
        exact, got = (
            m.logits(m(ids, torch.arange(40).expand(2, 40), attend_rows(None))).float() for m in (decoder, loaded)
        )
    assert torch.cosine_similarity(exact, got, dim=-1).min() > 0.999
    if change:
        return
    kl, agree = compare(toy(), loaded, rows)
    assert 0 < kl.low < kl.mean < kl.high
    assert agree.mean > 0.7
    by_rounding = toy()
    with torch.no_grad():
        for name, rounded in made.items():
            part = by_rounding.get_submodule(name.removesuffix(".weight"))
            if name == "unembed.weight":
                part.weight = torch.nn.Parameter(part.weight.clone())
            part.weight.copy_(nearest(part.weight, 32, False).dense())
            assert rounded.error < 0.02, name
    assert kl.mean < compare(toy(), by_rounding, rows)[0].mean
    measured = {"text": {"before": 9.0, "after": 9.1, "kl": kl.to_json(), "agree": agree.to_json()}}
    value = card(made, measured)
    assert value["bits_per_weight"] == pytest.approx(4 + 20 / 32)
    assert value["fallbacks"] == {}
    assert any("KL" in line for line in card_lines(value))


def test_a_wrong_label_is_told_and_the_data_believed(tmp_path: Path) -> None:
    config = replace(CONFIG, symmetric=True, head=False)
    decoder = toy()
    made = quantize_layers(decoder, text(), config, Context(), stage="q", checkpoint=tmp_path / "c")
    save_rounded(tmp_path, decoder, {}, made, config)
    right = load_int4(tmp_path).blocks[0].qkv.dense
    card = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(card.replace('"checkpoint_format": "gptq"', '"checkpoint_format": "gptq_v2"'))
    said: list[str] = []
    assert torch.equal(load_int4(tmp_path, say=said.append).blocks[0].qkv.dense, right)
    assert "labelled GPTQ version 2" in said[0]
    (tmp_path / "config.json").write_text(card.replace('"bits": 4', '"bits": 3'))
    with pytest.raises(UserError, match="not 4-bit GPTQ"):
        load_int4(tmp_path)


def test_a_stopped_run_goes_on_with_the_same_result(tmp_path: Path) -> None:
    whole = quantize_layers(toy(), text(), CONFIG, Context(), stage="q", checkpoint=tmp_path / "a")
    stops = iter([True])
    with pytest.raises(Stopped):
        quantize_layers(toy(), text(), CONFIG, Context(stop=lambda: next(stops)), stage="q", checkpoint=tmp_path / "b")
    assert len(list((tmp_path / "b").glob("*.json"))) == 1
    again = quantize_layers(toy(), text(), CONFIG, Context(), stage="q", checkpoint=tmp_path / "b")
    assert all(torch.equal(whole[n].codes.codes, again[n].codes.codes) for n in whole)
    assert {n: r.error for n, r in whole.items()} == {n: r.error for n, r in again.items()}


def test_bad_settings() -> None:
    for change, message in (
        ({"group": 48}, "32, 64 or 128"),
        ({"damping": 0.0}, "above 0"),
        ({"calibration_rows": 0}, "at least 1"),
        ({"method": "rtn", "head": True}, "needs --method gptq"),
    ):
        with pytest.raises(UserError, match=message):
            replace(QuantizeConfig(method="gptq"), **change)
