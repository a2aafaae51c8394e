"""What training publishes: a plain folder that says what the base and the change say together."""

from pathlib import Path

import pytest
import torch

from kaiwa.catalog.trainable import open_trainable, save_trained
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import load_decoder, save_model
from kaiwa.model.lora import LoraLinear
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train


@pytest.mark.parametrize("vocab_size", [270, 200_000])  # the second: 51 million weights
def test_a_small_change_is_not_lost_in_what_is_published(tmp_path: Path, vocab_size: int) -> None:
    config = DecoderConfig(vocab_size=vocab_size, d_model=256, n_layer=1, n_head=2, d_ff=256, max_length=32)
    tokenizer = train(["the thinner the better, other than this there then"] * 9, TokenizerConfig(vocab_size=270))
    base = make_decoder(config, 0)
    save_model(tmp_path / "base", base, special_ids(tokenizer), torch.float32)
    save(tokenizer, tmp_path / "base")
    trained = open_trainable(tmp_path / "base", 0, lora_rank=2)
    layer = trained.decoder.blocks[0].down
    assert isinstance(layer, LoraLinear)
    with torch.no_grad():
        layer.b.fill_(1e-5)
        change = layer.scale * layer.b @ layer.a
    save_trained(tmp_path / "out", trained)
    there = load_decoder(tmp_path / "out").blocks[0].down.weight - base.blocks[0].down.weight
    assert float(change.abs().max()) > 1e-6
    torch.testing.assert_close(there, change.detach(), rtol=0.01, atol=1e-8)
