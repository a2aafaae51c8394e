"""Every stage, the engine and the loaded models on a second device: a strict stand-in, since few machines have one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kaiwa.catalog.entries import read_entry
from kaiwa.catalog.load import load
from kaiwa.catalog.local_model import LocalChatModel
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.machine import has_bf16_tiles
from kaiwa.engine.engine import Engine
from kaiwa.engine.request import Request
from kaiwa.engine.shared_prompts import SharedPrompts
from kaiwa.model import kernels
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.text.records import Message
from kaiwa.text.sampling import Sampling
from tests.contract.smallest import RECIPE, STAGES
from tests.stand_in import StandIn, is_there

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")
PROMPTS = [[1, 2, 3], [9], [5, 6, 7, 8, 9, 10, 11], [1, 2, 3], [200, 100], [7] * 20]


@pytest.mark.parametrize(
    ("name", "device"),
    [
        *(
            (name, "cuda")
            for name in ("base", "sft", "lora", "soft", "comparisons", "dpo", "reward", "rlhf", "evaluation")
        ),
        ("rlhf", "mps"),
    ],
)
def test_a_stage_runs_where_it_is_told_and_comes_to_the_same(
    chain: dict[str, Artifact], name: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the CPU by PyTorch's operations alone, as on a device: the C++ between the products rounds otherwise."""
    monkeypatch.setattr(kernels, "can_compute", lambda *tensors: False)
    said: list[str] = []
    with StandIn(device) as mode:
        made = STAGES[name](Context(seed=1, device=device, say=said.append), tmp_path / name, chain, RECIPE)
    assert mode.products > 0
    if name == "evaluation":  # its 4-bit model is dense there
        assert any(f"{device} has no 4-bit product" in line for line in said)
    elif not has_bf16_tiles():  # then the CPU computes in fp32, as the stand-in does
        assert made.hash == STAGES[name](Context(seed=1), tmp_path / "cpu" / name, chain, RECIPE).hash


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("dialect", ["llama", "gpt3"])
def test_the_engine_gives_the_same_answers_on_a_device(dialect: str, device: str) -> None:
    config = DecoderConfig(
        dialect=dialect,  # type: ignore[arg-type]
        vocab_size=256, d_model=32, n_layer=2, n_head=4, n_kv_head=2 if dialect == "llama" else 0, d_ff=64,
        max_length=64,
    )  # fmt: skip
    expected = answers(make_decoder(config, 0))
    with StandIn(device) as mode:
        decoder = make_decoder(config, 0).to(device)
        assert all(map(is_there, decoder.parameters()))
        found = answers(decoder)
    assert mode.products > 0
    assert found == expected


def answers(decoder: Decoder) -> list[object]:
    """Bulk answers greedy, plain and filtered; a narrower copy's; scores; served ones; shared prefixes."""
    engine, found = Engine(decoder, max_rows=3), []
    for temperature, top_k, top_p in ((0.0, 0, 1.0), (1.0, 0, 1.0), (0.8, 9, 0.9)):
        sampling = Sampling(max_tokens=5, seed=3, temperature=temperature, top_k=top_k, top_p=top_p)
        found.append(engine.generate(PROMPTS, sampling, rows=4, stop_ids=range(8)))
    found.append([c.ids for c in Engine(decoder, dtype=torch.bfloat16).generate(PROMPTS, Sampling(max_tokens=4))])
    found.append(engine.score(PROMPTS, PROMPTS))
    for i, prompt in enumerate(PROMPTS):
        sampling = Sampling(max_tokens=3 + i, temperature=0.5 * (i % 3), top_k=5 * (i % 2), seed=i)
        engine.add(Request(id=str(i), prompt_ids=tuple(prompt), sampling=sampling, logprobs=2, prompt_logprobs=i == 2))
    for step in range(20):
        found.append(engine.step())
        if step == 5:
            engine.cancel("1")
    assert engine.idle
    many = SharedPrompts(decoder, None, max_rows=3)  # type: ignore[arg-type]
    longer = [tuple(range(10, 30 + i)) for i in range(4)]
    asked = [Request(id=str(i), prompt_ids=p, sampling=Sampling(max_tokens=4, seed=i)) for i, p in enumerate(longer)]
    found += sorted(many.generate(asked), key=lambda pair: pair[0])
    found += many.score([(p, (5, 6)) for p in longer])
    return found


@pytest.mark.parametrize(("name", "device"), [("sft", "cuda"), ("int4", "cuda"), ("int4", "mps")])
def test_a_folder_is_loaded_to_the_device_and_talks(chain: dict[str, Artifact], name: str, device: str) -> None:
    entry = read_entry(chain[name].path, name)
    assert entry is not None
    said: list[str] = []
    with StandIn(device) as mode:
        loaded = load(replace(entry, chat=True), said.append, device)
        assert all(map(is_there, (*loaded.decoder.parameters(), *loaded.decoder.buffers())))
        talk = LocalChatModel(loaded)
        assert talk.generate((Message("user", "Who?"),), Sampling(max_tokens=5)).ids
        assert len(talk.score("Who", " bakes?")) > 0
    assert mode.products > 0
    assert len(said) == (name == "int4")


def test_the_stand_in_fails_where_a_device_would() -> None:
    cpu = torch.ones(3)
    with StandIn("mps"):
        there = cpu.to("mps")
        row = torch.nn.Parameter(torch.zeros(3, device="mps"))
        (row * there).sum().backward()
        assert is_there(row.grad)
        assert str(there[1:].device) == "mps"
        assert not is_there(there.cpu())
        assert there[torch.tensor([0])].tolist() == [1.0]
        for wrong in (
            lambda: there + cpu,
            lambda: there * torch.tensor(2.0),
            lambda: cpu[there.long()],
            lambda: torch.cat((there, cpu)),
            lambda: there.numpy(),
            lambda: np.asarray(there),
            lambda: there.double(),
            lambda: there.normal_(generator=torch.Generator()),
            lambda: torch.nn.functional.linear(cpu, cpu[None]),
        ):
            with pytest.raises((RuntimeError, TypeError, AssertionError)):
                wrong()
