"""/v1/chat/completions with stream: true."""

from __future__ import annotations

from kaiwa.doctor.server import MESSAGES, ServerCheck, ServerUnderTest, expect, expect_error

PATH = "/v1/chat/completions"


def check_is_an_event_stream(server: ServerUnderTest) -> None:
    kind = server.chat_stream().response.headers.get("content-type", "")
    expect(kind.startswith("text/event-stream"), f"content-type is {kind!r}")


def check_ends_with_done(server: ServerUnderTest) -> None:
    expect(server.chat_stream().data[-1:] == ["[DONE]"], "it ends otherwise")


def check_begins_with_the_role(server: ServerUnderTest) -> None:
    first = server.chat_stream().chunks[0]
    expect(first["choices"][0]["delta"].get("role") == "assistant", f"{first['choices']}")


def check_is_one_answer(server: ServerUnderTest) -> None:
    chunks = server.chat_stream().chunks
    heads = {(c["id"], c["created"], c["model"], c["object"]) for c in chunks}
    expect(len(heads) == 1 and chunks[0]["object"] == "chat.completion.chunk", f"{len(heads)} heads")


def check_says_finish_once(server: ServerUnderTest) -> None:
    reasons = [choice["finish_reason"] for chunk in server.chat_stream().chunks for choice in chunk["choices"]]
    ends = [reason for reason in reasons if reason is not None]
    expect(len(ends) == 1 and reasons[-1] in ("stop", "length"), f"{reasons}")


def check_finish_has_no_text(server: ServerUnderTest) -> None:
    last = [c for chunk in server.chat_stream().chunks for c in chunk["choices"]][-1]
    expect(not last["delta"].get("content"), "it carries text")


def check_equals_the_whole(server: ServerUnderTest) -> None:
    whole = server.chat()["choices"][0]["message"]["content"]
    expect(server.chat_stream().text() == whole, "another text")


def check_comes_in_pieces(server: ServerUnderTest) -> None:
    chunks = server.chat_stream(max_tokens=16).chunks
    pieces = [c for chunk in chunks for c in chunk["choices"] if c["delta"].get("content")]
    expect(len(pieces) > 1, f"{len(pieces)} piece")


def check_usage_comes_last(server: ServerUnderTest) -> None:
    chunks = server.chat_stream(stream_options={"include_usage": True}).chunks
    expect(chunks[-1]["choices"] == [], "the last chunk has choices")
    expect(chunks[-1]["usage"]["total_tokens"] > 0, "no usage")
    expect(all(chunk.get("usage") is None for chunk in chunks[:-1]), "usage before the end")


def check_no_usage_unasked(server: ServerUnderTest) -> None:
    expect(all(chunk["choices"] for chunk in server.chat_stream().chunks), "there is one")


def check_usage_is_the_same(server: ServerUnderTest) -> None:
    last = server.chat_stream(stream_options={"include_usage": True}).chunks[-1]["usage"]
    whole = server.chat()["usage"]
    for name in ("prompt_tokens", "completion_tokens"):
        expect(last[name] == whole[name], f"{name}: {last[name]} and {whole[name]}")


def check_several_choices(server: ServerUnderTest) -> None:
    choices = [c for chunk in server.chat_stream(n=2, temperature=1).chunks for c in chunk["choices"]]
    ends = sorted(choice["index"] for choice in choices if choice["finish_reason"] is not None)
    expect(ends == [0, 1], f"ended: {ends}")


def check_reports_logprobs(server: ServerUnderTest) -> None:
    stream = server.chat_stream(logprobs=True, stream_options={"include_usage": True})
    entries = [c["logprobs"]["content"] for k in stream.chunks for c in k["choices"] if c.get("logprobs")]
    count = sum(map(len, entries))
    expect(0 < count <= stream.chunks[-1]["usage"]["completion_tokens"], f"{count} entries")


def check_heeds_stop(server: ServerUnderTest) -> None:
    whole = server.chat(max_tokens=16)["choices"][0]["message"]["content"]
    stop = whole.strip()[2:5] or whole[:1]
    answer = server.chat_stream(max_tokens=16, stop=[stop]).text()
    expect(answer == whole[: whole.find(stop)], f"{answer!r}")


def check_refuses_before_it_begins(server: ServerUnderTest) -> None:
    body = {"model": "no-such-model", "messages": MESSAGES, "stream": True}
    expect_error(server.post(PATH, body), 404, 400)


def check_refuses_what_is_too_long(server: ServerUnderTest) -> None:
    message = [{"role": "user", "content": "sea " * 200_000}]
    expect_error(server.post(PATH, {"model": server.model, "messages": message, "stream": True}), 400, 413)


def check_is_not_buffered(server: ServerUnderTest) -> None:
    headers = server.chat_stream().response.headers
    expect("no-cache" in headers.get("cache-control", ""), "no Cache-Control: no-cache")
    expect(headers.get("x-accel-buffering") == "no", "no X-Accel-Buffering: no")


def check_survives_leaving(server: ServerUnderTest) -> None:
    body = {"model": server.model, "messages": MESSAGES, "stream": True, "max_tokens": 64}
    with server.client.stream("POST", PATH, json=body) as response:
        next(response.iter_lines())
    server.chat(max_tokens=2)


GROUP = "chat, streamed"
CHECKS = (
    ServerCheck("Cache-Control: no-cache and X-Accel-Buffering: no (proxies)", check_is_not_buffered, must=False),
    ServerCheck("content-type is text/event-stream", check_is_an_event_stream),
    ServerCheck("the last event is [DONE]", check_ends_with_done),
    ServerCheck("the first chunk's delta has role assistant", check_begins_with_the_role),
    ServerCheck("id, created, model and object are the same in all chunks", check_is_one_answer),
    ServerCheck("finish_reason is in every choice: null, and once stop or length", check_says_finish_once),
    ServerCheck("the chunk with finish_reason has an empty delta", check_finish_has_no_text),
    ServerCheck("the pieces together are the whole answer", check_equals_the_whole),
    ServerCheck("it comes in several pieces", check_comes_in_pieces),
    ServerCheck("include_usage: one more chunk, choices [], usage; null before", check_usage_comes_last),
    ServerCheck("no chunk without choices unless usage was asked for", check_no_usage_unasked),
    ServerCheck("usage in the stream equals the whole answer's", check_usage_is_the_same),
    ServerCheck("n = 2: both indices, each finished once", check_several_choices),
    ServerCheck("logprobs come with their chunks, one entry a token", check_reports_logprobs),
    ServerCheck("a stop string is not in the stream, nor a piece of it", check_heeds_stop),
    ServerCheck("an unknown model is a status, no event in a 200", check_refuses_before_it_begins),
    ServerCheck("a prompt beyond the context is a status as well", check_refuses_what_is_too_long),
    ServerCheck("a client that leaves in the middle harms nobody", check_survives_leaving),
)
