"""/v1/chat/completions with stream: true."""

from __future__ import annotations

from kaiwa.doctor.target import MESSAGES, Check, Target, expect, refusal

PATH = "/v1/chat/completions"


def is_an_event_stream(target: Target) -> None:
    """content-type is text/event-stream"""
    kind = target.chat_stream().response.headers.get("content-type", "")
    expect(kind.startswith("text/event-stream"), f"content-type is {kind!r}")


def ends_with_done(target: Target) -> None:
    """the last event is [DONE]"""
    expect(target.chat_stream().data[-1:] == ["[DONE]"], "it ends otherwise")


def begins_with_the_role(target: Target) -> None:
    """the first chunk's delta has role assistant"""
    first = target.chat_stream().chunks[0]
    expect(first["choices"][0]["delta"].get("role") == "assistant", f"{first['choices']}")


def is_one_answer(target: Target) -> None:
    """id, created, model and object are the same in all chunks"""
    chunks = target.chat_stream().chunks
    heads = {(c["id"], c["created"], c["model"], c["object"]) for c in chunks}
    expect(len(heads) == 1 and chunks[0]["object"] == "chat.completion.chunk", f"{len(heads)} heads")


def says_finish_once(target: Target) -> None:
    """finish_reason is in every choice: null, and once stop or length"""
    reasons = [choice["finish_reason"] for chunk in target.chat_stream().chunks for choice in chunk["choices"]]
    ends = [reason for reason in reasons if reason is not None]
    expect(len(ends) == 1 and reasons[-1] in ("stop", "length"), f"{reasons}")


def finish_has_no_text(target: Target) -> None:
    """the chunk with finish_reason has an empty delta"""
    last = [c for chunk in target.chat_stream().chunks for c in chunk["choices"]][-1]
    expect(not last["delta"].get("content"), "it carries text")


def equals_the_whole(target: Target) -> None:
    """the pieces together are the whole answer"""
    whole = target.chat()["choices"][0]["message"]["content"]
    expect(target.chat_stream().text() == whole, "another text")


def comes_in_pieces(target: Target) -> None:
    """it comes in several pieces"""
    chunks = target.chat_stream(max_tokens=16).chunks
    pieces = [c for chunk in chunks for c in chunk["choices"] if c["delta"].get("content")]
    expect(len(pieces) > 1, f"{len(pieces)} piece")


def usage_comes_last(target: Target) -> None:
    """include_usage: one more chunk, choices [], usage; null before"""
    chunks = target.chat_stream(stream_options={"include_usage": True}).chunks
    expect(chunks[-1]["choices"] == [], "the last chunk has choices")
    expect(chunks[-1]["usage"]["total_tokens"] > 0, "no usage")
    expect(all(chunk.get("usage") is None for chunk in chunks[:-1]), "usage before the end")


def no_usage_unasked(target: Target) -> None:
    """no chunk without choices unless usage was asked for"""
    expect(all(chunk["choices"] for chunk in target.chat_stream().chunks), "there is one")


def usage_is_the_same(target: Target) -> None:
    """usage in the stream equals the whole answer's"""
    last = target.chat_stream(stream_options={"include_usage": True}).chunks[-1]["usage"]
    whole = target.chat()["usage"]
    for name in ("prompt_tokens", "completion_tokens"):
        expect(last[name] == whole[name], f"{name}: {last[name]} and {whole[name]}")


def several_choices(target: Target) -> None:
    """n = 2: both indices, each finished once"""
    choices = [c for chunk in target.chat_stream(n=2, temperature=1).chunks for c in chunk["choices"]]
    ends = sorted(choice["index"] for choice in choices if choice["finish_reason"] is not None)
    expect(ends == [0, 1], f"ended: {ends}")


def tells_logprobs(target: Target) -> None:
    """logprobs come with their chunks, one entry a token"""
    told = target.chat_stream(logprobs=True, stream_options={"include_usage": True})
    entries = [c["logprobs"]["content"] for k in told.chunks for c in k["choices"] if c.get("logprobs")]
    count = sum(map(len, entries))
    expect(0 < count <= told.chunks[-1]["usage"]["completion_tokens"], f"{count} entries")


def heeds_stop(target: Target) -> None:
    """a stop string is not in the stream, nor a piece of it"""
    whole = target.chat(max_tokens=16)["choices"][0]["message"]["content"]
    stop = whole.strip()[2:5] or whole[:1]
    found = target.chat_stream(max_tokens=16, stop=[stop]).text()
    expect(found == whole[: whole.find(stop)], f"{found!r}")


def refuses_before_it_begins(target: Target) -> None:
    """an unknown model is a status, no event in a 200"""
    body = {"model": "no-such-model", "messages": MESSAGES, "stream": True}
    refusal(target.post(PATH, body), 404, 400)


def refuses_what_is_too_long(target: Target) -> None:
    """a prompt beyond the context is a status as well"""
    message = [{"role": "user", "content": "sea " * 200_000}]
    refusal(target.post(PATH, {"model": target.model, "messages": message, "stream": True}), 400, 413)


def is_not_buffered(target: Target) -> None:
    """Cache-Control: no-cache and X-Accel-Buffering: no (proxies)"""
    headers = target.chat_stream().response.headers
    expect("no-cache" in headers.get("cache-control", ""), "no Cache-Control: no-cache")
    expect(headers.get("x-accel-buffering") == "no", "no X-Accel-Buffering: no")


def survives_leaving(target: Target) -> None:
    """a client that leaves in the middle harms nobody"""
    body = {"model": target.model, "messages": MESSAGES, "stream": True, "max_tokens": 64}
    with target.client.stream("POST", PATH, json=body) as response:
        next(response.iter_lines())
    target.chat(max_tokens=2)


GROUP = "chat, streamed"
MUST: tuple[Check, ...] = (
    is_an_event_stream,
    ends_with_done,
    begins_with_the_role,
    is_one_answer,
    says_finish_once,
    finish_has_no_text,
    equals_the_whole,
    comes_in_pieces,
    usage_comes_last,
    no_usage_unasked,
    usage_is_the_same,
    several_choices,
    tells_logprobs,
    heeds_stop,
    refuses_before_it_begins,
    refuses_what_is_too_long,
    survives_leaving,
)
MAY: tuple[Check, ...] = (is_not_buffered,)
