"""The optimizer beside torch's."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from kaiwa.train.optim import AdamW, adamw, apply_gradients


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 40), nn.LayerNorm(40), nn.Linear(40, 3))


def backward(made: nn.Module, seed: int) -> None:
    made(torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))).square().sum().backward()


def test_the_same_bytes_as_torchs() -> None:
    ours = model()
    theirs = copy.deepcopy(ours)
    optimizer = adamw([ours], 1e-2, (0.9, 0.95), 0.1)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), fused=True)
    for step in range(5):
        for made in (ours, theirs):
            backward(made, step)
        apply_gradients(optimizer, 1e-2, 0.0)
        reference.step()
        reference.zero_grad()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    for mine, other in zip(
        optimizer.state_dict()["state"].values(), reference.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(mine[name], other[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_a_state_saved_goes_on_the_same() -> None:
    first = model()
    optimizer = adamw([first], 1e-2, (0.9, 0.95), 0.1)
    backward(first, 0)
    apply_gradients(optimizer, 1e-2, 1.0)
    second = copy.deepcopy(first)
    other = adamw([second], 1e-3, (0.5, 0.5), 0.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for made, of in ((first, optimizer), (second, other)):
        backward(made, 1)
        apply_gradients(of, 1e-2, 1.0)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_does_not_train_is_left_alone() -> None:
    made = model()
    made[2].requires_grad_(False)  # type: ignore[index]
    before = copy.deepcopy(made[2].state_dict())  # type: ignore[index]
    optimizer = adamw([made, made], 1e-2, (0.9, 0.95), 0.1)
    backward(made, 0)
    assert apply_gradients(optimizer, 1e-2, 1.0) > 0
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    assert all(torch.equal(before[name], t) for name, t in made[2].state_dict().items())  # type: ignore[index]


def test_training_does_without_the_compiler() -> None:
    """torch.compile's modules are 70 MB."""
    code = (
        "import sys, torch; from kaiwa.model.config import DecoderConfig; from kaiwa.model.decoder import *\n"
        "from kaiwa.model.attention import attend_rows\n"
        "from kaiwa.train.optim import adamw, apply_gradients\n"
        "with torch.device('meta'): Decoder(DecoderConfig(vocab_size=8, d_model=8, n_layer=1, n_head=1, d_ff=8))\n"
        "m = make_decoder(DecoderConfig(vocab_size=8, d_model=8, n_layer=1, n_head=1, d_ff=8), 0)\n"
        "o = adamw([m], 1e-3, (0.9, 0.95), 0.0); ids = torch.zeros(1, 4, dtype=torch.long)\n"
        "m(ids, ids, attend_rows(None)).sum().backward(); apply_gradients(o, 1e-3, 1.0)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_a_gradient_nothing_moves() -> None:
    made = nn.Linear(3, 2)
    before = made.weight.detach().clone()
    adamw([made], 1e-2, (0.9, 0.95), 0.1).step()
    assert torch.equal(made.weight, before)


def test_the_state_of_another_model_is_refused() -> None:
    """The kernel trusts its shapes: it would write behind a smaller one."""

    def optimizer(*sizes: int) -> AdamW:
        modules = [nn.Linear(n, 2) for n in sizes]
        made = adamw(modules, 1e-2, (0.9, 0.95), 0.0)
        sum(m(torch.ones(1, n)).sum() for m, n in zip(modules, sizes, strict=True)).backward()
        made.step()
        return made

    with pytest.raises(ValueError, match=r"optimizer state 0 is \(2, 3\), the weight \(2, 4\)"):
        optimizer(4).load_state_dict(optimizer(3).state_dict())
    with pytest.raises(ValueError, match="groups of"):
        optimizer(3).load_state_dict(optimizer(3, 3).state_dict())
