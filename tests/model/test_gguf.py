"""GGUF files: small ones written here with the gguf library, and SmolLM2's own against transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kaiwa.catalog import entries, weights
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.gguf import GgufFile, read_codes, read_dense, read_q8
from kaiwa.model.int4 import dequantize

gguf = pytest.importorskip("gguf")


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_equal_the_librarys(kind: str) -> None:
    w = np.random.default_rng(0).normal(size=(6, 96)).astype(np.float32)
    quantization = gguf.GGMLQuantizationType[kind]
    data = gguf.quants.quantize(w, quantization)
    expected = gguf.quants.dequantize(data, quantization)
    if kind == "Q8_0":
        got = read_q8(data)
    else:
        codes = read_codes(data, kind)
        got = dequantize(codes.codes, codes.scales, codes.zeros)
    assert np.allclose(got.numpy(), expected, atol=1e-5)


def write(path: Path, kind: str, architecture: str = "llama") -> torch.nn.Module:
    """A tiny model as llama.cpp's converter writes it: query and key rows in pair order."""
    config = DecoderConfig(
        vocab_size=300, d_model=64, n_layer=2, n_head=4, n_kv_head=2, d_ff=96, max_length=32, norm_eps=1e-5
    )
    decoder = make_decoder(config, 0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(32)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)

    def put(name: str, tensor: torch.Tensor, packed: bool = False) -> None:
        data = tensor.detach().numpy().astype(np.float32)
        if packed and kind != "F32":
            quantization = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(data, quantization), raw_dtype=quantization)
        else:
            writer.add_tensor(name, data)

    def pairs(w: torch.Tensor, heads: int) -> torch.Tensor:
        return w.view(heads, 2, 8, 64).transpose(1, 2).reshape(heads * 16, 64)

    put("token_embd.weight", decoder.embed.weight)
    put("output_norm.weight", decoder.norm.weight)
    for i, block in enumerate(decoder.blocks):
        q, k, v = block.qkv.weight.split([64, 32, 32])
        gate, up = block.up.weight.chunk(2)
        parts = {"attn_q": pairs(q, 4), "attn_k": pairs(k, 2), "attn_v": v, "ffn_gate": gate, "ffn_up": up}
        if architecture == "phi3":  # fused, in the order of Hugging Face's rotary positions
            parts = {"attn_qkv": block.qkv.weight, "ffn_up": block.up.weight}
        parts["attn_output"] = block.out.weight
        for name, tensor in (parts | {"ffn_down": block.down.weight}).items():
            put(f"blk.{i}.{name}.weight", tensor, True)
        put(f"blk.{i}.attn_norm.weight", block.norm_attn.weight)
        put(f"blk.{i}.ffn_norm.weight", block.norm_mlp.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoder


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0", "Q4_1"])
@torch.no_grad()
def test_a_written_model_is_read_back(kind: str, architecture: str, tmp_path: Path) -> None:
    decoder = write(tmp_path / "m.gguf", kind, architecture)
    read = GgufFile(tmp_path / "m.gguf").decoder(torch.float32)
    ids, positions = torch.arange(20)[None], torch.arange(20)[None]
    exact = decoder.logits(decoder(ids, positions, attend_rows(None)))
    got = read.logits(read(ids, positions, attend_rows(None)))
    worst = torch.nn.functional.cosine_similarity(exact, got, dim=-1).min()
    assert worst > {"F32": 0.99999, "Q8_0": 0.9999, "Q4_0": 0.9, "Q4_1": 0.9}[kind]


@pytest.mark.parametrize(
    ("kind", "free", "dtype"),
    [
        ("F32", 1 << 40, torch.float32),
        ("F16", 1 << 40, torch.float32),  # bf16 has 3 bits less
        ("F16", 0, torch.bfloat16),
        ("BF16", 1 << 40, torch.bfloat16),
        ("Q8_0", 1 << 40, torch.bfloat16),
    ],
)
def test_a_file_of_full_precision_is_computed_in_it(
    kind: str, free: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SMALL", 0)
    monkeypatch.setattr(weights.machine, "free_memory_bytes", lambda: free)
    monkeypatch.setattr(weights, "has_bf16", lambda device: True)
    monkeypatch.setattr(weights, "has_int4_kernel", lambda: False)
    write(tmp_path / "m.gguf", kind)
    file, lines = weights.GgufWeights(tmp_path / "m.gguf"), []
    assert file.read_decoder("cpu", lines.append).blocks[0].qkv.weight.dtype == dtype
    assert file.stays_fp32("cpu") is (dtype == torch.float32)
    assert any("fp32 does not fit" in line for line in lines) is (free == 0)


def test_k_quants_equal_the_librarys() -> None:
    """Random blocks: Q4_K read as eight groups of codes, the others through the library."""
    rng = np.random.default_rng(0)
    for kind, size in (("Q4_K", 144), ("Q6_K", 210), ("Q5_K", 176), ("Q2_K", 84), ("Q3_K", 110)):
        data = rng.integers(0, 256, (3, 2 * size), dtype=np.uint8)
        halves = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q2_K": (80, 82), "Q3_K": (108,)}[kind]
        for block in (0, size):
            for at in halves:  # no NaN among the scales
                data[:, block + at : block + at + 2] = np.array([0.01], np.float16).view(np.uint8)
        expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind])
        assert np.allclose(read_dense(data, kind).numpy(), expected, atol=1e-5), kind
        if kind == "Q4_K":
            assert read_codes(data, kind).scales.shape == (3, 16)


SHAPE = {"vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 96, "max_position_embeddings": 64}  # fmt: skip
GPT2 = {"vocab_size": 90, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "mlp.up_proj": "ffn_up",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "transformer.h": "blk", "ln_1": "attn_norm", "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gpt2"])
@torch.no_grad()
def test_other_families_equal_transformers(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "gpt2":
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).eval()
    elif family == "qwen2":
        theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE)).eval()
    else:
        theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SHAPE, head_dim=32)).eval()
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", family)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(256 if family == "gpt2" else 96)
    writer.add_head_count(4)
    if family == "gpt2":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_freq_base(10000.0)
    if family == "qwen3":
        writer.add_key_length(32)
    for name, tensor in theirs.state_dict().items():
        tensor.normal_(1.0 if "norm" in name or "ln_" in name else 0.0, 0.2)
    for name, tensor in theirs.state_dict().items():
        if name == "lm_head.weight" and family == "gpt2":
            continue
        turned = tensor.T if family == "gpt2" and ".h." in name and tensor.ndim == 2 else tensor
        for old, new in NAMES.items():
            name = name.replace(old, new)
        writer.add_tensor(name, np.ascontiguousarray(turned.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = GgufFile(tmp_path / "m.gguf").decoder(torch.float32)
    ids = torch.randint(0, 90, (1, 30))
    got = read.logits(read(ids, torch.arange(30)[None], attend_rows(None)))
    assert torch.allclose(got, theirs(ids).logits, atol=1e-4)


def test_a_changed_byte_is_an_error_or_a_model(tmp_path: Path) -> None:
    """Lengths, offsets, counts, types: whatever stands there, one clear error or a whole model, and soon."""
    write(tmp_path / "good.gguf", "F32")
    good = (tmp_path / "good.gguf").read_bytes()
    header = good.index(b"blk.1.ffn_norm.weight") + 60
    rng = np.random.default_rng(0)
    file, refused = tmp_path / "bad.gguf", 0
    for trial in range(300):
        data = bytearray(good if trial % 3 else good[: rng.integers(0, len(good))])
        for _ in range(1 + trial % 4):
            at, wide = int(rng.integers(0, min(header, max(1, len(data) - 8)))), int(rng.choice([1, 4, 8]))
            data[at : at + wide] = rng.choice([b"\xff" * 8, b"\0" * 8, rng.bytes(8)])[:wide]
        file.write_bytes(bytes(data))
        try:
            opened = GgufFile(file)
            opened.decoder(torch.float32)
        except UserError:
            refused += 1
    assert refused > 150


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF but no more")
    with pytest.raises(UserError, match="damaged"):
        GgufFile(tmp_path / "a.gguf")
    write(tmp_path / "b.gguf", "F32", architecture="mamba")
    with pytest.raises(UserError, match="mamba"):
        GgufFile(tmp_path / "b.gguf")


@pytest.fixture(scope="module")
def smol() -> LocalChatModel:
    entry = entries.smollm2()
    if entry is None:
        pytest.skip(f"{entries.SMOLLM2_INSTALL}")
    return LocalChatModel(load(entry))


@pytest.mark.slow
@torch.no_grad()
def test_smollm2_equals_transformers(smol: LocalChatModel) -> None:
    """An independent reading: the library's dequantization in transformers' LlamaForCausalLM, fp32."""
    transformers = pytest.importorskip("transformers")
    loaded = smol.loaded
    reader = gguf.GGUFReader(loaded.entry.path)
    c = loaded.decoder.config
    config = transformers.LlamaConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.d_model,
        num_hidden_layers=c.n_layer,
        num_attention_heads=c.n_head,
        num_key_value_heads=c.kv_heads,
        intermediate_size=c.d_ff,
        max_position_embeddings=c.max_length,
        rms_norm_eps=c.norm_eps,
        rope_theta=c.rope_theta,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
        tie_word_embeddings=True,
    )
    names = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    state = {}
    for tensor in reader.tensors:
        w = torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type)))
        name = tensor.name
        if name.startswith("blk."):
            _, i, part, _ = name.split(".")
            if part in ("attn_q", "attn_k"):
                heads = c.n_head if part == "attn_q" else c.kv_heads
                w = w.reshape(heads, c.d_head // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
            state[f"model.layers.{i}.{names[part]}.weight"] = w
        else:
            state[
                {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
            ] = w
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.load_state_dict(state)
    from kaiwa.text.sampling import Sampling
    from kaiwa.text.template import render, user

    prompt = render(loaded.tokenizer, user("What is the capital of France?"), True).ids
    text = prompt + list(
        smol.engine.generate([prompt], Sampling(max_tokens=24, temperature=0), stop_ids=loaded.stop_ids)[0].ids
    )
    expected = theirs(torch.tensor([text])).logits[0]
    hidden = loaded.decoder(torch.tensor([text]), torch.arange(len(text))[None], attend_rows(None))
    got = loaded.decoder.logits(hidden)[0].float()
    similarity = torch.nn.functional.cosine_similarity(expected, got, dim=-1)
    assert similarity.mean() > 0.999  # scales, activations and logits are bf16 here, fp32 there
    assert similarity.min() > 0.98
    answer = slice(len(prompt) - 1, len(text) - 1)
    agree = (expected[answer].argmax(-1) == torch.tensor(text[len(prompt) :])).float().mean()
    assert agree >= 0.9  # bf16 may break a near tie


@pytest.mark.slow
def test_smollm2_chats(smol: LocalChatModel) -> None:
    from kaiwa.text.sampling import Sampling
    from kaiwa.text.template import user

    answer = smol.generate(user("What is the capital of France?"), Sampling(max_tokens=30, temperature=0))
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert sum(smol.score("The capital of France is", " Paris")) > sum(
        smol.score("The capital of France is", " Lisbon")
    )
