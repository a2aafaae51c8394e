"""Best of N: the bound on its KL, who is chosen, and that an unfinished reply is no winner."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.catalog.trainable import open_base
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.metrics import read_metrics
from kaiwa.engine.engine import Engine
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.rlhf import best_of
from kaiwa.rlhf.best_of import best_of_n, choose, kl_bound, run
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.rollout import Episodes
from kaiwa.text.records import Completion, read_jsonl
from tests.tiny_models import policy_folder, reward_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    root = tmp_path_factory.mktemp("best_of")
    return policy_folder(root / "policy"), reward_folder(root / "reward")


@pytest.mark.parametrize("n", [2, 4, 50])
def test_the_bound_is_the_exact_kl_of_the_best_of_many_equally_likely_replies(n: int) -> None:
    # the best of n draws from m ordered replies: P(rank k) = (k/m)^n - ((k-1)/m)^n, each 1/m before
    m = 20_000
    best = [(k / m) ** n - ((k - 1) / m) ** n for k in range(1, m + 1)]
    exact = sum(p * math.log(p * m) for p in best if p > 0)
    assert kl_bound(n) == pytest.approx(exact, abs=1e-3)
    assert exact <= kl_bound(n) + 1e-9


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=24), st.integers(1, 4))
def test_the_chosen_is_the_first_of_the_highest_of_its_prompt(scores: list[int], n: int) -> None:
    scores = (scores * n)[: len(scores) // n * n] or [0] * n
    chosen = choose(torch.tensor(scores, dtype=torch.float32), n)
    for prompt, index in enumerate(chosen):
        group = scores[prompt * n : (prompt + 1) * n]
        assert index == prompt * n + group.index(max(group))


def test_replies_and_scores_do_not_depend_on_the_microbatch(folders: tuple[Artifact, Artifact]) -> None:
    decoder, tokenizer = open_base(folders[0].path)
    engine, judge = Engine(decoder, tokenizer), load_scalar(folders[1].path)
    prompts = [(5, 6, 7), (8, 9)]
    config = BestOfConfig(n=6, max_tokens=4, microbatch=5)
    everything = {"seed": 1, "eos": tokenizer.eos_id, "device": "cpu"}
    replies, scores, mean = best_of_n(engine, judge, prompts, config, **everything)  # type: ignore[arg-type]
    assert len(replies) == len(scores) == 2
    again = best_of_n(engine, judge, prompts, BestOfConfig(n=6, max_tokens=4, microbatch=99), **everything)  # type: ignore[arg-type]
    assert [r.ids for r in again[0]] == [r.ids for r in replies]
    assert again[1] == pytest.approx(scores, abs=1e-4)
    alone, alone_scores, alone_mean = best_of_n(
        engine, judge, prompts, BestOfConfig(n=1, max_tokens=4), **everything  # type: ignore[arg-type]
    )  # fmt: skip
    assert len(alone) == 2
    assert alone_mean == pytest.approx(sum(alone_scores) / 2)
    assert math.isfinite(mean)


class Scripted:
    """An engine that gives prepared replies: token n of a reply names its score."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons

    def generate(self, prompts: list[tuple[int, ...]], *unused: object, **unused_too: object) -> list[Completion]:
        assert prompts == [(5, 6)] * len(self.reasons)
        return [Completion(text=str(i), ids=(i,), finish_reason=reason) for i, reason in enumerate(self.reasons)]


@pytest.mark.parametrize(
    ("scores", "reasons", "winner"),
    [
        ([5.0, 0.5, -0.5], ["length", "stop", "stop"], 1),  # unfinished: min(5, 0) - 1
        ([5.0, -0.5, -2.0], ["length", "stop", "stop"], 1),
        ([-3.0, -0.5, 4.0], ["length", "length", "length"], 2),  # -4, -1.5, -1
        ([1.0, 3.0, 2.0], ["stop", "stop", "length"], 1),
    ],
)
def test_an_unfinished_reply_is_judged_by_the_end_rule(
    scores: list[float], reasons: list[str], winner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_token(judge: object, part: Episodes, device: str) -> torch.Tensor:
        return torch.tensor([scores[int(text[-1])] for text in part.texts])

    monkeypatch.setattr(best_of, "reward_model_scores", by_token)
    config = BestOfConfig(n=3, microbatch=2)
    engine: Any = Scripted(reasons)
    judge: Any = None
    (reply,), (score,), mean = best_of_n(engine, judge, [(5, 6)], config, seed=0, eos=1, device="cpu")
    assert reply.ids == (winner,)
    assert score == scores[winner]  # what is published is the score itself
    assert mean == pytest.approx(sum(scores) / 3)


def test_what_is_published(folders: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("cat", "dog", "0", "1", "2")))
    config, ctx = BestOfConfig(n=3, max_tokens=4, block=2), Context(seed=5, logs=tmp_path / "logs")
    artifact = run(config, ctx, policy=folders[0], reward=folders[1], prompts=file, out=tmp_path / "best")
    rows = list(read_jsonl(artifact.path / "demonstrations.jsonl"))
    assert [row["messages"][0]["content"] for row in rows] == ["cat", "dog", "0", "1", "2"]
    assert all(row["messages"][1]["role"] == "assistant" for row in rows)
    scores = [row["meta"]["score"] for row in rows]
    assert artifact.metrics["score"] == pytest.approx(sum(scores) / 5)
    assert artifact.metrics["prompts"] == 5
    assert artifact.metrics["kl_at_most"] == pytest.approx(math.log(3) - 2 / 3)
    assert [row["step"] for row in read_metrics(tmp_path / "logs" / "best.jsonl")] == [0, 2, 4]
