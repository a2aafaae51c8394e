"""Choosing a checkpoint by the reward model: order, room, prompts left out, and bad files."""

import json
from pathlib import Path

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import Stopped, UserError
from kaiwa.evaluate.select import Candidate, select
from tests.tiny_models import policy_folder, reward_folder, tiny_tokenizer


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return reward_folder(tmp_path_factory.mktemp("reward") / "reward")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: policy_folder(root / name, seed=seed).path for name, seed in (("a", 5), ("b", 6), ("twin", 5))}


def write(folder: Path, *texts: str) -> Path:
    file = folder / "prompts.jsonl"
    rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def chosen(
    models: dict[str, Path], reward: Artifact, file: Path, ctx: Context | None = None, **changes: int
) -> list[Candidate]:
    numbers = {"max_tokens": 6} | changes
    return select(models, ctx or Context(seed=1), reward=reward, prompts=file, **numbers)  # type: ignore[arg-type]


def test_the_best_comes_first_and_equal_models_score_equally(
    models: dict[str, Path], reward: Artifact, tmp_path: Path
) -> None:
    candidates = chosen(models, reward, write(tmp_path, "cat", "dog", "0 1"))
    by_name = {c.name: c for c in candidates}
    assert set(by_name) == {"a", "b", "twin"}
    scores = [c.score.mean for c in candidates]
    assert scores == sorted(scores, reverse=True)
    a, twin = by_name["a"], by_name["twin"]
    assert (a.score, a.ended, a.tokens) == (twin.score, twin.ended, twin.tokens)
    assert a.score != by_name["b"].score
    assert all(c.score.n == 3 and 0 <= c.ended <= 1 and c.tokens <= 6 for c in candidates)


def test_only_the_first_prompts_are_asked(models: dict[str, Path], reward: Artifact, tmp_path: Path) -> None:
    (two,) = chosen({"a": models["a"]}, reward, write(tmp_path, "cat", "dog", "0 1"), most=2)
    (same,) = chosen({"a": models["a"]}, reward, write(tmp_path, "cat", "dog"))
    assert two == same
    assert two.score.n == 2


def test_prompts_without_room_are_left_out_and_said(models: dict[str, Path], reward: Artifact, tmp_path: Path) -> None:
    lines: list[str] = []
    file = write(tmp_path, "cat", "zq" * 60, "dog", "zq" * 70)
    (candidate,) = chosen({"a": models["a"]}, reward, file, Context(seed=1, say=lines.append))
    assert candidate.score.n == 2
    assert lines == [f"{file}: 2 prompts longer than 58 tokens left out, first record 2"]
    with pytest.raises(UserError, match="no prompt leaves room for a reply of 60 tokens in the context"):
        chosen(models, reward, write(tmp_path, "cat"), max_tokens=60)


def test_bad_files_name_the_record(models: dict[str, Path], reward: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no prompt in it; .* is expected"):
        chosen(models, reward, write(tmp_path))
    file = write(tmp_path, "cat")
    file.write_text(file.read_text() + '{"text": "dog"}\n')
    with pytest.raises(UserError, match=r"jsonl:2: no prompt in it|jsonl:2: messages: a list"):
        chosen(models, reward, file)
    with pytest.raises(UserError, match="no such file"):
        chosen(models, reward, tmp_path / "none.jsonl")


def test_a_plain_prompt_is_a_users_message(models: dict[str, Path], reward: Artifact, tmp_path: Path) -> None:
    expected = chosen({"a": models["a"]}, reward, write(tmp_path, "cat"))
    file = tmp_path / "plain.jsonl"
    file.write_text('{"prompt": "cat"}\n')
    assert chosen({"a": models["a"]}, reward, file) == expected


def test_another_tokenizer_is_refused(reward: Artifact, tmp_path: Path) -> None:
    stranger = policy_folder(tmp_path / "stranger", tokenizer=tiny_tokenizer(265)).path
    with pytest.raises(UserError, match="other tokens than"):
        chosen({"stranger": stranger}, reward, write(tmp_path, "cat"))


def test_the_wish_to_stop_is_heard_between_models(models: dict[str, Path], reward: Artifact, tmp_path: Path) -> None:
    shown: list[str] = []
    ctx = Context(show=lambda progress: shown.append(progress.text), stop=lambda: len(shown) == 2)
    with pytest.raises(Stopped):
        chosen(models, reward, write(tmp_path, "cat"), ctx)
    assert shown == ["a", "b"]
