"""Prompts of rollouts: which are read, which are left out, and what a bad record is told."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.prompts import prompt_order, prompts_that_fit, read_prompts
from kaiwa.text.records import Message
from kaiwa.text.template import render
from tests.tiny_models import policy_folder, reward_folder, tiny_tokenizer


def write(folder: Path, *rows: object) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def length(text: str) -> int:
    return len(render(tiny_tokenizer(), (Message("user", text),), add_generation_prompt=True).ids)


def test_messages_and_plain_prompts_in_the_files_order(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "the dog"}, {"role": "user", "content": "cat?"}]
    file = write(tmp_path, {"prompt": "the cat"}, {"messages": messages, "meta": 1})
    rows = read_prompts(file, tiny_tokenizer(), 999, lambda line: pytest.fail(line))
    assert [conversation for _, conversation in rows] == [
        (Message("user", "the cat"),),
        (Message("system", "the dog"), Message("user", "cat?")),
    ]
    assert len(rows[0][0]) == length("the cat")
    assert all(isinstance(ids, tuple) for ids, _ in rows)  # they are keys of a dictionary


def test_long_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    lines: list[str] = []
    file = write(tmp_path, {"prompt": "cat"}, {"prompt": "zq" * 40}, {"prompt": "dog"}, {"prompt": "xw" * 50})
    rows = read_prompts(file, tiny_tokenizer(), length("zq" * 40) - 1, lines.append)
    assert [c[0].content for _, c in rows] == ["cat", "dog"]
    (line,) = lines
    assert f"2 of 4 prompts are longer than {length('zq' * 40) - 1} tokens, the first is record 2" in line
    assert len(read_prompts(file, tiny_tokenizer(), length("zq" * 40), lines.append)) == 3  # just long enough


def test_bad_files_are_told_apart(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    with pytest.raises(UserError, match=r"1 prompts are longer than 3 tokens.*; none is left: give shorter prompts"):
        read_prompts(write(tmp_path, {"prompt": "the cat and the dog"}), tokenizer, 3, lambda line: None)
    with pytest.raises(UserError, match=r'no prompt in it; {"messages": .* is expected'):
        read_prompts(write(tmp_path), tokenizer, 99, lambda line: None)
    with pytest.raises(UserError, match=r"prompts.jsonl:2: no prompt in it \(its columns: text"):
        read_prompts(write(tmp_path, {"prompt": "a"}, {"text": "b"}), tokenizer, 99, lambda line: None)
    with pytest.raises(UserError, match="max_tokens is 3 too many"):
        read_prompts(write(tmp_path, {"prompt": "a"}), tokenizer, -2, lambda line: None)
    with pytest.raises(UserError, match="no such file"):
        read_prompts(tmp_path / "none.jsonl", tokenizer, 99, lambda line: None)


def test_the_smaller_context_of_policy_and_reward_model_counts(tmp_path: Path) -> None:
    policy, reward = policy_folder(tmp_path / "policy"), reward_folder(tmp_path / "reward", max_length=50)
    file = write(tmp_path, {"prompt": "cat"}, {"prompt": "zq" * 13})
    most = length("zq" * 13)
    lines: list[str] = []
    config = RLHFConfig(max_tokens=64 - most)  # it fits the policy's context of 64 to the token
    alone = prompts_that_fit(config, Context(say=lines.append), policy.path, None, file)
    assert (len(alone), lines) == (2, [])
    config = RLHFConfig(max_tokens=51 - most)
    both = prompts_that_fit(config, Context(say=lines.append), policy.path, reward.path, file)
    assert len(both) == 1
    assert f"longer than {most - 1} tokens" in lines[0]


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_the_order_can_be_cut_anywhere(n: int, start: int, count: int, seed: int) -> None:
    whole = prompt_order(n, seed, 0, start + count)
    assert prompt_order(n, seed, start, count) == whole[start:]
    for epoch in range(len(whole) // n):
        assert sorted(whole[epoch * n : (epoch + 1) * n]) == list(range(n))
