"""Bad input: a 4xx in OpenAI's shape with the field named; never a 500 (clients retry after a 500), never a hang."""

from __future__ import annotations

from typing import Any

from kaiwa.doctor.server import MESSAGES, ServerCheck, ServerUnderTest, expect_error

CHAT = "/v1/chat/completions"


def _expect_refused(server: ServerUnderTest, field: str, **body: Any) -> None:
    body = {"model": server.model, "messages": MESSAGES, "max_tokens": 2, **body}
    server.expect_error(CHAT, body, 400, 422, field=field)


def check_unknown_model(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, {"model": "no-such-model", "messages": MESSAGES}, 404, 400, field="model")


def check_path_as_model(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, {"model": "../../../etc/passwd", "messages": MESSAGES}, 404, 400)


def check_no_model(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, {"messages": MESSAGES}, 400, 422, field="model")


def check_no_messages(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, {"model": server.model}, 400, 422, field="messages")


def check_empty_messages(server: ServerUnderTest) -> None:
    _expect_refused(server, "messages", messages=[])


def check_unknown_role(server: ServerUnderTest) -> None:
    _expect_refused(server, "role", messages=[{"role": "robot", "content": "x"}])


def check_content_of_wrong_type(server: ServerUnderTest) -> None:
    _expect_refused(server, "content", messages=[{"role": "user", "content": 5}])


def check_temperature_out_of_range(server: ServerUnderTest) -> None:
    _expect_refused(server, "temperature", temperature=9)


def check_temperature_of_wrong_type(server: ServerUnderTest) -> None:
    _expect_refused(server, "temperature", temperature="hot")


def check_no_choices(server: ServerUnderTest) -> None:
    _expect_refused(server, "n", n=0)


def check_negative_tokens(server: ServerUnderTest) -> None:
    _expect_refused(server, "max_tokens", max_tokens=-1)


def check_huge_number(server: ServerUnderTest) -> None:
    _expect_refused(server, "max_tokens", max_tokens=10**30)


def check_not_a_number(server: ServerUnderTest) -> None:
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "x"}], "top_p": NaN}' % server.model.encode()
    server.expect_error(CHAT, body, 400, 422)


def check_too_many_alternatives(server: ServerUnderTest) -> None:
    _expect_refused(server, "top_logprobs", logprobs=True, top_logprobs=50)


def check_stop_of_wrong_type(server: ServerUnderTest) -> None:
    _expect_refused(server, "stop", stop={"a": 1})


def check_bias_of_wrong_type(server: ServerUnderTest) -> None:
    _expect_refused(server, "logit_bias", logit_bias={"cat": 1})


def check_unknown_format(server: ServerUnderTest) -> None:
    _expect_refused(server, "response_format", response_format={"type": "poem"})


def check_impossible_schema(server: ServerUnderTest) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}, "strict": True}}
    _expect_refused(server, "", response_format=schema)


def check_no_json(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, b"{", 400, 422)


def check_json_of_wrong_type(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, [], 400, 422)


def check_invalid_utf8(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, b'{"model": "\xff\xfe"}', 400, 404, 422)


def check_half_a_character(server: ServerUnderTest) -> None:
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "\\ud800"}]}' % server.model.encode()
    response = server.post(CHAT, body + b"")
    if response.status_code != 200:
        expect_error(response, 400, 422)


def check_deep_nesting(server: ServerUnderTest) -> None:
    server.expect_error(CHAT, b"[" * 100_000 + b"]" * 100_000, 400, 413, 422)


def check_beyond_the_context(server: ServerUnderTest) -> None:
    body = {"model": server.model, "messages": [{"role": "user", "content": "sea " * 200_000}]}
    error = server.expect_error(CHAT, body, 400, 413)
    if error["code"] not in ("context_length_exceeded", None):
        expect_error(server.post(CHAT, body), 400, 413, field="context_length_exceeded")


def check_unknown_path(server: ServerUnderTest) -> None:
    expect_error(server.get("/v1/no-such-path"), 404)


def check_wrong_method(server: ServerUnderTest) -> None:
    expect_error(server.get(CHAT), 405, 404)


def check_says_what_is_missing(server: ServerUnderTest) -> None:
    error = server.expect_error(CHAT, {"model": server.model}, 400, 422)
    expect_error(server.post(CHAT, {"model": server.model}), 400, 422, field=str(error["param"] or "param is null"))


def check_still_answers(server: ServerUnderTest) -> None:
    server.chat(max_tokens=2)


GROUP = "bad input"
CHECKS = (
    ServerCheck("param is the name of the missing field", check_says_what_is_missing, must=False),
    ServerCheck("a JSON schema that is none", check_impossible_schema, must=False),
    ServerCheck("an unknown model: 404", check_unknown_model),
    ServerCheck("a path as the model: 404, nothing is opened", check_path_as_model),
    ServerCheck("no model", check_no_model),
    ServerCheck("no messages", check_no_messages),
    ServerCheck("empty messages", check_empty_messages),
    ServerCheck("an unknown role", check_unknown_role),
    ServerCheck("content that is a number", check_content_of_wrong_type),
    ServerCheck("temperature 9", check_temperature_out_of_range),
    ServerCheck('temperature "hot"', check_temperature_of_wrong_type),
    ServerCheck("n 0", check_no_choices),
    ServerCheck("max_tokens -1", check_negative_tokens),
    ServerCheck("max_tokens 10^30", check_huge_number),
    ServerCheck("top_p NaN", check_not_a_number),
    ServerCheck("top_logprobs 50", check_too_many_alternatives),
    ServerCheck("stop that is an object", check_stop_of_wrong_type),
    ServerCheck("logit_bias for something that is no token id", check_bias_of_wrong_type),
    ServerCheck("response_format of an unknown type", check_unknown_format),
    ServerCheck("a body that is no JSON", check_no_json),
    ServerCheck("a body that is a list", check_json_of_wrong_type),
    ServerCheck("a body that is no UTF-8", check_invalid_utf8),
    ServerCheck("half a character (a lone surrogate) in a message", check_half_a_character),
    ServerCheck("100,000 nested lists", check_deep_nesting),
    ServerCheck("a prompt beyond the context: 400, context_length_exceeded", check_beyond_the_context),
    ServerCheck("an unknown path: 404", check_unknown_path),
    ServerCheck("GET where POST belongs: 405", check_wrong_method),
    ServerCheck("after all that it still answers", check_still_answers),
)
