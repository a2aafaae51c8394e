"""Names of adapters: spaces are never given twice, and what does not fit is refused in one line."""

import pytest
import torch

from kaiwa.core.errors import UserError
from kaiwa.engine.adapters import NO_ADAPTER, AdapterTable
from kaiwa.engine.embed import embed
from kaiwa.model.adapter import Adapter
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder

CONFIG = DecoderConfig(vocab_size=64, d_model=32, n_layer=2, n_head=4, d_ff=48, max_length=16)


def test_a_name_that_comes_again_gets_another_space() -> None:
    table = AdapterTable(CONFIG, 16)
    soft = Adapter(changes=(), soft=torch.zeros(3, 32))
    table.add("a", soft)
    first = table.get("a").space
    assert table.get("a").n_soft == 3
    assert table.remove("a") == first
    table.add("a", soft)
    assert table.get("a").space != first
    assert table.get("") is NO_ADAPTER


@pytest.mark.parametrize(
    ("name", "adapter", "message"),
    [
        ("", Adapter(changes=()), "give it a name"),
        ("b", Adapter(changes=({},)), "changes 1 blocks, the model has 2"),
        ("b", Adapter(changes=(), soft=torch.zeros(3, 16)), "soft prompt of"),
        ("b", Adapter(changes=(), soft=torch.zeros(16, 32)), "reads 16 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, adapter: Adapter, message: str) -> None:
    with pytest.raises(UserError, match=message):
        AdapterTable(CONFIG, 16).add(name, adapter)


def test_unknown_names() -> None:
    table = AdapterTable(CONFIG, 16)
    with pytest.raises(UserError, match="no adapter 'polite' is loaded; none is"):
        table.get("polite")
    table.add("polite", Adapter(changes=()))
    with pytest.raises(UserError, match="did you mean 'polite'"):
        table.get("polit")
    with pytest.raises(UserError, match="name is taken"):
        table.add("polite", Adapter(changes=()))


def test_embeddings_have_length_one() -> None:
    decoder = make_decoder(CONFIG, 0).eval()
    one, other = embed(decoder, [1, 2, 3]), embed(decoder, [9, 8])
    assert len(one) == 32
    assert sum(x * x for x in one) == pytest.approx(1, abs=1e-5)
    assert one != pytest.approx(other, abs=1e-3)
    shifted = embed(decoder, [1, 2, 3], Adapter(changes=(), soft=torch.randn(4, 32)))
    assert shifted != pytest.approx(one, abs=1e-3)
