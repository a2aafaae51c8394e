"""/v1/completions, above all what scores multiple-choice tasks: log-probabilities of a prompt (echo)."""

from __future__ import annotations

from typing import Any

from kaiwa.doctor.target import PROMPT, Absent, Check, Target, expect, refusal

PATH = "/v1/completions"


def has_the_shape(target: Target) -> None:
    """a text prompt: text_completion with text and finish_reason"""
    found = target.complete()
    expect(found["object"] == "text_completion", f"object is {found['object']!r}")
    expect(isinstance(found["choices"][0]["text"], str), "no text")
    expect(found["choices"][0]["finish_reason"] in ("stop", "length"), "no finish_reason")


def takes_texts(target: Target) -> None:
    """a list of texts: one choice each, in order"""
    found = target.complete(prompt=[PROMPT, "Two and two"])
    expect([choice["index"] for choice in found["choices"]] == [0, 1], f"{len(found['choices'])} choices")
    expect(found["choices"][0]["text"] == target.complete()["choices"][0]["text"], "the first is another text")


def takes_ids(target: Target) -> None:
    """a list of token ids (lm-eval sends these)"""
    found = target.complete(prompt=[5, 6, 7, 8])
    expect(found["usage"]["prompt_tokens"] in (4, 5), f"{found['usage']['prompt_tokens']} prompt tokens")


def takes_lists_of_ids(target: Target) -> None:
    """lists of token ids: one choice each"""
    found = target.complete(prompt=[[5, 6, 7], [8, 9]])
    expect(len(found["choices"]) == 2, f"{len(found['choices'])} choices")


def echoes(target: Target) -> None:
    """echo: the text begins with the prompt"""
    expect(target.complete(echo=True)["choices"][0]["text"].startswith(PROMPT), "it does not")


def tells_logprobs(target: Target) -> None:
    """logprobs 2: tokens, token_logprobs, top_logprobs, text_offset of one length"""
    found = target.complete(logprobs=2)["choices"][0]["logprobs"]
    lengths = {len(found[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    expect(len(lengths) == 1 and lengths != {0}, f"lengths {lengths}")


def tells_the_prompts(target: Target) -> None:
    """echo and logprobs: the prompt's too, the first null, the others negative"""
    found = _echo(target, [5, 6, 7, 8])
    expect(len(found["token_logprobs"]) >= 5, f"{len(found['token_logprobs'])} values for 4 + 1 tokens")
    expect(found["token_logprobs"][0] is None, "the first is not null")
    values = found["token_logprobs"][1:]
    expect(all(isinstance(v, float) and v < 0 for v in values), f"{values[:4]}")


def lm_eval_reads_it(target: Target) -> None:
    """lm-eval's slice [len(context):-1] is the continuation's"""
    found = _echo(target, [5, 6, 7, 8])
    sliced = found["token_logprobs"][2:-1]
    tops = [max(top.values()) for top in found["top_logprobs"][2:-1]]
    expect(len(sliced) == len(tops) == 2, f"{len(sliced)} values")
    expect(all(top >= value - 1e-4 for top, value in zip(tops, sliced, strict=True)), "top_logprobs lack the best")


def scores_what_it_writes(target: Target) -> None:
    """a greedy text scores by echo what it was written with"""
    written = target.complete(prompt=[5, 6, 7, 8], logprobs=1, max_tokens=4)
    sums = sum(written["choices"][0]["logprobs"]["token_logprobs"])
    again = _echo(target, [5, 6, 7, 8], max_tokens=4)["token_logprobs"][4:8]
    expect(abs(sum(again) - sums) < 0.02, f"{sum(again):.4f} and {sums:.4f}")


def only_looks_back(target: Target) -> None:
    """the prompt's values do not depend on what follows"""
    short, long = (_echo(target, ids)["token_logprobs"] for ids in ([5, 6, 7, 8], [5, 6, 7, 8, 9, 10]))
    expect(all(abs(a - b) < 0.02 for a, b in zip(short[1:4], long[1:4], strict=True)), f"{short[1:4]}, {long[1:4]}")


def scores_without_writing(target: Target) -> None:
    """max_tokens 0 with echo: the prompt alone"""
    found = target.complete(prompt=[5, 6, 7, 8], echo=True, logprobs=1, max_tokens=0)
    expect(len(found["choices"][0]["logprobs"]["token_logprobs"]) in (4, 5), "another length")


def offsets_point(target: Target) -> None:
    """text_offset points at each token in the text"""
    choice = target.complete(echo=True, logprobs=1)["choices"][0]
    for token, offset in zip(choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True):
        if token.isascii() and not token.startswith("<"):
            expect(choice["text"][offset : offset + len(token)] == token, f"{token!r} at {offset}")


def several_choices(target: Target) -> None:
    """2 prompts, n = 2: four choices in order"""
    found = target.complete(prompt=[PROMPT, "Two"], n=2, temperature=1)
    expect([choice["index"] for choice in found["choices"]] == [0, 1, 2, 3], f"{len(found['choices'])} choices")


def best_of(target: Target) -> None:
    """best_of 3 is one choice, and its tokens are all counted"""
    response = target.post(PATH, {"model": target.model, "prompt": PROMPT, "best_of": 3, "max_tokens": 3})
    if response.status_code != 200:
        raise Absent(f"status {response.status_code}")
    expect(len(response.json()["choices"]) == 1, "more than one choice")


def streams(target: Target) -> None:
    """streamed: ends with [DONE], the same text"""
    told = target.stream(PATH, {"prompt": PROMPT, "max_tokens": 8, "temperature": 0})
    expect(told.data[-1] == "[DONE]", "no [DONE]")
    expect(told.text() == target.complete()["choices"][0]["text"], "another text")


def writes_sixteen(target: Target) -> None:
    """without max_tokens: 16 at most"""
    found = target.complete(max_tokens=None)
    expect(found["usage"]["completion_tokens"] <= 16, f"{found['usage']['completion_tokens']} tokens")


def heeds_stop(target: Target) -> None:
    """a stop string is left out"""
    whole = target.complete(max_tokens=16)["choices"][0]["text"]
    stop = whole.strip()[2:4] or whole[:1]
    expect(target.complete(max_tokens=16, stop=stop)["choices"][0]["text"] == whole[: whole.find(stop)], "it is not")


def refuses_strange_ids(target: Target) -> None:
    """a token id beyond the vocabulary is 400"""
    body = {"model": target.model, "prompt": [5, 2**40], "max_tokens": 1}
    refusal(target.post(PATH, body), 400, 422)


def _echo(target: Target, ids: list[int], max_tokens: int = 1) -> dict[str, Any]:
    body = {"prompt": ids, "echo": True, "logprobs": 1, "max_tokens": max_tokens, "seed": 1}
    found = target.complete(**body)["choices"][0]["logprobs"]
    expect(isinstance(found, dict), "no logprobs")
    return dict(found)


GROUP = "completions"
MUST: tuple[Check, ...] = (
    has_the_shape,
    takes_texts,
    takes_ids,
    takes_lists_of_ids,
    echoes,
    tells_logprobs,
    tells_the_prompts,
    lm_eval_reads_it,
    scores_what_it_writes,
    only_looks_back,
    several_choices,
    streams,
    writes_sixteen,
    heeds_stop,
    refuses_strange_ids,
)
MAY: tuple[Check, ...] = (scores_without_writing, offsets_point, best_of)
