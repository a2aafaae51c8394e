"""The decoder against transformers, and its two dialects' sizes."""

import json
from pathlib import Path

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows, segment_mask
from kaiwa.model.config import SIZES, DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import load_decoder, load_scalar, read_config, save_model
from kaiwa.model.heads import ScalarModel, initialise_score

pytestmark = pytest.mark.masked
TINY = {
    "llama": DecoderConfig(vocab_size=97, d_model=32, n_layer=2, n_head=4, n_kv_head=2, d_ff=48, max_length=32),
    "llama-untied": DecoderConfig(
        vocab_size=97, d_model=32, n_layer=2, n_head=4, d_ff=48, max_length=32, tie_embeddings=False
    ),
    "gpt3": DecoderConfig(dialect="gpt3", vocab_size=97, d_model=32, n_layer=2, n_head=4, d_ff=128, max_length=32),
}


def random_model(name: str) -> torch.nn.Module:
    model = make_decoder(TINY[name], 3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too, so that none of them is at its neutral value
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


@pytest.mark.parametrize("name", TINY)
def test_logits_equal_transformers(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = random_model(name)
    save_model(tmp_path, model, {"eos_token_id": 1, "pad_token_id": 0}, torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, torch_dtype=torch.float32).eval()
    ids = torch.randint(0, 97, (2, 11), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        ours = model.logits(model(ids, torch.arange(11).expand(2, 11), attend_rows(None)))
        expected = theirs(ids).logits
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt3"])
def test_reward_model_loads_in_transformers(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = ScalarModel(random_model(name))
    initialise_score(model, torch.Generator().manual_seed(1))
    save_model(tmp_path, model, {"eos_token_id": 1, "pad_token_id": 0}, torch.float32)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, torch_dtype=torch.float32).eval()
    ids = torch.randint(2, 97, (1, 9), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        ours = model(ids, torch.arange(9)[None], attend_rows(None))[0, -1]
        expected = theirs(ids).logits[0, 0]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_a_saved_model_is_read_back(name: str, tmp_path: Path) -> None:
    model = random_model(name)
    save_model(tmp_path, model, {}, torch.float32)
    assert read_config(tmp_path) == TINY[name] or TINY[name].n_kv_head == 0
    again = load_decoder(tmp_path)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, atol=0, rtol=0)


def test_the_rewards_zero_is_kept(tmp_path: Path) -> None:
    model = ScalarModel(random_model("llama"))
    model.bias.fill_(-1.25)
    save_model(tmp_path, model, {}, torch.float32)
    assert float(load_scalar(tmp_path).bias) == -1.25


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("gpt3-125m", 125.2), ("gpt3-350m", 355.9), ("gpt3-760m", 760.3), ("gpt3-1.3b", 1315.6),
        ("gpt3-2.7b", 2651.6), ("gpt3-6.7b", 6658.5), ("gpt3-13b", 12853.5), ("gpt3-175b", 174597.0),
    ],
)  # fmt: skip
def test_gpt3_sizes(name: str, millions: float) -> None:
    assert SIZES[name].n_parameters / 1e6 == pytest.approx(millions, rel=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_parameter_count_is_that_of_the_model(name: str) -> None:
    model = make_decoder(TINY[name], 0)
    assert sum(p.numel() for p in set(model.parameters())) == TINY[name].n_parameters


def test_packed_documents_do_not_see_each_other() -> None:
    model = random_model("llama")
    generator = torch.Generator().manual_seed(6)
    a, b = torch.randint(0, 97, (5,), generator=generator), torch.randint(0, 97, (7,), generator=generator)
    packed = torch.cat((a, b))[None]
    positions = torch.cat((torch.arange(5), torch.arange(7)))[None]
    mask = segment_mask(torch.tensor([[0] * 5 + [1] * 7]))
    with torch.no_grad():
        together = model(packed, positions, attend_rows(mask))[0]
        alone = [model(x[None], torch.arange(len(x))[None], attend_rows(None))[0] for x in (a, b)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load_decoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["MambaForCausalLM"]}))
    with pytest.raises(UserError, match="MambaForCausalLM"):
        load_decoder(tmp_path)
    save_model(tmp_path, random_model("llama"), {}, torch.float32)
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(UserError, match="damaged"):
        load_decoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="refused"):
        load_decoder(tmp_path)


@pytest.mark.parametrize("change", [{"n_head": 5}, {"d_model": 0}, {"n_kv_head": 3}])
def test_impossible_shapes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UserError):
        DecoderConfig(**{"d_model": 32, "n_head": 4, **change})
