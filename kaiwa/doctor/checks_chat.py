"""/v1/chat/completions, whole answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kaiwa.doctor.target import MESSAGES, Check, Target, expect


def has_the_shape(target: Target) -> None:
    """id, object, created, model, choices, usage"""
    found = target.chat()
    expect(found["object"] == "chat.completion", f"object is {found['object']!r}")
    expect(isinstance(found["id"], str) and isinstance(found["created"], int), "id or created is of the wrong type")
    expect(isinstance(found["model"], str) and len(found["choices"]) == 1, "no model, or not one choice")


def has_a_message(target: Target) -> None:
    """message has role assistant and text"""
    message = target.chat()["choices"][0]["message"]
    expect(message["role"] == "assistant", f"role is {message['role']!r}")
    expect(isinstance(message["content"], str), "content is no string")


def counts_tokens(target: Target) -> None:
    """usage adds up"""
    usage = target.chat()["usage"]
    expect(usage["prompt_tokens"] > 0, "no prompt tokens")
    expect(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"{usage}")


def stops_at_max_tokens(target: Target) -> None:
    """max_tokens 1 is one token, finish_reason length"""
    found = target.chat(max_tokens=1)
    expect(found["usage"]["completion_tokens"] == 1, f"{found['usage']['completion_tokens']} tokens")
    expect(found["choices"][0]["finish_reason"] in ("length", "stop"), f"{found['choices'][0]['finish_reason']!r}")


def takes_the_new_name(target: Target) -> None:
    """max_completion_tokens is heeded"""
    found = target.chat(max_tokens=None, max_completion_tokens=2)
    expect(found["usage"]["completion_tokens"] <= 2, f"{found['usage']['completion_tokens']} tokens")


def greedy_repeats(target: Target) -> None:
    """temperature 0 twice is the same text"""
    expect(_text(target.chat()) == _text(target.chat()), "two texts differ")


def seed_repeats(target: Target) -> None:
    """the same seed at temperature 1 is the same text"""
    first, second = (target.chat(temperature=1, seed=11) for _ in range(2))
    expect(_text(first) == _text(second), "two texts differ")


def several_choices(target: Target) -> None:
    """n = 2 is two choices with indices 0 and 1 (garak counts them)"""
    found = target.chat(n=2, temperature=1)
    expect([choice["index"] for choice in found["choices"]] == [0, 1], f"{len(found['choices'])} choices")


def stop_is_left_out(target: Target) -> None:
    """a stop string ends the answer and is not in it"""
    whole = _text(target.chat(max_tokens=16))
    stop = whole.strip()[2:4] or whole[:1]
    found = target.chat(max_tokens=16, stop=stop)["choices"][0]
    expect(found["message"]["content"] == whole[: whole.find(stop)], "the text is not what stands before the stop")
    expect(found["finish_reason"] == "stop", f"finish_reason is {found['finish_reason']!r}")


def many_stops(target: Target) -> None:
    """more than four stop strings are taken"""
    target.chat(stop=["\u0001", "\u0002", "\u0003", "\u0004", "\u0005"])


def tells_logprobs(target: Target) -> None:
    """logprobs: one entry a token with token, logprob, bytes"""
    found = target.chat(logprobs=True)
    content = found["choices"][0]["logprobs"]["content"]
    expect(0 < len(content) <= found["usage"]["completion_tokens"], f"{len(content)} entries")
    for entry in content:
        expect(isinstance(entry["token"], str) and entry["logprob"] <= 0, "a token or logprob is wrong")
        expect(entry["bytes"] is None or all(0 <= b < 256 for b in entry["bytes"]), "bytes are no bytes")


def tells_alternatives(target: Target) -> None:
    """top_logprobs 3: three a token, best first, the greedy token among them"""
    for entry in target.chat(logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]:
        values = [other["logprob"] for other in entry["top_logprobs"]]
        expect(len(values) == 3 and values == sorted(values, reverse=True), f"{len(values)}, or not in order")
        expect(abs(values[0] - entry["logprob"]) < 1e-3, "the greedy token is not the likeliest")


def no_logprobs_unasked(target: Target) -> None:
    """logprobs is null when not asked for"""
    expect(target.chat()["choices"][0].get("logprobs") is None, "there are some")


def takes_parts(target: Target) -> None:
    """content as a list of text parts is the same as a string"""
    parts = [{"role": "user", "content": [{"type": "text", "text": MESSAGES[0]["content"]}]}]
    expect(_text(target.chat(messages=parts)) == _text(target.chat()), "another text")


def takes_roles(target: Target) -> None:
    """system, developer, and earlier turns are taken"""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    for role in ("system", "developer"):
        target.chat(messages=[{"role": role, "content": "Be brief."}, *turns])


def ignores_extras(target: Target) -> None:
    """an unknown field does not fail a request"""
    target.chat(some_field_of_tomorrow=1)


def takes_nulls(target: Target) -> None:
    """null means the default (LangChain, Open WebUI)"""
    names = ("top_p", "n", "stop", "seed", "user", "tools", "tool_choice", "logprobs", "logit_bias", "response_format")
    target.chat(**dict.fromkeys((*names, "presence_penalty", "frequency_penalty", "stream_options")))


def takes_penalties(target: Target) -> None:
    """penalties, logit_bias {} and top_p are taken"""
    target.chat(presence_penalty=0.5, frequency_penalty=-0.5, logit_bias={}, top_p=0.9)


def takes_garak(target: Target) -> None:
    """garak's request as it is"""
    shape = {"temperature": 0.7, "top_p": 1.0, "n": 1, "stop": ["#", ";"]}
    target.chat(**shape, frequency_penalty=0.0, presence_penalty=0.0, seed=9)


def takes_any_language(target: Target) -> None:
    """Japanese, emoji and combining characters come through"""
    message = [{"role": "user", "content": "日本語で「海」について。👩‍👩‍👧 é ﷽ \u0000 \ufffd"}]
    expect(isinstance(_text(target.chat(messages=message)), str), "no text")


def names_the_model(target: Target) -> None:
    """the answer names the model that was asked"""
    expect(target.chat()["model"] == target.model, "another name")


def neighbours_change_nothing(target: Target) -> None:
    """four at once: each the same greedy text as alone"""
    alone = _text(target.chat())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: _text(target.chat()), range(4)))
    expect(all(text == alone for text in found), "a text differs")


def tells_what_was_cached(target: Target) -> None:
    """usage.prompt_tokens_details.cached_tokens is a number"""
    expect(isinstance(target.chat()["usage"]["prompt_tokens_details"]["cached_tokens"], int), "no number")


def _text(found: dict[str, Any]) -> str:
    return str(found["choices"][0]["message"]["content"])


GROUP = "chat"
MUST: tuple[Check, ...] = (
    has_the_shape,
    has_a_message,
    counts_tokens,
    stops_at_max_tokens,
    takes_the_new_name,
    greedy_repeats,
    seed_repeats,
    several_choices,
    stop_is_left_out,
    many_stops,
    tells_logprobs,
    tells_alternatives,
    no_logprobs_unasked,
    takes_parts,
    takes_roles,
    ignores_extras,
    takes_nulls,
    takes_penalties,
    takes_garak,
    takes_any_language,
    names_the_model,
)
MAY: tuple[Check, ...] = (neighbours_change_nothing, tells_what_was_cached)
