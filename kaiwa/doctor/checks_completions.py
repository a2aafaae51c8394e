"""/v1/completions, above all the scoring of multiple-choice tasks: log-probabilities of a prompt (echo)."""

from __future__ import annotations

from typing import Any

from kaiwa.doctor.server import PROMPT, Absent, ServerCheck, ServerUnderTest, expect, expect_error

PATH = "/v1/completions"


def check_shape(server: ServerUnderTest) -> None:
    answer = server.complete()
    expect(answer["object"] == "text_completion", f"object is {answer['object']!r}")
    expect(isinstance(answer["choices"][0]["text"], str), "no text")
    expect(answer["choices"][0]["finish_reason"] in ("stop", "length"), "no finish_reason")


def check_accepts_texts(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[PROMPT, "Two and two"])
    expect([choice["index"] for choice in answer["choices"]] == [0, 1], f"{len(answer['choices'])} choices")
    expect(answer["choices"][0]["text"] == server.complete()["choices"][0]["text"], "the first is another text")


def check_accepts_ids(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[5, 6, 7, 8])
    expect(answer["usage"]["prompt_tokens"] in (4, 5), f"{answer['usage']['prompt_tokens']} prompt tokens")


def check_accepts_lists_of_ids(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[[5, 6, 7], [8, 9]])
    expect(len(answer["choices"]) == 2, f"{len(answer['choices'])} choices")


def check_echoes(server: ServerUnderTest) -> None:
    expect(server.complete(echo=True)["choices"][0]["text"].startswith(PROMPT), "it does not")


def check_reports_logprobs(server: ServerUnderTest) -> None:
    answer = server.complete(logprobs=2)["choices"][0]["logprobs"]
    lengths = {len(answer[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    expect(len(lengths) == 1 and lengths != {0}, f"lengths {lengths}")


def check_reports_the_prompts(server: ServerUnderTest) -> None:
    answer = _echo(server, [5, 6, 7, 8])
    expect(len(answer["token_logprobs"]) >= 5, f"{len(answer['token_logprobs'])} values for 4 + 1 tokens")
    expect(answer["token_logprobs"][0] is None, "the first is not null")
    values = answer["token_logprobs"][1:]
    expect(all(isinstance(v, float) and v < 0 for v in values), f"{values[:4]}")


def check_lm_eval_reads_it(server: ServerUnderTest) -> None:
    answer = _echo(server, [5, 6, 7, 8])
    sliced = answer["token_logprobs"][2:-1]
    tops = [max(top.values()) for top in answer["top_logprobs"][2:-1]]
    expect(len(sliced) == len(tops) == 2, f"{len(sliced)} values")
    expect(all(top >= value - 1e-4 for top, value in zip(tops, sliced, strict=True)), "top_logprobs lack the best")


def check_scores_what_it_writes(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[5, 6, 7, 8], logprobs=1, max_tokens=4)
    sums = sum(answer["choices"][0]["logprobs"]["token_logprobs"])
    again = _echo(server, [5, 6, 7, 8], max_tokens=4)["token_logprobs"][4:8]
    expect(abs(sum(again) - sums) < 0.02, f"{sum(again):.4f} and {sums:.4f}")


def check_only_looks_back(server: ServerUnderTest) -> None:
    short, long = (_echo(server, ids)["token_logprobs"] for ids in ([5, 6, 7, 8], [5, 6, 7, 8, 9, 10]))
    expect(all(abs(a - b) < 0.02 for a, b in zip(short[1:4], long[1:4], strict=True)), f"{short[1:4]}, {long[1:4]}")


def check_scores_without_writing(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[5, 6, 7, 8], echo=True, logprobs=1, max_tokens=0)
    expect(len(answer["choices"][0]["logprobs"]["token_logprobs"]) in (4, 5), "another length")


def check_offsets_point(server: ServerUnderTest) -> None:
    choice = server.complete(echo=True, logprobs=1)["choices"][0]
    for token, offset in zip(choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True):
        if token.isascii() and not token.startswith("<"):
            expect(choice["text"][offset : offset + len(token)] == token, f"{token!r} at {offset}")


def check_several_choices(server: ServerUnderTest) -> None:
    answer = server.complete(prompt=[PROMPT, "Two"], n=2, temperature=1)
    expect([choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3], f"{len(answer['choices'])} choices")


def check_best_of(server: ServerUnderTest) -> None:
    response = server.post(PATH, {"model": server.model, "prompt": PROMPT, "best_of": 3, "max_tokens": 3})
    if response.status_code != 200:
        raise Absent(f"status {response.status_code}")
    expect(len(response.json()["choices"]) == 1, "more than one choice")


def check_streams(server: ServerUnderTest) -> None:
    stream = server.stream(PATH, {"prompt": PROMPT, "max_tokens": 8, "temperature": 0})
    expect(stream.data[-1] == "[DONE]", "no [DONE]")
    expect(stream.text() == server.complete()["choices"][0]["text"], "another text")


def check_writes_sixteen(server: ServerUnderTest) -> None:
    answer = server.complete(max_tokens=None)
    expect(answer["usage"]["completion_tokens"] <= 16, f"{answer['usage']['completion_tokens']} tokens")


def check_heeds_stop(server: ServerUnderTest) -> None:
    whole = server.complete(max_tokens=16)["choices"][0]["text"]
    stop = whole.strip()[2:4] or whole[:1]
    expect(server.complete(max_tokens=16, stop=stop)["choices"][0]["text"] == whole[: whole.find(stop)], "it is not")


def check_refuses_strange_ids(server: ServerUnderTest) -> None:
    body = {"model": server.model, "prompt": [5, 2**40], "max_tokens": 1}
    expect_error(server.post(PATH, body), 400, 422)


def _echo(server: ServerUnderTest, ids: list[int], max_tokens: int = 1) -> dict[str, Any]:
    body = {"prompt": ids, "echo": True, "logprobs": 1, "max_tokens": max_tokens, "seed": 1}
    answer = server.complete(**body)["choices"][0]["logprobs"]
    expect(isinstance(answer, dict), "no logprobs")
    return dict(answer)


GROUP = "completions"
CHECKS = (
    ServerCheck("max_tokens 0 with echo: the prompt alone", check_scores_without_writing, must=False),
    ServerCheck("text_offset points at each token in the text", check_offsets_point, must=False),
    ServerCheck("best_of 3 is one choice, and its tokens are all counted", check_best_of, must=False),
    ServerCheck("a text prompt: text_completion with text and finish_reason", check_shape),
    ServerCheck("a list of texts: one choice each, in order", check_accepts_texts),
    ServerCheck("a list of token ids (lm-eval sends these)", check_accepts_ids),
    ServerCheck("lists of token ids: one choice each", check_accepts_lists_of_ids),
    ServerCheck("echo: the text begins with the prompt", check_echoes),
    ServerCheck("logprobs 2: tokens, token_logprobs, top_logprobs, text_offset of one length", check_reports_logprobs),
    ServerCheck("echo and logprobs: the prompt's too, the first null, the others negative", check_reports_the_prompts),
    ServerCheck("lm-eval's slice [len(context):-1] is the continuation's", check_lm_eval_reads_it),
    ServerCheck("a greedy text scores by echo what it was written with", check_scores_what_it_writes),
    ServerCheck("the prompt's values do not depend on what follows", check_only_looks_back),
    ServerCheck("2 prompts, n = 2: four choices in order", check_several_choices),
    ServerCheck("streamed: ends with [DONE], the same text", check_streams),
    ServerCheck("without max_tokens: 16 at most", check_writes_sixteen),
    ServerCheck("a stop string is left out", check_heeds_stop),
    ServerCheck("a token id beyond the vocabulary is 400", check_refuses_strange_ids),
)
