"""Tools, formats, biases, embeddings and the Responses API, as the official client sees them."""

import json
import math

import httpx
import pytest

from tests.running_server import Running

openai = pytest.importorskip("openai")
pytest.importorskip("llguidance")

CHAT = "toy/long"
MESSAGES = [{"role": "user", "content": "the cat"}]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["colour", "n"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "paint", "description": "Paints.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "wash", "parameters": {"type": "object", "additionalProperties": False}}},
]
FORMAT = {"type": "json_schema", "json_schema": {"name": "paint", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def client(server: Running) -> "openai.OpenAI":
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def test_an_answer_keeps_to_its_schema(client: "openai.OpenAI") -> None:
    """Whatever the seed: a random model writes what the schema allows and nothing else."""
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, response_format=FORMAT, n=4, max_tokens=300, temperature=1, seed=5
    )
    for choice in answer.choices:
        value = json.loads(choice.message.content)
        assert set(value) == {"colour", "n"}
        assert value["colour"] in ("red", "blue")
        assert 0 <= value["n"] <= 9
        assert choice.finish_reason == "stop"


def test_a_grammar_of_ours(client: "openai.OpenAI") -> None:
    for form in (
        {"type": "grammar", "syntax": "regex", "definition": "(yes|no)"},
        {"type": "grammar", "syntax": "lark", "definition": 'start: "yes" | "no"'},
    ):
        answer = client.chat.completions.create(model=CHAT, messages=MESSAGES, response_format=form, max_tokens=40)
        assert answer.choices[0].message.content in ("yes", "no")
    text = client.completions.create(
        model="toy/base", prompt="x", extra_body={"response_format": {"type": "json_object"}}, max_tokens=30
    )
    assert text.choices[0].text.startswith("{")


@pytest.mark.parametrize(
    "source",
    ['{"type": "nonsense"}', '{"type": "string", "pattern": "(a+)+(?<=b"}', '{"allOf": [{"$ref": "#/nowhere"}]}'],
)
def test_a_bad_schema_harms_only_its_request(client: "openai.OpenAI", source: str) -> None:
    """vLLM lost its worker to such a pattern (CVE-2025-48944)."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": json.loads(source), "strict": True}}
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as found:
            client.chat.completions.create(model=CHAT, messages=MESSAGES, response_format=form, stream=stream)
        assert found.value.param == "response_format"
    assert client.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=2).choices


LOOSE = {  # name: (schema without `strict`, what is not enforced)
    "a set": ({"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True, "maxItems": 2}, "uniqueItems"),
    "a record": ({"type": "object", "propertyNames": {"not": {}}, "maxProperties": 0}, "propertyNames"),
    "look-around": ({"type": "string", "pattern": "^(?=.*[A-Z]).{8,}$", "maxLength": 3}, "pattern"),
    "an unknown format": ({"type": "string", "format": "uri-reference", "maxLength": 3}, "format uri-reference"),
    "overlapping oneOf": ({"oneOf": [{"const": 1}, {"enum": [1, 2]}]}, "oneOf"),
    "no such type": ({"type": "nonsense", "enum": ["x"]}, "type"),
    "nothing left out": (SCHEMA, None),
}


@pytest.mark.parametrize("name", LOOSE)
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_without_strict_is_enforced_as_far_as_possible(server: Running, name: str, stream: bool) -> None:
    """Refused before: pydantic's sets, zod's records and password patterns, through every client that has schemas."""
    schema, unenforced = LOOSE[name]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {
        "model": CHAT,
        "messages": MESSAGES,
        "response_format": form,
        "max_tokens": 200,
        "stream": stream,
        "seed": 1,
    }
    response = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    assert response.headers.get("x-kaiwa-unenforced") == unenforced
    if not stream:
        json.loads(response.json()["choices"][0]["message"]["content"])


def test_only_the_listed_keys_are_written(client: "openai.OpenAI") -> None:
    for strict in (False, True):
        schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
        answer = client.chat.completions.create(model=CHAT, messages=MESSAGES, response_format=form, max_tokens=200)
        assert json.loads(answer.choices[0].message.content) == {"a": 1}


@pytest.mark.parametrize(
    "function", [{"name": "now"}, {"name": "now", "parameters": {"type": "object"}, "strict": True}]
)
def test_a_forced_tool_without_parameters_is_called_with_none(client: "openai.OpenAI", function: dict) -> None:
    tools = [{"type": "function", "function": function}]
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, tools=tools, tool_choice="required", max_tokens=200
    )
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("now", {})


def test_a_tools_schema_is_never_refused(client: "openai.OpenAI") -> None:
    nested = {"type": "array", "items": {"$ref": "#/$defs/P"}, "uniqueItems": True, "minItems": 1, "maxItems": 1}
    parameters = {
        "type": "object",
        "properties": {"x": nested},
        "required": ["x"],
        "$defs": {"P": {"type": "object", "properties": {"n": {"enum": [1], "pattern": "(?=a)"}}, "required": ["n"]}},
    }
    for strict in (False, True):
        function = {"name": "place", "parameters": parameters, "strict": strict}
        answer = client.chat.completions.create(
            model=CHAT,
            messages=MESSAGES,
            tools=[{"type": "function", "function": function}],
            tool_choice="required",
            max_tokens=600,
            seed=1,
        )
        (call,) = answer.choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"x": [{"n": 1}]}


def test_tool_calls(client: "openai.OpenAI") -> None:
    asked = {"model": CHAT, "messages": MESSAGES, "tools": TOOLS, "max_tokens": 300, "seed": 3}
    choice = client.chat.completions.create(**asked, tool_choice="required").choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls[0].function.name in ("paint", "wash")
    named = {"type": "function", "function": {"name": "paint"}}
    (call,) = client.chat.completions.create(**asked, tool_choice=named).choices[0].message.tool_calls
    assert call.function.name == "paint"
    assert json.loads(call.function.arguments)["colour"] in ("red", "blue")
    chunks = list(client.chat.completions.create(**asked, tool_choice=named, stream=True))
    deltas = [d for chunk in chunks for d in chunk.choices[0].delta.tool_calls or []]
    assert [d.function.name for d in deltas if d.function.name] == ["paint"]
    assert deltas[0].id
    assert all(d.index == 0 and d.function.arguments is not None for d in deltas)
    assert len(deltas) > 2, "argument by argument"
    assert "".join(d.function.arguments for d in deltas) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    with pytest.raises(openai.BadRequestError) as found:
        client.chat.completions.create(**asked | {"tools": TOOLS[1:]}, tool_choice=named)
    assert found.value.param == "tool_choice"


def test_tools_are_told_to_the_model(client: "openai.OpenAI") -> None:
    """By tokens: with tools the prompt is longer, with tool_choice none it is not."""
    counts = [
        client.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=1, **more).usage.prompt_tokens
        for more in ({}, {"tools": TOOLS}, {"tools": TOOLS, "tool_choice": "none"})
    ]
    assert counts[0] == counts[2] < counts[1]


def test_biases_and_penalties_are_felt(client: "openai.OpenAI", server: Running) -> None:
    asked = {"model": CHAT, "messages": MESSAGES, "max_tokens": 6, "temperature": 0}
    plain = client.chat.completions.create(**asked, logprobs=True).choices[0]
    (wanted,) = httpx.post(
        f"{server.url}/tokenize", json={"model": CHAT, "prompt": "7", "add_special_tokens": False}, timeout=60
    ).json()["tokens"]
    assert client.chat.completions.create(**asked, logit_bias={wanted: 100}).choices[0].message.content == "7" * 6
    banned = client.chat.completions.create(**asked, logit_bias={wanted: 100}, presence_penalty=2, frequency_penalty=2)
    assert banned.choices[0].message.content == "7" * 6, "a bias of 100 outweighs penalties"
    assert plain.message.content != "7" * 6
    with pytest.raises(openai.BadRequestError) as found:
        client.chat.completions.create(**asked, logit_bias={999_999: 1})
    assert found.value.param == "logit_bias"


def test_best_of(client: "openai.OpenAI") -> None:
    asked = {"model": "toy/base", "prompt": "the cat", "max_tokens": 6, "seed": 2, "temperature": 1}
    every = client.completions.create(**asked, n=4, logprobs=0)
    best = client.completions.create(**asked, n=2, best_of=4)
    ranked = sorted(every.choices, key=lambda choice: -sum(choice.logprobs.token_logprobs))
    assert [choice.text for choice in best.choices] == [choice.text for choice in ranked[:2]]
    assert best.usage.completion_tokens == every.usage.completion_tokens
    for wrong in ({"n": 3, "best_of": 2}, {"best_of": 2, "stream": True}):
        with pytest.raises(openai.BadRequestError) as found:
            client.completions.create(**asked, **wrong)
        assert found.value.param == "best_of"


def test_embeddings(client: "openai.OpenAI") -> None:
    """The client asks for base64 by itself. Equal texts are closer than others; lengths are 1."""
    found = client.embeddings.create(model=CHAT, input=["the cat sat", "the cat sat", "0123456789"])
    first, same, other = (one.embedding for one in found.data)
    assert len(first) == 32
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-4)
    assert first == pytest.approx(same)
    assert sum(a * b for a, b in zip(first, other, strict=True)) < 0.999
    plain = client.embeddings.create(model=CHAT, input="the cat sat", encoding_format="float").data[0].embedding
    assert first == pytest.approx(plain, abs=1e-6)
    for wrong, field in (({"input": []}, "input"), ({"input": "x", "dimensions": 5}, "dimensions")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=CHAT, **wrong)
        assert refused.value.param == field


def test_responses(client: "openai.OpenAI") -> None:
    asked = {"model": CHAT, "input": "the cat", "max_output_tokens": 9, "temperature": 0}
    whole = client.responses.create(**asked)
    chat = client.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=9, temperature=0)
    assert whole.output_text == chat.choices[0].message.content
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert whole.usage.total_tokens == chat.usage.total_tokens
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole.output_text
    form = {"format": {"type": "json_schema", "name": "paint", "schema": SCHEMA, "strict": True}}
    with client.responses.stream(model=CHAT, input="x", text=form, max_output_tokens=300) as stream:
        final = stream.get_final_response()
    assert final.status == "completed"
    assert json.loads(final.output_text)["colour"] in ("red", "blue")
    long = {
        "tools": [{"type": "function", "name": "f", "description": "x" * (1 << 15), "parameters": {}, "strict": True}]
    }
    for wrong, field in (
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": []}, "input"),
        (long, "tools"),
    ):
        with pytest.raises(openai.BadRequestError) as found:
            client.responses.create(**asked | wrong)
        assert found.value.param == field


def test_responses_call_functions(client: "openai.OpenAI") -> None:
    tools = [{"type": "function", **tool["function"], "strict": True} for tool in TOOLS]
    asked = {"model": CHAT, "tools": tools, "tool_choice": {"type": "function", "name": "paint"}, "temperature": 0}
    first = client.responses.create(**asked, input="paint it", max_output_tokens=300)
    (call,) = first.output
    assert (call.type, call.name) == ("function_call", "paint")
    assert json.loads(call.arguments)["colour"] in ("red", "blue")
    events = list(client.responses.create(**asked, input="paint it", max_output_tokens=300, stream=True))
    done = next(e for e in events if e.type == "response.function_call_arguments.done")
    assert done.arguments == call.arguments
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    turns = [{"role": "user", "content": "paint it"}, call.model_dump(include={"type", "call_id", "name", "arguments"})]
    last = client.responses.create(model=CHAT, input=[*turns, result], instructions="Be brief.", max_output_tokens=5)
    assert last.output[0].type == "message"


def test_tokens(server: Running) -> None:
    def post(path: str, **body: object) -> dict:
        response = httpx.post(f"{server.url}{path}", json={"model": CHAT, **body}, timeout=60)
        assert response.status_code == 200, response.text
        return dict(response.json())

    found = post("/tokenize", prompt="猫と犬 cat", add_special_tokens=False, return_token_strs=True)
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert post("/detokenize", tokens=found["tokens"])["prompt"] == "猫と犬 cat"
    assert (
        post("/tokenize", prompt="cat")["count"]
        == post("/tokenize", prompt="cat", add_special_tokens=False)["count"] + 1
    )
    info = httpx.get(f"{server.url}/tokenizer_info", params={"model": CHAT}).json()
    assert info["chat_template"].startswith("{%")
    assert info["eos_token"] == "<|im_end|>"
    assert math.isclose(info["model_max_length"], 40_000)
    bad = httpx.post(f"{server.url}/detokenize", json={"model": CHAT, "tokens": [5, -1]}, timeout=60)
    assert bad.status_code == 400


def test_log_probabilities_of_responses(client: "openai.OpenAI") -> None:
    """`include` asks for them; they are the chat API's. What cannot be included is named in a header."""
    asked = {"model": CHAT, "input": "the cat", "max_output_tokens": 9, "temperature": 0}
    include = ["message.output_text.logprobs", "reasoning.encrypted_content"]
    raw = client.responses.with_raw_response.create(**asked, include=include, top_logprobs=2)
    assert raw.headers["X-Kaiwa-Ignored"] == "include (reasoning.encrypted_content)"
    part = raw.parse().output[0].content[0]
    chat = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=9, temperature=0, logprobs=True, top_logprobs=2
    )
    expected = [(one.token, one.logprob, len(one.top_logprobs)) for one in chat.choices[0].logprobs.content]
    assert [(one.token, one.logprob, len(one.top_logprobs)) for one in part.logprobs] == expected
    events = list(client.responses.create(**asked, include=include[:1], stream=True))
    deltas = [one.token for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert deltas == [token for token, _, _ in expected]
    assert [one.token for one in done.logprobs] == deltas
    assert client.responses.create(**asked).output[0].content[0].logprobs == []


def test_a_long_history_loses_its_oldest_turns_where_the_client_says_so(client: "openai.OpenAI") -> None:
    last = {"role": "user", "content": "the cat"}
    long = [{"role": "user", "content": "no " * 50_000}, {"role": "assistant", "content": "a"}, last]
    asked = {"model": CHAT, "max_tokens": 4, "temperature": 0}
    with pytest.raises(openai.BadRequestError, match="context"):
        client.chat.completions.create(**asked, messages=long)
    raw = client.chat.completions.with_raw_response.create(**asked, messages=long, extra_body={"truncation": "auto"})
    assert raw.headers["X-Kaiwa-Dropped-Turns"] == "1"
    short = client.chat.completions.with_raw_response.create(**asked, messages=[last])
    assert "X-Kaiwa-Dropped-Turns" not in short.headers
    assert raw.parse().choices[0].message == short.parse().choices[0].message
    assert raw.parse().usage.prompt_tokens == short.parse().usage.prompt_tokens
    response = client.responses.create(model=CHAT, input=long, max_output_tokens=4, truncation="auto")
    assert response.truncation == "auto"
    assert client.responses.create(model=CHAT, input="a", max_output_tokens=4).truncation == "disabled"


def test_tools_of_other_servers_are_left_out(client: "openai.OpenAI") -> None:
    tools = [{"type": "web_search_preview"}, {"type": "custom", "custom": {"name": "shell"}}, *TOOLS]
    asked = {"model": CHAT, "messages": MESSAGES, "max_tokens": 4, "temperature": 0}
    raw = client.chat.completions.with_raw_response.create(**asked, tools=tools)
    assert raw.headers["X-Kaiwa-Ignored"] == "tools (web_search_preview), tools (custom)"
    plain = client.chat.completions.create(**asked, tools=TOOLS)
    assert raw.parse().choices[0].message.content == plain.choices[0].message.content
    forced = client.chat.completions.create(
        **asked, tools=tools, tool_choice={"type": "custom", "custom": {"name": "shell"}}
    )
    assert forced.choices[0].finish_reason, "as if it were auto"
    with pytest.raises(openai.BadRequestError, match="tools has none"):
        client.chat.completions.create(**asked, tools=tools[:2], tool_choice="required")
