"""4-bit: every way to compute gives the dequantized weights' result; folders come back as they went."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from kaiwa.catalog.headers import folder_refusal
from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_int4_kernel
from kaiwa.engine.engine import Engine
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.formats.gptq import load_int4, pack_gptq, save_int4, unpack_gptq
from kaiwa.model.formats.hf_folder import load_decoder, save_model
from kaiwa.model.formats.hf_names import to_hf
from kaiwa.model.int4 import Codes, Int4Linear, dequantize, expand, quantize_rtn
from kaiwa.text.sampling import Sampling

pytestmark = pytest.mark.masked


def weight(out: int = 48, inputs: int = 128) -> torch.Tensor:
    return torch.randn(out, inputs, generator=torch.Generator().manual_seed(0)) * 0.05


def test_round_to_nearest_is_at_most_half_a_step_off() -> None:
    w = weight()
    codes, scales, zeros = quantize_rtn(w, 32)
    assert int(codes.max()) <= 15
    off = (dequantize(codes, scales, zeros) - w).abs().view(48, 4, 32).amax(-1)
    assert bool((off <= 0.55 * scales).all())


@pytest.mark.parametrize(
    "kernel", [pytest.param(True, marks=pytest.mark.skipif(not has_int4_kernel(), reason="no AVX-512")), False]
)
@pytest.mark.parametrize("rows", [1, 3, 12, 13, 40])
@pytest.mark.parametrize("biased", [False, True])
def test_the_product_equals_the_dequantized(kernel: bool, rows: int, biased: bool) -> None:
    codes, scales, zeros = quantize_rtn(weight(), 32)
    zeros = torch.randn(zeros.shape, generator=torch.Generator().manual_seed(2)) * 0.01
    bias = torch.randn(48) if biased else None
    x = torch.randn(2, rows, 128).bfloat16() if rows > 12 else torch.randn(1, rows, 128).bfloat16()
    linear = Int4Linear.from_codes(codes, scales, zeros, bias, kernel=kernel)
    assert linear.packs == kernel
    exact = F.linear(x.float(), dequantize(codes, scales.bfloat16(), zeros.bfloat16()), bias)
    assert torch.allclose(linear(x).float(), exact, atol=0.03, rtol=0.02)


def test_gptq_tensors_come_back() -> None:
    codes, scales, zeros = quantize_rtn(weight(), 32)
    packed = pack_gptq(Codes(codes, scales, zeros))
    assert packed["qweight"].shape == (16, 48)
    assert packed["qweight"].dtype == torch.int32
    assert int(packed["qweight"][0, 0]) & 15 == int(codes[0, 0])
    assert bool((packed["qzeros"] == 0x77777777).all())
    back = unpack_gptq(packed)
    assert torch.equal(back.codes, codes)
    assert torch.allclose(back.scales, scales, rtol=1e-3)
    assert torch.equal(back.zeros, zeros)
    second = packed | {"qzeros": packed["qzeros"] + 0x11111111}
    assert torch.equal(unpack_gptq(second).zeros, zeros)


@pytest.mark.parametrize("version", [1, 2])
def test_zero_points_and_act_order_come_back(version: int) -> None:
    g = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 16, (20, 64), generator=g).to(torch.uint8)  # 20 outputs: the last word is half full
    scales = torch.rand(20, 2, generator=g).half().float() + 0.5
    points = torch.randint(1 if version == 1 else 0, 16, (20, 2), generator=g)
    order = torch.randperm(64, generator=g)
    order = torch.cat((order[:32].sort().values, order[32:].sort().values))  # as the file's g_idx gives them
    made = Codes(codes, scales.half().float(), scales.half().float() * (8 - points), order)
    packed = pack_gptq(made, version)
    back = unpack_gptq(packed, version)
    assert back.order is not None
    assert torch.equal(back.order, order)
    assert torch.equal(back.codes, codes)
    assert torch.allclose(back.dense(), made.dense())
    # the definition, weight by weight: scale * (code - zero point), found through g_idx
    words, group = packed["qweight"], packed["g_idx"].long()
    for i, o in ((0, 0), (13, 7), (63, 19)):
        code = (int(words[i // 8, o]) >> (4 * (i % 8))) & 15
        point = (int(packed["qzeros"][group[i], o // 8]) >> (4 * (o % 8))) & 15
        value = float(packed["scales"][group[i], o]) * (code - point - (version == 1))
        assert made.dense()[o, i] == pytest.approx(value, abs=1e-3)
    with pytest.raises(UserError, match="damaged"):
        unpack_gptq(packed | {"g_idx": torch.zeros(64, dtype=torch.int32)}, version)
    if version == 2:
        with pytest.raises(UserError, match="cannot hold"):
            pack_gptq(Codes(made.codes, made.scales, made.scales * 8, order), 1)


def model(dialect: str) -> Decoder:
    config = DecoderConfig(
        dialect=dialect,  # type: ignore[arg-type]
        vocab_size=80,
        d_model=64,
        n_layer=2,
        n_head=4,
        n_kv_head=2 if dialect == "llama" else 0,
        d_ff=96,
        max_length=64,
    )
    return make_decoder(config, 0).eval()


@pytest.mark.parametrize("dialect", ["llama", "gpt3"])
def test_a_folder_comes_back(dialect: str, tmp_path: Path) -> None:
    decoder = model(dialect)
    save_int4(tmp_path, decoder, {"eos_token_id": 1}, 32)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["quantization_config"]["bits"] == 4
    expected = {k: v.clone() for k, v in decoder.state_dict().items()}
    for name, w in expected.items():
        if name.startswith("blocks.") and w.ndim == 2:
            codes, scales, zeros = quantize_rtn(w, 32)
            expected[name] = dequantize(codes, scales, zeros)
    decoder.load_state_dict(expected)
    loaded = load_int4(tmp_path)
    ids, positions = torch.arange(20)[None], torch.arange(20)[None]
    with torch.no_grad():
        exact = decoder.logits(decoder(ids, positions, attend_rows(None)))
        got = loaded.logits(loaded(ids, positions, attend_rows(None))).float()
    assert torch.nn.functional.cosine_similarity(exact, got, dim=-1).min() > 0.999
    engine = Engine(loaded)
    (answer,) = engine.generate([[1, 2, 3]], Sampling(max_tokens=8, temperature=0))
    (scored,) = engine.score([[1, 2, 3]], [answer.ids])
    assert answer.logprobs == pytest.approx(scored, abs=0.05)


def test_a_plain_folder_is_refused(tmp_path: Path) -> None:
    from kaiwa.model.formats.hf_folder import save_model

    save_model(tmp_path, model("llama"), {}, torch.float32)
    load_decoder(tmp_path)
    with pytest.raises(UserError, match="not 4-bit GPTQ"):
        load_int4(tmp_path)


def test_a_group_that_does_not_divide() -> None:
    with pytest.raises(UserError, match="does not divide"):
        quantize_rtn(torch.zeros(4, 33), 32)


def write_awq(folder: Path, decoder: Decoder) -> None:
    """A folder as AutoAWQ writes it: groups of 32 inputs, eight outputs a word in an order of its own."""
    save_model(folder, decoder, {"eos_token_id": 0}, torch.float16)
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(3)
    for name in [n for n in tensors if n.endswith("_proj.weight")]:
        out, inputs = tensors[name].shape
        codes = torch.randint(0, 16, (inputs, out), generator=generator)
        points = torch.randint(0, 16, (inputs // 32, out), generator=generator)
        scales = (torch.rand(inputs // 32, out, generator=generator) / 50 + 0.01).half()
        tensors[name] = ((codes - points.repeat_interleave(32, 0)) * scales.float().repeat_interleave(32, 0)).T
        stem = name.removesuffix(".weight")
        tensors |= {f"{stem}.qweight": awq_words(codes), f"{stem}.qzeros": awq_words(points), f"{stem}.scales": scales}
    expected = {n: t for n, t in tensors.items() if n.endswith("_proj.weight")}
    save_file({n: t.contiguous() for n, t in tensors.items() if n not in expected}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file({n: t.contiguous() for n, t in expected.items()}, folder / "expected")


def awq_words(numbers: torch.Tensor) -> torch.Tensor:
    words = torch.zeros(numbers.shape[0], numbers.shape[1] // 8, dtype=torch.int64)
    for column in range(words.shape[1]):
        for nibble, output in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
            words[:, column] |= numbers[:, column * 8 + output] << (4 * nibble)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


@torch.no_grad()
def test_an_awq_folder_is_read(tmp_path: Path) -> None:
    shape = DecoderConfig(vocab_size=40, d_model=64, n_layer=2, n_head=4, n_kv_head=2, d_ff=96, max_length=32)
    decoder = make_decoder(shape, 0)
    write_awq(tmp_path, decoder)
    read, expected = expand(load_int4(tmp_path, torch.float32, False)), load_file(tmp_path / "expected")
    theirs = to_hf(shape, read.state_dict(), False)
    for name, tensor in expected.items():
        assert torch.allclose(theirs[name], tensor, atol=2e-3), name  # scales and zeros are bf16
    assert torch.equal(read.embed.weight, decoder.embed.weight.half().float())
    assert not folder_refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "gemv"}, "AWQ with version 'gemv' is not read; only 'gemm' is"),
        ({"bits": 8}, "AWQ with bits '8' is not read"),
        ({"zero_point": False}, "AWQ with zero_point 'False' is not read"),
        ({"quant_method": "bitsandbytes"}, "not 4-bit GPTQ or AWQ"),
    ],
)
def test_other_layouts_of_awq_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    shape = DecoderConfig(vocab_size=40, d_model=32, n_layer=1, n_head=4, d_ff=32, max_length=32)
    write_awq(tmp_path, make_decoder(shape, 0))
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_int4(tmp_path)
    assert folder_refusal(tmp_path)
