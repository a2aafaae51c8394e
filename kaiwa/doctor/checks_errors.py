"""Bad input: a 4xx in OpenAI's shape with the field named; never a 500 (clients repeat those), never a hang."""

from __future__ import annotations

from typing import Any

from kaiwa.doctor.target import MESSAGES, Check, Target, refusal

CHAT = "/v1/chat/completions"


def _bad(target: Target, field: str, **body: Any) -> None:
    asked = {"model": target.model, "messages": MESSAGES, "max_tokens": 2, **body}
    target.refused(CHAT, asked, 400, 422, field=field)


def unknown_model(target: Target) -> None:
    """an unknown model: 404"""
    target.refused(CHAT, {"model": "no-such-model", "messages": MESSAGES}, 404, 400, field="model")


def path_as_model(target: Target) -> None:
    """a path as the model: 404, nothing is opened"""
    target.refused(CHAT, {"model": "../../../etc/passwd", "messages": MESSAGES}, 404, 400)


def no_model(target: Target) -> None:
    """no model"""
    target.refused(CHAT, {"messages": MESSAGES}, 400, 422, field="model")


def no_messages(target: Target) -> None:
    """no messages"""
    target.refused(CHAT, {"model": target.model}, 400, 422, field="messages")


def empty_messages(target: Target) -> None:
    """empty messages"""
    _bad(target, "messages", messages=[])


def unknown_role(target: Target) -> None:
    """an unknown role"""
    _bad(target, "role", messages=[{"role": "robot", "content": "x"}])


def content_of_wrong_type(target: Target) -> None:
    """content that is a number"""
    _bad(target, "content", messages=[{"role": "user", "content": 5}])


def temperature_out_of_range(target: Target) -> None:
    """temperature 9"""
    _bad(target, "temperature", temperature=9)


def temperature_of_wrong_type(target: Target) -> None:
    """temperature "hot\""""
    _bad(target, "temperature", temperature="hot")


def no_choices(target: Target) -> None:
    """n 0"""
    _bad(target, "n", n=0)


def negative_tokens(target: Target) -> None:
    """max_tokens -1"""
    _bad(target, "max_tokens", max_tokens=-1)


def huge_number(target: Target) -> None:
    """max_tokens 10^30"""
    _bad(target, "max_tokens", max_tokens=10**30)


def not_a_number(target: Target) -> None:
    """top_p NaN"""
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "x"}], "top_p": NaN}' % target.model.encode()
    target.refused(CHAT, body, 400, 422)


def too_many_alternatives(target: Target) -> None:
    """top_logprobs 50"""
    _bad(target, "top_logprobs", logprobs=True, top_logprobs=50)


def stop_of_wrong_type(target: Target) -> None:
    """stop that is an object"""
    _bad(target, "stop", stop={"a": 1})


def bias_of_wrong_type(target: Target) -> None:
    """logit_bias for something that is no token id"""
    _bad(target, "logit_bias", logit_bias={"cat": 1})


def unknown_format(target: Target) -> None:
    """response_format of an unknown type"""
    _bad(target, "response_format", response_format={"type": "poem"})


def impossible_schema(target: Target) -> None:
    """a JSON schema that is none"""
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}, "strict": True}}
    _bad(target, "", response_format=schema)


def no_json(target: Target) -> None:
    """a body that is no JSON"""
    target.refused(CHAT, b"{", 400, 422)


def json_of_wrong_type(target: Target) -> None:
    """a body that is a list"""
    target.refused(CHAT, [], 400, 422)


def invalid_utf8(target: Target) -> None:
    """a body that is no UTF-8"""
    target.refused(CHAT, b'{"model": "\xff\xfe"}', 400, 404, 422)


def half_a_character(target: Target) -> None:
    """half a character (a lone surrogate) in a message"""
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "\\ud800"}]}' % target.model.encode()
    response = target.post(CHAT, body + b"")
    if response.status_code != 200:
        refusal(response, 400, 422)


def deep_nesting(target: Target) -> None:
    """100,000 nested lists"""
    target.refused(CHAT, b"[" * 100_000 + b"]" * 100_000, 400, 413, 422)


def beyond_the_context(target: Target) -> None:
    """a prompt beyond the context: 400, context_length_exceeded"""
    body = {"model": target.model, "messages": [{"role": "user", "content": "sea " * 200_000}]}
    error = target.refused(CHAT, body, 400, 413)
    if error["code"] not in ("context_length_exceeded", None):
        refusal(target.post(CHAT, body), 400, 413, field="context_length_exceeded")


def unknown_path(target: Target) -> None:
    """an unknown path: 404"""
    refusal(target.get("/v1/no-such-path"), 404)


def wrong_method(target: Target) -> None:
    """GET where POST belongs: 405"""
    refusal(target.get(CHAT), 405, 404)


def says_what_is_missing(target: Target) -> None:
    """param is the name of the missing field"""
    error = target.refused(CHAT, {"model": target.model}, 400, 422)
    refusal(target.post(CHAT, {"model": target.model}), 400, 422, field=str(error["param"] or "param is null"))


def still_answers(target: Target) -> None:
    """after all that it still answers"""
    target.chat(max_tokens=2)


GROUP = "bad input"
MUST: tuple[Check, ...] = (
    unknown_model,
    path_as_model,
    no_model,
    no_messages,
    empty_messages,
    unknown_role,
    content_of_wrong_type,
    temperature_out_of_range,
    temperature_of_wrong_type,
    no_choices,
    negative_tokens,
    huge_number,
    not_a_number,
    too_many_alternatives,
    stop_of_wrong_type,
    bias_of_wrong_type,
    unknown_format,
    no_json,
    json_of_wrong_type,
    invalid_utf8,
    half_a_character,
    deep_nesting,
    beyond_the_context,
    unknown_path,
    wrong_method,
    still_answers,
)
MAY: tuple[Check, ...] = (says_what_is_missing, impossible_schema)
