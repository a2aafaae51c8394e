"""Every form in which servers send an answer."""

from typing import Any

import pytest

from kaiwa.text.chat_model import ModelUnavailable
from kaiwa.text.openai_answer import completion_from_answer
from kaiwa.text.records import whole_text


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": "hi"}}, "hi", "stop"),
        ({"message": {"content": "hi"}, "finish_reason": "length"}, "hi", "length"),
        ({"message": {"content": None}, "finish_reason": "content_filter"}, "", "content_filter"),
        ({"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}, "I cannot.", "refusal"),
        ({"message": {"content": None, "tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}, "", "tool_calls"),
        ({"message": {"content": "", "tool_calls": [{"id": "1"}]}}, "", "tool_calls"),
        ({"message": {"content": "", "reasoning_content": "Hm."}, "finish_reason": "length"}, "", "length"),
        ({"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ab", "stop"),
        ({"message": {"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "b"}]}}, "b", "stop"),
        ({"message": {"content": [{"type": "text", "text": {"value": "v"}}]}}, "v", "stop"),
        ({"message": {"content": [{"type": "image_url", "image_url": {}}]}}, "", "stop"),
        ({"message": {"content": "half \ud83d"}}, "half \ufffd", "stop"),
        ({"text": " world", "finish_reason": None}, " world", "stop"),
        ({"text": None}, "", "stop"),
    ],
)
def test_a_choice(choice: dict[str, Any], text: str, reason: str) -> None:
    completion = completion_from_answer({"choices": [choice]})
    assert (completion.text, completion.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    "choice", [{}, {"message": None}, {"message": {"content": 3}}, {"message": {"content": [3]}}, 3]
)
def test_what_is_no_choice(choice: Any) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError)):
        completion_from_answer({"choices": [choice]})


def test_an_answer_that_broke_off_is_lost() -> None:
    with pytest.raises(ModelUnavailable, match="broke off: error"):
        completion_from_answer({"choices": [{"message": {"content": "ha"}, "finish_reason": "error"}]})


@pytest.mark.parametrize("usage", [{"prompt_tokens_details": {"cached_tokens": 5}}, {"prompt_cache_hit_tokens": 5}])
def test_counts(usage: dict[str, Any]) -> None:
    usage |= {"prompt_tokens": 7, "completion_tokens": 2}
    completion = completion_from_answer({"choices": [{"message": {"content": "x"}}], "usage": usage})
    assert (completion.n_prompt, completion.n_reused, completion.n_tokens) == (7, 5, 2)


def test_whole_text() -> None:
    assert whole_text("a😀b") == "a😀b"
    assert whole_text("\ud83d\ude00") == "😀", "halves that belong together are joined"
    assert whole_text("a\udc00") == "a\ufffd"
