"""What training publishes: a plain folder that says what the base and the change say together."""

from pathlib import Path

import pytest
import torch

from kaiwa.catalog.trainable import (
    as_parent,
    card_of,
    open_trainable,
    restore,
    save_trained,
    trained_state,
    with_soft_tokens,
)
from kaiwa.core.artifact import content_hash, fingerprint
from kaiwa.core.errors import UserError
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import load_decoder, save_model
from kaiwa.model.lora import LoraLinear
from kaiwa.text.records import Message
from kaiwa.text.template import render
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.folder import special_ids
from kaiwa.tokenizer.train import save, train
from tests.tiny_models import policy_folder, tiny_config, tiny_tokenizer


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


def test_what_is_trained(tmp_path: Path) -> None:
    base = policy_folder(tmp_path / "base").path
    whole, change, soft = (
        open_trainable(base, 0, **options) for options in ({}, {"lora_rank": 2}, {"soft_prompt": 3})
    )  # fmt: skip
    assert sum(t.numel() for t in trained_state(whole.decoder).values()) == tiny_config().n_parameters
    assert {name.rsplit(".", 1)[1] for name in trained_state(change.decoder)} == {"a", "b"}
    (prompt,) = trained_state(soft.decoder).values()
    assert prompt.shape == (3, 16)
    with pytest.raises(UserError, match="lora_rank 2 and soft_prompt 3: train one of them at a time"):
        open_trainable(base, 0, lora_rank=2, soft_prompt=3)
    with pytest.raises(UserError, match="lora rank 17: give 1 to 16, the model's width"):
        open_trainable(base, 0, lora_rank=17)


def test_the_change_starts_by_the_seed_and_state_is_put_back(tmp_path: Path) -> None:
    base = policy_folder(tmp_path / "base").path
    one, same, other = (open_trainable(base, seed, lora_rank=2).decoder for seed in (0, 0, 1))
    states = [trained_state(model) for model in (one, same, other)]
    name = next(name for name in states[0] if name.endswith(".a"))
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    restore(other, states[0])
    assert all(torch.equal(t, states[0][n]) for n, t in trained_state(other).items())


def test_soft_tokens_begin_every_conversation_and_can_be_added_once(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    soft = with_soft_tokens(tokenizer, tokenizer.vocab_size + 2, 3)  # two rows of the embedding have no token
    first = tokenizer.vocab_size + 2
    talk = (Message("user", "the cat"),)
    assert render(soft, talk).ids == [first, first + 1, first + 2, *render(tokenizer, talk).ids]
    assert soft.eos_id == tokenizer.eos_id
    with pytest.raises(UserError, match=r"the base model has soft tokens already \(<\|soft_0\|>\)"):
        with_soft_tokens(soft, soft.vocab_size, 2)


def test_what_a_parent_may_be(tmp_path: Path) -> None:
    ours = policy_folder(tmp_path / "somebody").path
    parent = as_parent(ours)
    assert (parent.kind, parent.hash) == ("model", content_hash(ours))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert as_parent(tmp_path / "m.gguf").hash == fingerprint(tmp_path / "m.gguf").hash
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no model here; give a model's folder or a .gguf file"):
        as_parent(tmp_path / "empty")


def test_the_chat_card_of_a_base(tmp_path: Path) -> None:
    assert card_of(tmp_path) == {}
    (tmp_path / "chat.json").write_text('{"languages": ["ja"]}')
    assert card_of(tmp_path) == {"languages": ["ja"]}


def test_an_adapter_is_trained_further_from_where_it_stood(tmp_path: Path) -> None:
    base = policy_folder(tmp_path / "base").path
    first = open_trainable(base, 0, lora_rank=2, lora_alpha=8.0)
    with torch.no_grad():
        for layer in (m for m in first.decoder.modules() if isinstance(m, LoraLinear)):
            layer.b.normal_(0, 0.1)
    ids = torch.arange(6)[None]
    expected = first.decoder.logits(first.decoder(ids, ids, attend_rows(None))).detach()
    save_trained(tmp_path / "tuned", first)
    second = open_trainable(base, 1, adapter=tmp_path / "tuned" / "adapter")
    found = second.decoder.logits(second.decoder(ids, ids, attend_rows(None))).detach()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert {name.rsplit(".", 1)[1] for name in trained_state(second.decoder)} == {"a", "b"}
    save_trained(tmp_path / "again", second)
    merged = open_trainable(tmp_path / "again", 0).decoder
    torch.testing.assert_close(merged.logits(merged(ids, ids, attend_rows(None))), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="no adapter here"):
        open_trainable(base, 1, adapter=base)
