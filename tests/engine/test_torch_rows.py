"""Rows in torch: several prompts' parts at once are each part alone; the cache grows and compacts without a loss."""

import pytest
import torch

from kaiwa.engine.native.huge_pages import Arena, allocate_huge
from kaiwa.engine.rows.kv_cache import KVCache
from kaiwa.engine.rows.torch_rows import TorchRows, pad
from kaiwa.engine.rows.torch_shared_rows import TorchSharedRows
from kaiwa.model.adapter import Adapter
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder

LLAMA = DecoderConfig(vocab_size=64, d_model=32, n_layer=2, n_head=4, n_kv_head=2, d_ff=48, max_length=128)
GPT3 = DecoderConfig(dialect="gpt3", vocab_size=64, d_model=32, n_layer=2, n_head=4, d_ff=48, max_length=128)
PARTS = [[5, 6, 7, 8, 9], [10], [11, 12, 13]]


@pytest.fixture(params=[LLAMA, GPT3], ids=["llama", "gpt3"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return make_decoder(request.param, 0).eval()


def begin(decoder: Decoder) -> TorchRows:
    """Three rows that hold the same four tokens."""
    rows = TorchRows(decoder, torch.float32)
    rows.prefill(*pad([[1, 2, 3, 4]] * 3))
    return rows


def test_parts_side_by_side_are_each_part_alone(decoder: Decoder) -> None:
    together, alone = begin(decoder), begin(decoder)
    expected = [alone.extend(i, [part])[0] for i, part in enumerate(PARTS)]
    for got, wanted in zip(together.extend(0, PARTS), expected, strict=True):
        assert torch.allclose(got, wanted, atol=1e-5)
    assert together.lengths.tolist() == [9, 5, 7] == alone.lengths.tolist()
    # what padding wrote beyond the shorter rows is never looked at
    last = torch.tensor([20, 21, 22])
    assert torch.allclose(together.decode(last, 9), alone.decode(last, 9), atol=1e-5)


def test_only_neighbours_of_equal_length_are_computed_together(decoder: Decoder) -> None:
    rows = TorchSharedRows(decoder, torch.float32, 0, side_by_side=True)
    for id in "abc":
        rows.open(id, ())
    work = [("a", [1, 2, 3]), ("b", [4, 5, 6]), ("c", [7])]
    assert [len(group) for group in rows._groups(work)] == [3]
    assert [len(group) for group in rows._groups([("a", [1] * 9), ("b", [1]), ("c", [1])])] == [2, 1]  # padding
    rows.run(work)
    assert [len(group) for group in rows._groups(work)] == [2, 1]  # c holds fewer tokens
    assert [len(group) for group in rows._groups([work[0], work[2]])] == [1, 1]  # no neighbours
    exact = TorchSharedRows(decoder, torch.float32, 0)
    for id in "ab":
        exact.open(id, ())
    assert [len(group) for group in exact._groups(work[:2])] == [1, 1]


def test_rows_of_other_adapters_are_computed_apart(decoder: Decoder) -> None:
    rows = TorchSharedRows(decoder, torch.float32, 0, side_by_side=True)
    adapter = Adapter(changes=(), soft=None)
    for id, own in (("a", None), ("b", adapter), ("c", adapter)):
        rows.open(id, (), own, 0)
    assert [len(group) for group in rows._groups([("a", [1]), ("b", [1]), ("c", [1])])] == [1, 2]


def test_the_cache_keeps_what_it_holds_when_it_grows() -> None:
    cache = KVCache(LLAMA, torch.float32, torch.device("cpu"))
    cache.reserve(2, 10)
    block = torch.randn(2, 2, 2, 10, 8)
    cache.write_row(0, block)
    cache.reserve(5, 100)
    assert cache.rows >= 5
    assert cache.length >= 100
    assert torch.equal(cache.buffer[:, :, 0, :, :10], block)
    cache.move_row(0, 3, 10)
    cache.copy_rows(torch.tensor([3]), torch.tensor([1]), 10)
    assert torch.equal(cache.buffer[:, :, 1, :, :10], block)


def test_the_arena_gives_the_same_addresses_again() -> None:
    arena, tensors = Arena(), [torch.randn(7), torch.arange(30), torch.randn(3, 5).bfloat16()]
    addresses = [arena.place(t) for t in tensors]
    assert all(address % 64 == 0 for address in addresses)
    arena.rewind()
    assert [arena.place(t) for t in tensors] == addresses
    copy = arena.keep(tensors[2])
    assert torch.equal(copy, tensors[2])
    assert copy.data_ptr() != tensors[2].data_ptr()
    assert allocate_huge(1 << 16).shape == (1 << 16,)
