"""The C++ between a block's products beside its twins in PyTorch: values and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.model import kernels
from kaiwa.model.attention import attend_rows
from kaiwa.model.config import DecoderConfig, ExpertsConfig, Scales
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.model.documents import Documents, attend_padded, padded_indices
from kaiwa.model.rotary import rotate, rotate_both

pytestmark = pytest.mark.skipif(bool(kernels.machine_refusal()), reason=kernels.machine_refusal() or "there")


@pytest.fixture(autouse=True)
def _few_numbers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_FEW", 0)


@pytest.fixture(params=[1, 3])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def same(fast: Tensor | None, slow: Tensor, *inputs: Tensor) -> None:
    """In values, and in the gradients of the inputs for a random gradient of the output."""
    assert fast is not None
    g = torch.randn(slow.shape, generator=torch.Generator().manual_seed(9))
    found = [torch.autograd.grad(out, inputs, g, retain_graph=True) for out in (fast, slow)]
    for a, b in ((fast, slow), *zip(*found, strict=True)):
        a, b = a.detach(), b.detach()
        off, limit = float((a - b).abs().max()), 2e-6 * (1 + float(b.abs().max()))
        assert off <= limit


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(("n", "d"), [(1, 16), (200, 48), (1000, 192), (7, 10)])
def test_norm(n: int, d: int) -> None:
    x, w = random(2, n, d), random(d, seed=1)
    same(kernels.rms_norm(x, w, 1e-5), F.rms_norm(x, (d,), w, 1e-5), x, w)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(("n", "f"), [(1, 16), (600, 512), (9, 21)])
def test_swiglu(n: int, f: int) -> None:
    h = random(1, n, 2 * f)
    same(kernels.swiglu(h), F.silu(h[..., :f]) * h[..., f:], h)


def test_swiglu_of_large_numbers() -> None:
    h = (100 * random(1, 40, 32)).detach().requires_grad_()
    same(kernels.swiglu(h), F.silu(h[..., :16]) * h[..., 16:], h)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("size", [16, 64, 10])
def test_rotation(size: int) -> None:
    x, angles = random(2, 300, 8, size), torch.rand(2, 300, 1, size // 2)
    cos, sin = angles.cos(), angles.sin()

    fast = torch.cat(rotate_both(x * 1, 4, 2, cos, sin), dim=2)
    same(fast, torch.cat([rotate(x[:, :, :6], cos, sin), x[:, :, 6:]], dim=2), x)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("lengths", [(1,), (5, 17, 1), (33, 130, 52, 16)])
def test_attention(lengths: tuple[int, ...], kv_heads: int) -> None:
    for wanted in (lengths, tuple(max(1, n // 3) for n in lengths), (1,) * len(lengths)):
        few = Documents(lengths, wanted, "cpu")._few
        q, both = random(1, sum(wanted), 4, 32), random(1, sum(lengths), 2 * kv_heads, 32, seed=1)
        k, v = both[:, :, :kv_heads], both[:, :, kv_heads:]  # not in one piece
        fast, slow = kernels.attention(q, k, v, *few), attend_padded(q, k, v, padded_indices(*few, "cpu"))
        same(fast, slow, q, both)


def test_scores_far_apart() -> None:
    """Hundreds of nats apart: the highest has it all, and nothing overflows."""
    of = Documents((40, 3), (40, 3), "cpu")
    q, k, v = ((scale * random(1, 43, 2, 16, seed=i)).detach() for i, scale in enumerate((100, 100, 1)))
    fast, slow = kernels.attention(q, k, v, *of._all), attend_padded(q, k, v, padded_indices(*of._all, "cpu"))
    assert fast is not None
    assert float((fast - slow).abs().max()) <= 1e-2


def test_what_is_no_number_stays_so() -> None:
    x = random(1, 3, 16).detach()
    x[0, 1, 3] = float("nan")
    for y in (kernels.rms_norm(x, torch.ones(16), 1e-5), kernels.swiglu(x)):
        assert y is not None
        assert y.isnan().any(dim=-1).tolist() == [[False, True, False]]


def padded(model: Decoder, texts: list[Tensor], wanted: list[int]) -> Tensor:
    width = max(map(len, texts))
    ids = torch.stack([F.pad(t, (0, width - len(t))) for t in texts])
    hidden = model(ids, torch.arange(width).expand_as(ids), attend_rows(None))
    return torch.cat([h[len(t) - w : len(t)] for h, t, w in zip(hidden, texts, wanted, strict=True)])


@pytest.mark.parametrize("few", [0, 10**9])  # in C++, and in PyTorch
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"n_kv_head": 2},
        {"qk_norm": "head"},
        {"qk_norm": "all", "norms": "after"},
        {"qkv_bias": True},
        {"dialect": "gpt3"},
        {"dialect": "gpt3", "rotary_size": 4, "parallel": True},
        {"d_model": 40},
        {"layers": "wg", "window": 4, "local_theta": 100.0},
        {"scales": Scales(attention_cap=2.0, residual_scale=0.5)},
        {"experts": ExpertsConfig(n_experts=4, n_active=2)},
    ],
)
def test_texts_side_by_side(shape: dict[str, object], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_FEW", few)
    settings = {"vocab_size": 50, "d_model": 64, "n_layer": 3, "n_head": 4, "d_ff": 96} | shape
    model = make_decoder(DecoderConfig(**settings), 0)  # type: ignore[arg-type]
    model.double() if few else model.float()
    lengths, wanted = [7, 20, 1, 12], [3, 20, 1, 5]
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 50, (n,), generator=generator) for n in lengths]
    found = []
    for hidden in (
        Documents(lengths, wanted, "cpu").states(model, torch.cat(texts)),
        padded(model, texts, wanted),
    ):
        g = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
        (hidden * g).sum().backward()  # type: ignore[no-untyped-call]
        found.append([hidden, *(p.grad for p in model.parameters() if p.grad is not None)])
        model.zero_grad()
    for a, b in zip(*found, strict=True):
        a, b = a.detach(), b.detach()
        off, limit = float((a - b).abs().max()), 1e-5 * (1 + float(b.abs().max()))
        assert off <= limit


def test_a_failing_compiler_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAIWA_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    caches = (kernels.library, kernels._tell)
    for cache in caches:
        cache.cache_clear()
    try:
        with torch.no_grad():
            assert kernels.swiglu(torch.zeros(2, 32)) is None
        assert capsys.readouterr().err == "", "inference trains nothing"
        for _ in range(2):
            assert kernels.swiglu(torch.zeros(2, 32)) is None
        assert capsys.readouterr().err.count("training computes with PyTorch") == 1
    finally:
        for cache in caches:
            cache.cache_clear()


@pytest.mark.usefixtures("_threads")
def test_angles_for_all_rows_alike_are_left_to_torch() -> None:
    x, angles = random(3, 20, 6, 16).detach(), torch.rand(1, 20, 1, 8)
    cos, sin = angles.cos(), angles.sin()
    assert kernels.rotate(x * 1, 6, cos, sin) is None
    assert kernels.rotate(x * 1, 6, *(t.expand(3, -1, -1, -1) for t in (cos, sin))) is not None
