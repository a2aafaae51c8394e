"""OpenAI's shapes without a server: usage, log-probabilities, the Responses API as a translation, lists of files."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

pytest.importorskip("fastapi")

from kaiwa.serve.exceptions import APIError
from kaiwa.serve.openai.answer_reader import CallPiece, ContentPiece, ModelCall, ReasoningPiece
from kaiwa.serve.openai.choice import AnswerChoice, ResponseHead, TokenAlternative, TokenDetail, usage
from kaiwa.serve.openai.protocol import ChatRequest, CompletionRequest, listed_inputs, make_sampling
from kaiwa.serve.openai.responses import ResponsesRequest, call_item, message_item, response_object
from kaiwa.serve.routes import chat, completions, responses
from kaiwa.serve.routes.files import list_page
from kaiwa.text.sampling import Grammar, Sampling

TALK = [{"role": "user", "content": "a"}]
HEAD = ResponseHead(id="resp-1", created=5, model="toy")


def token(text: str, logprob: float = -1.0, top: tuple[TokenAlternative, ...] = ()) -> TokenDetail:
    return TokenDetail(text, tuple(text.encode()), logprob, top)


def answer(text: str, finish: str | None = "stop", **more: Any) -> AnswerChoice:
    return AnswerChoice(text=text, finish=finish, **more)


# sampling


def test_a_bodys_sampling_is_made_in_one_place() -> None:
    fields = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "repetition_penalty": 1.2}
    fields |= {"presence_penalty": 0.5, "frequency_penalty": -0.5}
    body = ChatRequest(model="m", messages=TALK, seed=3, stop=["x", "y"], logit_bias={"7": -2.5}, **fields)
    grammar = Grammar(kind="json_object")
    assert make_sampling(body, 9, grammar) == Sampling(
        **fields, max_tokens=9, seed=3, stop=("x", "y"), logit_bias=((7, -2.5),), grammar=grammar
    )


def test_absent_fields_have_the_apis_defaults_and_a_fresh_seed() -> None:
    body = CompletionRequest(model="m", prompt="a", stop="x")
    first, second = make_sampling(body, None, None), make_sampling(body, None, None)
    assert (first.temperature, first.top_p, first.top_k, first.stop, first.grammar) == (1.0, 1.0, 0, ("x",), None)
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        ([], []),
        ([[]], [[]]),
    ],
)
def test_inputs_of_all_forms(value: Any, expected: list[Any]) -> None:
    assert listed_inputs(value) == expected


# usage and log-probabilities


def test_a_prompt_counts_once_for_its_answers() -> None:
    choices = [
        AnswerChoice(prompt_tokens=p, cached=c, n_tokens=n) for p, c, n in ((5, 1, 2), (5, 5, 3), (7, 0, 4), (7, 7, 1))
    ]
    counted = usage(choices, 2)
    assert (counted["prompt_tokens"], counted["completion_tokens"], counted["total_tokens"]) == (12, 10, 22)
    assert counted["prompt_tokens_details"] == {"cached_tokens": 1}


def test_an_answer_grows() -> None:
    choice = AnswerChoice()
    choice.start(4, 2, [token("p")])
    choice.add("he", 1, [token("he", -0.5)], None)
    choice.add("llo", 2, [token("l"), token("lo", -1.5)], "length")
    assert (choice.text, choice.n_tokens, choice.finish, choice.prompt_tokens, choice.cached) == (
        "hello",
        3,
        "length",
        4,
        2,
    )
    assert choice.mean_logprob == pytest.approx(-1.0)
    assert AnswerChoice().mean_logprob == 0.0


def test_text_offsets_of_half_characters() -> None:
    """A token inside a character begins where that character does; tokens of equal text keep the likeliest."""
    first, second = "海".encode()[:2], "海".encode()[2:]
    top = (
        TokenAlternative("�", (230,), -0.1),
        TokenAlternative("�", (231,), -0.9),
        TokenAlternative("x", (120,), -2.0),
    )
    tokens = [token("a"), TokenDetail("�", tuple(first), -1.0, top), TokenDetail("�", tuple(second), -1.0), token("b")]
    found = completions._logprobs(tokens, 10)
    assert found["text_offset"] == [10, 11, 11, 12]
    assert found["top_logprobs"] == [None, {"�": -0.1, "x": -2.0}, None, None]
    assert found["tokens"] == ["a", "�", "�", "b"]


def test_best_of_returns_the_likeliest_of_each_prompt() -> None:
    values = [-3.0, -1.0, -2.0, -0.5, -4.0, -0.1]
    choices = [answer(str(v), tokens=[token("x", v)], n_tokens=1, prompt_tokens=2) for v in values]
    body = CompletionRequest(model="m", prompt=["a", "b"], n=2, best_of=3)
    found = completions._response_body(HEAD, body, choices)
    assert [c["text"] for c in found["choices"]] == ["-1.0", "-2.0", "-0.1", "-0.5"]  # type: ignore[union-attr]
    assert found["usage"]["completion_tokens"] == 6, "all are counted"  # type: ignore[index]


def test_chat_log_probabilities() -> None:
    tokens = [token("é", -0.5, (TokenAlternative("é", (195, 169), -0.5), TokenAlternative("e", (101,), -1.5)))]
    body = ChatRequest(model="m", messages=TALK, logprobs=True, top_logprobs=2)
    found = chat._choice_json(0, body, answer("é", tokens=tokens))
    (entry,) = found["logprobs"]["content"]  # type: ignore[index]
    assert (entry["token"], entry["bytes"], entry["logprob"]) == ("é", [195, 169], -0.5)
    assert [other["token"] for other in entry["top_logprobs"]] == ["é", "e"]
    assert chat._choice_json(0, ChatRequest(model="m", messages=TALK), answer("é"))["logprobs"] is None


# the Responses API


def test_a_response_request_as_a_chat_request() -> None:
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "Weather "}, {"type": "input_text", "text": "in Kyoto?"}],
        },
        {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "2", "output": "noon"},
    ]
    body = ResponsesRequest(
        model="m",
        input=items,
        instructions="Be brief.",
        max_output_tokens=9,
        tools=[{"type": "function", "name": "weather"}],
        tool_choice={"type": "function", "name": "weather"},
        text={"format": {"type": "json_schema", "name": "w", "schema": {"type": "object"}}},
    )
    turns = [message.to_turn() for message in body.to_chat().messages]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "tool", "tool"]
    assert turns[1]["content"] == "Weather in Kyoto?"
    assert [call["id"] for call in turns[2]["tool_calls"]] == ["1", "2"], "calls in a row are one turn"
    chat_body = body.to_chat()
    assert chat_body.max_completion_tokens == 9
    assert chat_body.tool_choice.function.name == "weather"  # type: ignore[union-attr]
    assert chat_body.response_format.json_schema.body == {"type": "object"}  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
def test_nothing_is_stored(field: str) -> None:
    with pytest.raises(ValidationError, match="keeps no responses"):
        ResponsesRequest.model_validate({"model": "m", "input": "a", field: "resp_1"})


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_a_response_ends(finish: str, status: str, reason: str | None) -> None:
    body = ResponsesRequest(model="m", input="a", temperature=0.5)
    choice = answer("text", finish, prompt_tokens=3, n_tokens=2, cached=1)
    found: Any = responses._response_body(HEAD, body, body.to_chat(), choice)
    assert (found["status"], found["incomplete_details"]) == (status, {"reason": reason} if reason else None)
    assert found["output"][0]["content"][0]["text"] == "text"
    assert found["usage"]["total_tokens"] == 5
    assert found["usage"]["input_tokens_details"]["cached_tokens"] == 1
    assert (found["temperature"], found["top_p"], found["store"]) == (0.5, 1.0, False)


def test_items_of_output() -> None:
    assert message_item("x", "in_progress")["content"] == []
    item = call_item(ModelCall("weather", "call_9", '{"a": 1}'))
    assert (item["type"], item["call_id"], item["arguments"]) == ("function_call", "call_9", '{"a": 1}')
    body = ResponsesRequest(model="m", input="a")
    before = response_object(HEAD, body, "in_progress", [], None)
    assert (before["usage"], before["output"], before["error"]) == (None, [], None)


def test_events_of_a_response_are_numbered_and_name_their_item() -> None:
    writer = responses.EventWriter(HEAD, ResponsesRequest(model="m", input="a"))
    call = ModelCall("f", "c", "{}", complete=True)
    pieces = [ReasoningPiece("hm"), ContentPiece("he"), ContentPiece("y"), CallPiece(0, name="f", id="c")]
    lines = [line for piece in (*pieces, CallPiece(0, "{}")) for line in writer.add(piece, [call])]
    lines += writer.close("completed")
    events = [json.loads(line.partition("data: ")[2]) for line in lines]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [event["delta"] for event in deltas] == ["he", "y"]
    assert {event["item_id"] for event in deltas} == {writer.output[1]["id"]}
    assert [item["type"] for item in writer.output] == ["reasoning", "message", "function_call"]
    assert writer.output[1]["content"][0]["text"] == "hey"  # type: ignore[index]
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == writer.output
    assert (writer.output[2]["status"], writer.output[2]["arguments"]) == ("completed", "{}")


# lists


def test_a_page_of_a_list() -> None:
    rows: list[dict[str, object]] = [{"id": str(i)} for i in range(5)]
    page = list_page(rows, "1", 2)
    assert ([row["id"] for row in page["data"]], page["has_more"], page["last_id"]) == (["2", "3"], True, "3")  # type: ignore[union-attr]
    last = list_page(rows, "4", 2)
    assert (last["data"], last["has_more"], last["first_id"]) == ([], False, None)
    for after, limit, param in (("9", 2, "after"), (None, 0, "limit")):
        with pytest.raises(APIError) as caught:
            list_page(rows, after, limit)
        assert (caught.value.status, caught.value.param) == (400, param)


def test_items_become_turns() -> None:
    body = ResponsesRequest.model_validate(
        {
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "Hm."}],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "sunny"}]},
                {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            ],
            "tools": [
                {"type": "web_search"},
                {"type": "function", "name": "weather"},
                {"type": "mcp", "server_label": "x"},
            ],
            "tool_choice": {"type": "web_search"},
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "low", "summary": "auto"},
        }
    )
    chat = body.to_chat()
    assert [message.role for message in chat.messages] == ["user", "assistant", "tool", "assistant"]
    turn = chat.messages[1].to_turn()
    assert (turn["reasoning_content"], turn["tool_calls"][0]["id"]) == ("Hm.", "c")
    assert chat.messages[2].to_turn()["content"] == "sunny"
    assert chat.messages[3].content == "No."
    assert [tool.function.name for tool in chat.tools or []] == ["weather"]
    assert (chat.tool_choice, chat.reasoning_effort) == ("auto", "low")
    ignored = ["tools (web_search)", "tools (mcp)", "include (reasoning.encrypted_content)"]
    assert body.ignored() == ignored


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": [{"type": "item_reference", "id": "x"}]}, "send the item itself"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "text only"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "weather"}]}, "arguments"),
        ({"tools": [{"type": "function"}]}, "name"),
    ],
)
def test_items_that_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ResponsesRequest.model_validate({"model": "m", "input": "x"} | fields)
