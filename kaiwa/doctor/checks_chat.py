"""/v1/chat/completions, whole answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kaiwa.doctor.server import MESSAGES, Absent, ServerCheck, ServerUnderTest, expect


def check_shape(server: ServerUnderTest) -> None:
    answer = server.chat()
    expect(answer["object"] == "chat.completion", f"object is {answer['object']!r}")
    expect(isinstance(answer["id"], str) and isinstance(answer["created"], int), "id or created is of the wrong type")
    expect(isinstance(answer["model"], str) and len(answer["choices"]) == 1, "no model, or not one choice")


def check_message(server: ServerUnderTest) -> None:
    message = server.chat()["choices"][0]["message"]
    expect(message["role"] == "assistant", f"role is {message['role']!r}")
    expect(isinstance(message["content"], str), "content is no string")


def check_usage(server: ServerUnderTest) -> None:
    usage = server.chat()["usage"]
    expect(usage["prompt_tokens"] > 0, "no prompt tokens")
    expect(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"{usage}")


def check_stops_at_max_tokens(server: ServerUnderTest) -> None:
    answer = server.chat(max_tokens=1)
    expect(answer["usage"]["completion_tokens"] == 1, f"{answer['usage']['completion_tokens']} tokens")
    expect(answer["choices"][0]["finish_reason"] in ("length", "stop"), f"{answer['choices'][0]['finish_reason']!r}")


def check_accepts_the_new_name(server: ServerUnderTest) -> None:
    answer = server.chat(max_tokens=None, max_completion_tokens=2)
    expect(answer["usage"]["completion_tokens"] <= 2, f"{answer['usage']['completion_tokens']} tokens")


def check_greedy_repeats(server: ServerUnderTest) -> None:
    expect(_text(server.chat()) == _text(server.chat()), "two texts differ")


def check_seed_repeats(server: ServerUnderTest) -> None:
    first, second = (server.chat(temperature=1, seed=11) for _ in range(2))
    expect(_text(first) == _text(second), "two texts differ")


def check_several_choices(server: ServerUnderTest) -> None:
    answer = server.chat(n=2, temperature=1)
    expect([choice["index"] for choice in answer["choices"]] == [0, 1], f"{len(answer['choices'])} choices")


def check_stop_is_left_out(server: ServerUnderTest) -> None:
    whole = _text(server.chat(max_tokens=16))
    stop = whole.strip()[2:4] or whole[:1]
    answer = server.chat(max_tokens=16, stop=stop)["choices"][0]
    expect(answer["message"]["content"] == whole[: whole.find(stop)], "the text is not what stands before the stop")
    expect(answer["finish_reason"] == "stop", f"finish_reason is {answer['finish_reason']!r}")


def check_many_stops(server: ServerUnderTest) -> None:
    server.chat(stop=["\u0001", "\u0002", "\u0003", "\u0004", "\u0005"])


def check_reports_logprobs(server: ServerUnderTest) -> None:
    answer = server.chat(logprobs=True)
    content = answer["choices"][0]["logprobs"]["content"]
    expect(0 < len(content) <= answer["usage"]["completion_tokens"], f"{len(content)} entries")
    for entry in content:
        expect(isinstance(entry["token"], str) and entry["logprob"] <= 0, "a token or logprob is wrong")
        expect(entry["bytes"] is None or all(0 <= b < 256 for b in entry["bytes"]), "bytes are no bytes")


def check_reports_alternatives(server: ServerUnderTest) -> None:
    for entry in server.chat(logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]:
        values = [other["logprob"] for other in entry["top_logprobs"]]
        expect(len(values) == 3 and values == sorted(values, reverse=True), f"{len(values)}, or not in order")
        expect(abs(values[0] - entry["logprob"]) < 1e-3, "the greedy token is not the likeliest")


def check_no_logprobs_unasked(server: ServerUnderTest) -> None:
    expect(server.chat()["choices"][0].get("logprobs") is None, "there are some")


def check_accepts_parts(server: ServerUnderTest) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": MESSAGES[0]["content"]}]}]
    expect(_text(server.chat(messages=parts)) == _text(server.chat()), "another text")


def check_accepts_roles(server: ServerUnderTest) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    for role in ("system", "developer"):
        server.chat(messages=[{"role": role, "content": "Be brief."}, *turns])


def check_ignores_extras(server: ServerUnderTest) -> None:
    server.chat(some_field_of_tomorrow=1)


def check_accepts_nulls(server: ServerUnderTest) -> None:
    names = ("top_p", "n", "stop", "seed", "user", "tools", "tool_choice", "logprobs", "logit_bias", "response_format")
    server.chat(**dict.fromkeys((*names, "presence_penalty", "frequency_penalty", "stream_options")))


def check_accepts_penalties(server: ServerUnderTest) -> None:
    server.chat(presence_penalty=0.5, frequency_penalty=-0.5, logit_bias={}, top_p=0.9)


def check_accepts_garak(server: ServerUnderTest) -> None:
    shape = {"temperature": 0.7, "top_p": 1.0, "n": 1, "stop": ["#", ";"]}
    server.chat(**shape, frequency_penalty=0.0, presence_penalty=0.0, seed=9)


def check_accepts_any_language(server: ServerUnderTest) -> None:
    message = [{"role": "user", "content": "日本語で「海」について。👩‍👩‍👧 é ﷽ \u0000 \ufffd"}]
    expect(isinstance(_text(server.chat(messages=message)), str), "no text")


def check_names_the_model(server: ServerUnderTest) -> None:
    expect(server.chat()["model"] == server.model, "another name")


def check_neighbours_change_nothing(server: ServerUnderTest) -> None:
    alone = _text(server.chat())
    with ThreadPoolExecutor(4) as pool:
        answer = list(pool.map(lambda _: _text(server.chat()), range(4)))
    expect(all(text == alone for text in answer), "a text differs")


def check_reports_what_was_cached(server: ServerUnderTest) -> None:
    expect(isinstance(server.chat()["usage"]["prompt_tokens_details"]["cached_tokens"], int), "no number")


def _text(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def check_fingerprint(server: ServerUnderTest) -> None:
    first, second = server.chat(), server.chat()
    if "system_fingerprint" not in first:
        raise Absent("no system_fingerprint")
    expect(first["system_fingerprint"] == second["system_fingerprint"], "the same request, another fingerprint")


def check_prefill(server: ServerUnderTest) -> None:
    talk = [{"role": "user", "content": "Name a day."}, {"role": "assistant", "content": "It is Tues"}]
    answer = server.chat(messages=talk, continue_final_message=True, add_generation_prompt=False)
    expect(isinstance(_text(answer), str), "no text")
    fresh = server.chat(messages=talk)
    expect(answer["usage"]["prompt_tokens"] < fresh["usage"]["prompt_tokens"], "the message was not left open")


def check_template_variables(server: ServerUnderTest) -> None:
    server.chat(chat_template_kwargs={"enable_thinking": False}, reasoning_effort="low")


def check_streams_like_whole_answers(server: ServerUnderTest) -> None:
    whole, streamed = server.chat(seed=7, temperature=1), server.chat_stream(seed=7, temperature=1)
    expect(streamed.text() == _text(whole), "the streamed text differs")


GROUP = "chat"
CHECKS = (
    ServerCheck("four at once: each the same greedy text as alone", check_neighbours_change_nothing, must=False),
    ServerCheck("system_fingerprint is the same for the same request", check_fingerprint, must=False),
    ServerCheck("continue_final_message goes on with the last message", check_prefill, must=False),
    ServerCheck("chat_template_kwargs and reasoning_effort are taken", check_template_variables, must=False),
    ServerCheck("a seeded stream is the same text as the whole answer", check_streams_like_whole_answers, must=False),
    ServerCheck("usage.prompt_tokens_details.cached_tokens is a number", check_reports_what_was_cached, must=False),
    ServerCheck("id, object, created, model, choices, usage", check_shape),
    ServerCheck("message has role assistant and text", check_message),
    ServerCheck("usage adds up", check_usage),
    ServerCheck("max_tokens 1 is one token, finish_reason length", check_stops_at_max_tokens),
    ServerCheck("max_completion_tokens is heeded", check_accepts_the_new_name),
    ServerCheck("temperature 0 twice is the same text", check_greedy_repeats),
    ServerCheck("the same seed at temperature 1 is the same text", check_seed_repeats),
    ServerCheck("n = 2 is two choices with indices 0 and 1 (garak counts them)", check_several_choices),
    ServerCheck("a stop string ends the answer and is not in it", check_stop_is_left_out),
    ServerCheck("more than four stop strings are taken", check_many_stops),
    ServerCheck("logprobs: one entry a token with token, logprob, bytes", check_reports_logprobs),
    ServerCheck("top_logprobs 3: three a token, best first, the greedy token among them", check_reports_alternatives),
    ServerCheck("logprobs is null when not asked for", check_no_logprobs_unasked),
    ServerCheck("content as a list of text parts is the same as a string", check_accepts_parts),
    ServerCheck("system, developer, and earlier turns are taken", check_accepts_roles),
    ServerCheck("an unknown field does not fail a request", check_ignores_extras),
    ServerCheck("null means the default (LangChain, Open WebUI)", check_accepts_nulls),
    ServerCheck("penalties, logit_bias {} and top_p are taken", check_accepts_penalties),
    ServerCheck("garak's request as it is", check_accepts_garak),
    ServerCheck("Japanese, emoji and combining characters come through", check_accepts_any_language),
    ServerCheck("the answer names the model that was asked", check_names_the_model),
)
