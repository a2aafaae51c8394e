"""Rows in the shapes that people have: the record of each, and the field that each error names."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.text.records import Comparison, Message
from kaiwa.text.shapes import comparison_of, demonstration_of, prompt_of

U, A, S = (lambda t: Message("user", t)), (lambda t: Message("assistant", t)), (lambda t: Message("system", t))
TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]
SHAREGPT = [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hi."}]

DEMONSTRATIONS: list[Any] = [
    {"messages": TALK},
    {"messages": json.dumps(TALK)},
    {"messages": str(TALK)},  # as pandas writes a list into CSV
    {"messages": {"role": ["user", "assistant"], "content": ["Hello?", "Hi."]}},
    {"messages": None, "conversations": SHAREGPT, "id": "x"},
    {"conversations": {"from": ["human", "gpt"], "value": ["Hello?", "Hi."]}},
    {"conversation": [{"speaker": "User", "text": "Hello?"}, {"speaker": "Assistant", "text": "Hi."}]},
    {"utterances": [{"interlocutor_id": "AI", "text": "Hello?"}, {"interlocutor_id": "AH", "text": "Hi."}]},
    {"dialog": ["Hello?", "Hi."]},
    TALK,
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo?"}]},
                  {"role": "assistant", "content": [{"type": "text", "value": "Hi."}], "loss_weight": 1.0}]},
    {"instruction": "Hello?", "input": "", "output": "Hi."},
    {"instruction": "Hello?", "context": "", "response": "Hi.", "category": "open_qa"},
    {"prompt": "Hello?", "completion": "Hi."},
    {"question": "Hello?", "answer": "Hi."},
    {"prompt": TALK[:1], "completion": TALK[1:]},
    {"prompt": TALK[:1], "completion": TALK},
    {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."},
    {"chosen": "\n\nHuman: Hello?\n\nAssistant: Hi.", "rejected": "\n\nHuman: Hello?\n\nAssistant: No."},
]  # fmt: skip


@pytest.mark.parametrize("row", DEMONSTRATIONS, ids=lambda row: json.dumps(row)[:60])
def test_one_demonstration_in_every_shape(row: Any) -> None:
    assert demonstration_of(row).messages == (U("Hello?"), A("Hi."))
    assert prompt_of(row) == (U("Hello?"),)


COMPARISONS: list[dict[str, Any]] = [
    {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."},
    {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": [{"role": "assistant", "content": "No."}]},
    {"prompt": "Hello?", "chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "No."}],
     "messages": TALK, "score_chosen": 9.0},
    {"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "No."}]},
    {"chosen": json.dumps({"messages": TALK}), "rejected": json.dumps({"messages": [
        TALK[0], {"role": "assistant", "content": "No."}]})},
    {"messages": TALK, "rejected_response": "No."},
    {"instruction": "Hello?", "input": "", "output": "x", "chosen": "Hi.", "rejected": "No."},
    {"chosen": "\n\nHuman: Hello?\n\nAssistant: Hi.", "rejected": "\n\nHuman: Hello?\n\nAssistant: No."},
    {"conversations": SHAREGPT[:1], "chosen": SHAREGPT[1], "rejected": {"from": "gpt", "value": "No."}},
    {"input": {"messages": TALK[:1]}, "preferred_output": TALK[1:],
     "non_preferred_output": [{"role": "assistant", "content": "No."}]},
    {"prompt": "Hello?", "completions": ["Hi.", "No."], "ranks": [0, 1]},
    {"prompt": "Hello?", "responses": ["Hi.", "No."], "scores": [4.5, 1]},
    {"question": "Hello?", "completions": '["Hi.", "No."]', "ranks": "[0, 1]"},
]  # fmt: skip


@pytest.mark.parametrize("row", COMPARISONS, ids=lambda row: json.dumps(row)[:60])
def test_one_comparison_in_every_shape(row: dict[str, Any]) -> None:
    record = comparison_of(row)
    assert (record.prompt, record.completions, record.ranks) == ((U("Hello?"),), ("Hi.", "No."), (0, 1))
    assert prompt_of(row) == (U("Hello?"),)


def test_the_prompt_of_dialogues_is_their_common_beginning() -> None:
    talk = "\n\nHuman: One?\n\nAssistant: Yes.\n\nHuman: Two?\n\nAssistant: "
    record = comparison_of({"chosen": talk + "Good.", "rejected": talk + "Bad."})
    assert record.prompt == (U("One?"), A("Yes."), U("Two?"))
    assert record.completions == ("Good.", "Bad.")
    same = comparison_of({"chosen": TALK, "rejected": TALK})
    assert (same.prompt, same.completions) == ((U("Hello?"),), ("Hi.", "Hi."))


def test_what_a_row_has_besides() -> None:
    row = {"system": "Be brief.", "instruction": "Add.", "input": "1 2", "output": "3", "history": [["a", "b"]]}
    assert demonstration_of(row).messages == (S("Be brief."), U("a"), A("b"), U("Add.\n\n1 2"), A("3"))
    developer = {"messages": [{"role": "developer", "content": "x"}, *TALK], "meta": {"ended": False}}
    assert demonstration_of(developer).messages[0] == S("x")
    assert demonstration_of(developer).meta == {"ended": False}
    weights = {"messages": [*TALK, *TALK]}
    weights["messages"][1] = {**TALK[1], "weight": 0}
    assert [m.weight for m in demonstration_of(weights).messages] == [1, 0, 1, 1]
    assert demonstration_of({"text": "Once."}).text == "Once."
    assert prompt_of({"messages": [*TALK, *TALK]}) == (U("Hello?"), A("Hi."), U("Hello?"))


def test_an_answer_that_looks_like_json_is_a_text() -> None:
    for answer in ("[1, 2]", '{"name": "x"}', '[{"a": 1}]', "[INST"):
        assert demonstration_of({"prompt": "p", "completion": answer}).messages[-1] == A(answer)
        assert comparison_of({"prompt": "p", "chosen": answer, "rejected": "n"}).completions == (answer, "n")


def test_tool_calls_are_kept_with_their_arguments_as_objects() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"n": 3}'}}
    row = {
        "tools": json.dumps([{"type": "function", "function": {"name": "f"}}]),
        "messages": [TALK[0], {"role": "assistant", "content": None, "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": "1", "content": "9"}, TALK[1]],
    }  # fmt: skip
    record = demonstration_of(row)
    assert record.messages[1].fields["tool_calls"][0]["function"] == {"name": "f", "arguments": {"n": 3}}
    assert record.messages[2].fields == {"tool_call_id": "1"}
    assert record.tools[0]["function"] == {"name": "f"}
    spoken = [*SHAREGPT[:1], {"from": "function_call", "value": '{"name": "f", "arguments": {"n": 3}}'},
              {"from": "observation", "value": "9"}, SHAREGPT[1]]  # fmt: skip
    assert demonstration_of({"conversations": spoken}).messages[1].fields["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (7, "an object is expected, got int"),
        ({}, "no conversation in it$"),
        ({"a": 1, "b": 2}, r"no conversation in it \(its columns: a, b; name others by --map"),
        ({"messages": []}, "messages: a list with at least one message is expected"),
        ({"messages": [*TALK, "x"]}, r"messages\[2\]: an object with role and content"),
        ({"messages": [{"role": "king", "content": "x"}, *TALK]}, r"messages\[0\].role: 'king' is unknown; use one of"),
        ({"messages": [{"content": "x"}, *TALK]}, r"messages\[0\].role: '' is unknown"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content: a text is expected, got int"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part of type 'image_url'; only text"),
        ({"messages": TALK[:1]}, "messages: the last one is the user's; the assistant's answer must end it"),
        ({"messages": [TALK[0], {**TALK[1], "weight": 0}]}, r"messages\[1\].weight: 0"),
        ({"messages": [TALK[0], {**TALK[1], "weight": -1}]}, r"messages\[1\].weight: -1 must be a number"),
        ({"messages": TALK, "meta": "x"}, "meta: an object is expected"),
        ({"messages": TALK, "tools": [{}]}, r"tools\[0\]: a function with a name"),
        ({"text": " "}, "text: it is empty"),
        ({"prompt": "p", "completion": 3}, "completion: a list with at least one message is expected, got int"),
    ],
)
def test_what_is_no_demonstration(row: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        demonstration_of(row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hello?", "chosen": "Hi."}, "no preference in it"),
        ({"chosen": "no turns", "rejected": "nor here"}, "prompt: no message of a user before the replies"),
        ({"prompt": TALK, "chosen": "a", "rejected": "b"}, "prompt: the last message is the assistant's"),
        ({"chosen": TALK[:1], "rejected": TALK}, "chosen: ends with the user's message"),
        ({"prompt": "q", "chosen": TALK, "rejected": "No."}, "rejected: differs from chosen before the last reply"),
        ({"prompt": "q", "completions": ["a", "b"]}, "ranks: a list of 2 whole numbers"),
        ({"prompt": "q", "completions": ["a"], "ranks": [0]}, "needs at least 2 completions"),
        ({"prompt": "q", "chosen": [], "rejected": "b"}, "chosen: a list with at least one message"),
    ],
)
def test_what_is_no_comparison(row: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        comparison_of(row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": 1}, "no prompt in it"),
        ({"messages": [TALK[1]]}, "prompt: no message of a user in it"),
        ({"prompt": 7}, "prompt: a list with at least one message is expected, got int"),
    ],
)
def test_what_is_no_prompt(row: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prompt_of(row)


NAMES = ("messages", "conversations", "role", "from", "content", "value", "prompt", "instruction", "input", "output",
         "chosen", "rejected", "completions", "ranks", "scores", "tools", "tool_calls", "function", "name", "arguments",
         "history", "meta", "weight", "text", "system", "type", "row", "row_idx")  # fmt: skip
WORDS = (
    "user",
    "assistant",
    "tool",
    "function_call",
    "A",
    "B",
    "[1]",
    '[{"role": "user"}]',
    "\n\nHuman: a\n\nAssistant: b",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=14,
)


@settings(max_examples=400)
@given(JSON)
def test_any_row_is_a_record_or_an_error_in_words(row: Any) -> None:
    for read in (demonstration_of, comparison_of, prompt_of):
        with contextlib.suppress(UserError):
            record = read(row)
            assert record is not None
            if isinstance(record, Comparison):
                assert all(isinstance(text, str) for text in record.completions)
