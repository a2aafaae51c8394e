"""GGUF files: small ones written here with the gguf library, and SmolLM2's own against transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine import catalog
from kaiwa.engine.load import load
from kaiwa.engine.local import LocalChatModel
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import attend_rows, make_decoder
from kaiwa.model.gguf_file import GgufFile, read_codes, read_q8
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
        put(f"blk.{i}.attn_q.weight", pairs(q, 4), True)
        put(f"blk.{i}.attn_k.weight", pairs(k, 2), True)
        parts = {"attn_v": v, "attn_output": block.out.weight, "ffn_gate": gate, "ffn_up": up}
        for name, tensor in (parts | {"ffn_down": block.down.weight}).items():
            put(f"blk.{i}.{name}.weight", tensor, True)
        put(f"blk.{i}.attn_norm.weight", block.norm_attn.weight)
        put(f"blk.{i}.ffn_norm.weight", block.norm_mlp.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoder


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0", "Q4_1"])
@torch.no_grad()
def test_a_written_model_is_read_back(kind: str, tmp_path: Path) -> None:
    decoder = write(tmp_path / "m.gguf", kind)
    read = GgufFile(tmp_path / "m.gguf").decoder(torch.float32)
    ids, positions = torch.arange(20)[None], torch.arange(20)[None]
    exact = decoder.logits(decoder(ids, positions, attend_rows(None)))
    got = read.logits(read(ids, positions, attend_rows(None)))
    worst = torch.nn.functional.cosine_similarity(exact, got, dim=-1).min()
    assert worst > {"F32": 0.99999, "Q8_0": 0.9999, "Q4_0": 0.9, "Q4_1": 0.9}[kind]


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF but no more")
    with pytest.raises(UserError, match="damaged"):
        GgufFile(tmp_path / "a.gguf")
    write(tmp_path / "b.gguf", "F32", architecture="mamba")
    with pytest.raises(UserError, match="mamba"):
        GgufFile(tmp_path / "b.gguf")


@pytest.fixture(scope="module")
def smol() -> LocalChatModel:
    entry = catalog.smollm2()
    if entry is None:
        pytest.skip(f"{catalog.SMOLLM2_INSTALL}")
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
    from kaiwa.text.template import render, user

    prompt = render(loaded.tokenizer, user("What is the capital of France?"), True).ids
    text = prompt + list(smol.engine.generate([prompt], max_tokens=24, temperature=0, stop_ids=loaded.stop_ids)[0].ids)
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
    from kaiwa.text.chat_model import Sampling
    from kaiwa.text.template import user

    answer = smol.generate(user("What is the capital of France?"), Sampling(max_tokens=30, temperature=0))
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert sum(smol.score("The capital of France is", " Paris")) > sum(
        smol.score("The capital of France is", " Lisbon")
    )
