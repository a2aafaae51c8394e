"""The loss of packed rows: unembedding only what counts equals unembedding everything."""

import torch

from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import make_decoder
from kaiwa.train.likelihood import rows_loss


def test_the_loss_and_its_gradient_do_not_depend_on_what_is_unembedded() -> None:
    model = make_decoder(DecoderConfig(vocab_size=40, d_model=32, n_layer=2, n_head=2, d_ff=48, max_length=16), 1)
    made = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 40, (3, 16), generator=made)
    segments = torch.tensor([[0] * 9 + [1] * 7]).expand(3, 16)
    positions = torch.cat([torch.arange(9), torch.arange(7)]).expand(3, 16)
    weights = torch.rand(3, 16, generator=made) * (torch.rand(3, 16, generator=made) < 0.4)
    found = []
    for everywhere in (True, False):
        model.zero_grad()
        loss = rows_loss(model, (ids, positions, segments, ids.roll(-1, 1), weights), everywhere=everywhere)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 10
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))
