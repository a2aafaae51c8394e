import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.engine.sampling import SamplingRules, alternatives, mix, row_seeds, sample, seed_tensor, uniforms


def rules(n: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0) -> SamplingRules:
    return SamplingRules.make([temperature] * n, [top_k] * n, [top_p] * n, row_seeds(seed, n))


def test_splitmix64_is_steeles() -> None:
    """The reference generator from state 0: its first outputs."""
    golden = -7046029254386353131
    found = [int(mix(torch.tensor(golden * (i + 1)))) % 2**64 for i in range(1)]
    assert found == [0xE220A8397B1DCDAF]


def test_uniforms_are_uniform_and_belong_to_seed_and_position() -> None:
    seeds, positions = row_seeds(1, 100).repeat(200), torch.arange(200).repeat_interleave(100)
    u = uniforms(seeds, positions)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(float(u.mean()) - 0.5) < 0.01
    assert abs(float(u.var()) - 1 / 12) < 0.005
    assert len(u.unique()) == len(u)
    assert torch.equal(uniforms(seeds[7:8], positions[7:8]), u[7:8])
    assert seed_tensor([2**64 - 1, -1]).tolist() == [-1, -1]


@pytest.mark.parametrize("V", [10, 64, 3000])
def test_frequencies_are_the_probabilities(V: int) -> None:
    n = 40_000
    logits = torch.randn(V, generator=torch.Generator().manual_seed(0)) * 2
    ids, logprobs = sample(logits.repeat(n, 1), rules(n), torch.zeros(n, dtype=torch.int64))
    expected = logits.log_softmax(0)
    assert logprobs == pytest.approx(expected[ids], abs=1e-5)
    counts = torch.bincount(ids, minlength=V) / n
    assert float((counts - expected.exp()).abs().max()) < 4 * math.sqrt(0.25 / n)


@given(st.integers(0, 10_000), st.integers(0, 30), st.floats(0.05, 1.0), st.floats(0.1, 3.0))
@settings(max_examples=60, deadline=None)
def test_filters_keep_the_likeliest(seed: int, top_k: int, top_p: float, temperature: float) -> None:
    V = 700  # more than the shortlist
    logits = torch.randn(1, V, generator=torch.Generator().manual_seed(seed)) * 2
    probabilities, order = (logits[0] / temperature).softmax(0).sort(descending=True)
    kept = probabilities[: top_k or V]
    before = kept.cumsum(0) - kept
    allowed = set(order[: len(kept)][before < top_p * kept.sum() + 1e-4].tolist())
    id, logprob = sample(logits.clone(), rules(1, temperature, top_k, top_p, seed), torch.tensor([3]))
    assert int(id) in allowed
    assert float(logprob) == pytest.approx(float((logits[0] / temperature).log_softmax(0)[id]), abs=1e-4)


def test_greedy_and_sampled_rows_together() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    mixed = SamplingRules.make([0.0, 1.0, 0.0], [0, 5, 0], [1.0, 1.0, 1.0], row_seeds(0, 3))
    ids, logprobs = sample(logits.clone(), mixed, torch.zeros(3, dtype=torch.int64))
    assert ids[[0, 2]].tolist() == logits[[0, 2]].argmax(1).tolist()
    assert logprobs == pytest.approx(logits.log_softmax(1).gather(1, ids[:, None])[:, 0], abs=1e-5)
    alone, _ = sample(logits[:1].clone(), rules(1, 0.0), torch.zeros(1, dtype=torch.int64))
    assert alone[0] == ids[0]


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.full((20_000, 70), -math.inf)
    logits[:, [3, 65]] = 0.0
    ids, _ = sample(logits, rules(20_000), torch.arange(20_000))
    assert set(ids.tolist()) == {3, 65}


def test_alternatives_are_best_first() -> None:
    ids, values = alternatives(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([0.5]), 5)
    assert ids.tolist() == [[1, 2, 0]]
    assert float(values.exp().sum()) == pytest.approx(1.0)
