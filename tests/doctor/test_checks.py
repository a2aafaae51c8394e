"""Each check sees what it is there for: a good answer passes, and the same answer with one thing wrong does not."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kaiwa.core.errors import UserError
from kaiwa.doctor import checks_chat, checks_completions, checks_errors, checks_models, checks_more, checks_stream
from kaiwa.doctor.server import Absent, Fault, ServerUnderTest, expect_error

TOP = [{"token": t, "logprob": p, "bytes": None} for t, p in (("a", -0.1), ("b", -2.0), ("c", -3.0))]
LOGPROBS = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": TOP}]}


def chat_body(**more: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 1,
        "total_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    message = {"role": "assistant", "content": "a"}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": None}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return body | more


def server(answer: Callable[[httpx.Request], httpx.Response] | dict[str, Any]) -> ServerUnderTest:
    def respond(request: httpx.Request) -> httpx.Response:
        return answer(request) if callable(answer) else httpx.Response(200, json=answer)

    return ServerUnderTest("http://nowhere/v1/", model="m", transport=httpx.MockTransport(respond))


def changed(**choice: Any) -> dict[str, Any]:
    body = chat_body()
    body["choices"] = [body["choices"][0] | choice]
    return body


WRONG: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (checks_chat.check_shape, chat_body(), chat_body(object="text_completion")),
    (checks_chat.check_shape, chat_body(), chat_body(choices=[])),
    (checks_chat.check_message, chat_body(), changed(message={"role": "user", "content": "a"})),
    (checks_chat.check_message, chat_body(), changed(message={"role": "assistant", "content": None})),
    (
        checks_chat.check_usage,
        chat_body(),
        chat_body(usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 5}),
    ),
    (
        checks_chat.check_usage,
        chat_body(),
        chat_body(usage={"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1}),
    ),
    (checks_chat.check_stops_at_max_tokens, chat_body(), changed(finish_reason="done")),
    (checks_chat.check_no_logprobs_unasked, chat_body(), changed(logprobs=LOGPROBS)),
    (checks_chat.check_reports_logprobs, changed(logprobs=LOGPROBS), changed(logprobs={"content": []})),
    (
        checks_chat.check_reports_alternatives,
        changed(logprobs=LOGPROBS),
        changed(logprobs={"content": [LOGPROBS["content"][0] | {"top_logprobs": TOP[::-1]}]}),
    ),
    (checks_chat.check_names_the_model, chat_body(), chat_body(model="another")),
    (
        checks_chat.check_reports_what_was_cached,
        chat_body(),
        chat_body(usage={"prompt_tokens_details": {"cached_tokens": "0"}}),
    ),
]


@pytest.mark.parametrize(("check", "good", "bad"), WRONG)
def test_one_wrong_thing_is_seen(check: Any, good: dict[str, Any], bad: dict[str, Any]) -> None:
    check(server(good))
    with pytest.raises(Fault):
        check(server(bad))


def test_an_answer_that_differs_from_call_to_call() -> None:
    texts = iter("abababab")

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=changed(message={"role": "assistant", "content": next(texts)}))

    for check in (checks_chat.check_greedy_repeats, checks_chat.check_seed_repeats):
        with pytest.raises(Fault, match="two texts differ"):
            check(server(respond))


def events(*chunks: Any, done: bool = True) -> str:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": choices} | more


ROLE, PIECE, END = chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({}, "stop")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks_stream.check_ends_with_done, events(ROLE, PIECE, END), events(ROLE, PIECE, END, done=False)),
        (checks_stream.check_begins_with_the_role, events(ROLE, PIECE, END), events(PIECE, END)),
        (checks_stream.check_is_one_answer, events(ROLE, PIECE, END), events(ROLE, PIECE | {"id": "y"}, END)),
        (checks_stream.check_says_finish_once, events(ROLE, PIECE, END), events(ROLE, PIECE, END, END)),
        (checks_stream.check_finish_has_no_text, events(ROLE, END), events(ROLE, chunk({"content": "a"}, "stop"))),
        (checks_stream.check_comes_in_pieces, events(ROLE, PIECE, PIECE, END), events(ROLE, PIECE, END)),
        (checks_stream.check_no_usage_unasked, events(ROLE, END), events(ROLE, END, {"choices": [], "usage": {}})),
    ],
)
def test_a_wrong_stream_is_seen(check: Any, good: str, bad: str) -> None:
    check(server(lambda request: httpx.Response(200, text=good)))
    with pytest.raises(Fault):
        check(server(lambda request: httpx.Response(200, text=bad)))


def error(status: int, **fields: Any) -> httpx.Response:
    shape = {"message": "temperature: too high", "type": "t", "param": "temperature", "code": "c"} | fields
    return httpx.Response(status, json={"error": shape})


def test_errors_need_a_status_a_shape_and_the_field() -> None:
    assert expect_error(error(400), 400, 422, field="temperature")["code"] == "c"
    for response, words in (
        (error(500), "status 500, not 400 or 422"),
        (error(400, message=""), "no message"),
        (error(400, message="bad", param=None), "does not name temperature"),
        (httpx.Response(400, text="bad"), "no error object"),
        (httpx.Response(400, json={"error": {"message": "temperature"}}), "lacks a field"),
    ):
        with pytest.raises(Fault, match=words):
            expect_error(response, 400, 422, field="temperature")
    with pytest.raises(Fault):
        checks_errors.check_temperature_out_of_range(server(lambda request: error(200)))
    checks_errors.check_temperature_out_of_range(server(lambda request: error(422)))


def test_what_is_not_offered_is_absent_and_no_fault() -> None:
    nothing = server(lambda request: httpx.Response(404, text="Not Found"))
    for check in (
        checks_models.check_health,
        checks_models.check_metrics,
        checks_more.check_embeds,
        checks_more.check_tokenizes,
    ):
        with pytest.raises(Absent):
            check(nothing)
    missing_model = server(lambda request: error(404, code="model_not_found"))
    with pytest.raises(Fault):
        checks_more.check_embeds(missing_model)


def test_a_permissive_server_is_seen() -> None:
    open_to_all = server(
        lambda request: httpx.Response(200, json={"data": []}, headers={"Access-Control-Allow-Origin": "*"})
    )
    for check in (
        checks_models.check_no_foreign_site,
        checks_models.check_no_rebinding,
        checks_models.check_no_foreign_post,
    ):
        with pytest.raises(Fault):
            check(open_to_all)


def test_echo_must_score_what_was_written() -> None:
    echoed = [None, -1.0, -1.0, -1.0, -0.5, -0.5, -0.5, -0.5]

    def respond(request: httpx.Request) -> httpx.Response:
        scores = echoed if json.loads(request.content).get("echo") else [-0.5] * 4
        return httpx.Response(200, json={"choices": [{"text": "x", "logprobs": {"token_logprobs": scores}}]})

    checks_completions.check_scores_what_it_writes(server(respond))
    echoed[-1] = -0.9
    with pytest.raises(Fault):
        checks_completions.check_scores_what_it_writes(server(respond))


def test_the_first_model_that_chats() -> None:
    rows = [{"id": "base", "kaiwa": {"chat": False}}, {"id": "chat", "kaiwa": {"chat": True}}]

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": rows})

    assert ServerUnderTest("http://nowhere", transport=httpx.MockTransport(respond)).model == "chat"
    rows.pop()
    with pytest.raises(UserError, match="no model that chats"):
        ServerUnderTest("http://nowhere", transport=httpx.MockTransport(respond))
