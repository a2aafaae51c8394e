"""From the server's record to the engine's request, and which code and field an error gets: never from its words."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.engine.request import CONTEXT_EXCEEDED, Event, ReasoningLimit
from kaiwa.serve.openai.call_forms import PLAIN, AnswerMarkup
from kaiwa.serve.worker.requests import (
    _answer_markup,
    _reasoning_limit,
    failed_answer,
    make_request,
    prompt_ids,
    refusal,
)
from kaiwa.serve.worker.wire import ChatPrompt, Detokenize, Generate, ModelAddress, TextPrompt, TokenPrompt
from kaiwa.text.sampling import Sampling

MODEL = ModelAddress(name="toy", path=Path("toy"))
CHAT = Generate(id="1", model=MODEL, prompt=ChatPrompt(({"role": "user", "content": "a"},)), grammar_field="tools")
TEXT = Generate(id="1", model=MODEL, prompt=TextPrompt("a"), grammar_field="response_format")


def loaded(context: int = 10) -> Any:
    return SimpleNamespace(context=context, adapter=None, stop_ids=(2,), entry=SimpleNamespace(name="toy"))


@pytest.mark.parametrize(
    ("request_", "error", "param"),
    [
        (CHAT, UserError("the chat template refuses these messages (stop here)"), "messages"),
        (CHAT, UserError("no adapter 'top_p-tuned' is loaded"), "messages"),
        (TEXT, UserError("the temperature of the grammar is top_k"), "prompt"),
        (CHAT, UserError("no token 9", field="logit_bias"), "logit_bias"),
        (CHAT, UserError("cannot be read", field="grammar"), "tools"),
        (TEXT, UserError("cannot be read", field="grammar"), "response_format"),
        (CHAT, UserError("a token id is outside", field="prompt"), "messages"),
        (Detokenize(model=MODEL, tokens=(999,)), UserError("token id 999 at 0 is outside 0 to 9"), "tokens"),
    ],
)
def test_the_field_of_a_refusal(request_: Any, error: UserError, param: str) -> None:
    failed = refusal(request_, error)
    assert (failed.status, failed.code, failed.param, failed.message) == (400, "invalid_value", param, str(error))


def test_the_code_of_a_refusal_is_the_errors_own() -> None:
    assert refusal(TEXT, UserError("the context holds 5")).code == "invalid_value", "words are only words"
    error = UserError("too long", field="prompt", code=CONTEXT_EXCEEDED)
    assert (refusal(CHAT, error).code, refusal(CHAT, error).param) == (CONTEXT_EXCEEDED, "messages")
    assert refusal(TEXT, error).param == "prompt"


def test_an_answer_that_breaks_off_blames_the_grammar_only_if_it_is_to_blame() -> None:
    event = Event(id="1", finish_reason="error", error="no token is allowed", error_field="grammar")
    assert (failed_answer(CHAT, event).status, failed_answer(CHAT, event).param) == (400, "tools")
    event = Event(id="1", finish_reason="error", error="the logits are no numbers; a grammar cannot help")
    assert (failed_answer(CHAT, event).status, failed_answer(CHAT, event).code) == (500, "engine_failed")


@pytest.mark.parametrize(
    ("fit", "max_tokens", "n_prompt", "expected"),
    [
        ("exact", 7, 3, 7),
        ("exact", 8, 3, None),
        ("exact", 8, 10, 8),  # no room at all: the engine refuses it in its own words
        ("shorten", 8, 3, 7),
        ("shorten", 2, 3, 2),
        ("shorten", 8, 10, 1),
        ("fill", 1, 3, 7),
        ("fill", 1, 12, 1),
    ],
)
def test_max_tokens_and_the_room(fit: Any, max_tokens: int, n_prompt: int, expected: int | None) -> None:
    prompt = TokenPrompt(tuple(range(n_prompt)))
    sampling = Sampling(max_tokens=max_tokens, seed=5, stop=("x",))
    generate = Generate(id="1", model=MODEL, prompt=prompt, sampling=sampling, fit=fit)
    if expected is None:
        with pytest.raises(
            UserError, match="context length is 10 tokens, the prompt has 3 and max_tokens is 8"
        ) as caught:
            make_request(loaded(), generate)
        assert caught.value.code == CONTEXT_EXCEEDED
        return
    request, _ = make_request(loaded(), generate)
    assert request.sampling == Sampling(max_tokens=expected, seed=5, stop=("x",))
    assert (request.id, request.prompt_ids, request.stop_ids) == ("1", prompt.ids, (2,))


def test_log_probabilities_of_the_prompt_need_both_wishes() -> None:
    for detailed, echo in ((True, True), (True, False), (False, True)):
        generate = Generate(id="1", model=MODEL, prompt=TokenPrompt((1,)), detailed=detailed, echo=echo, fit="fill")
        assert make_request(loaded(), generate)[0].prompt_logprobs == (detailed and echo)


def test_special_tokens_of_calls_and_reasoning_have_a_text() -> None:
    """Mistral's [TOOL_CALLS] and a reasoning model's <think> are tokens that an answer otherwise does not show."""
    specials = {"[TOOL_CALLS]": 7, "[ARGS]": 8, "[THINK]": 9, "[/THINK]": 10, "</s>": 2}
    texts = {id: name for name, id in specials.items()}
    tokenizer: Any = SimpleNamespace(
        specials=specials,
        chat_template="{{ tools }}[TOOL_CALLS]{{ x }}[/THINK]",
        token_text=lambda id: texts.get(id, "a"),
    )
    model: Any = SimpleNamespace(tokenizer=tokenizer)
    tool = {"type": "function", "function": {"name": "f"}}
    talk = ({"role": "user", "content": "x"},)
    markup, shown = _answer_markup(model, ChatPrompt(talk, (tool,)), [1, 9])  # type: ignore[arg-type]
    assert markup == AnswerMarkup("mistral", ("[THINK]", "[/THINK]"), thinking=True)
    assert dict(shown) == {7: "[TOOL_CALLS]", 8: "[ARGS]", 9: "[THINK]", 10: "[/THINK]"}
    markup, shown = _answer_markup(model, ChatPrompt(talk), [9, 1])  # type: ignore[arg-type]
    assert not markup.thinking
    assert dict(shown) == {9: "[THINK]", 10: "[/THINK]"}
    assert _answer_markup(model, TokenPrompt((1,)), [1]) == (PLAIN, ())


class Words:
    """A tokenizer of letters, with tokens for filling in the middle."""

    specials = {"<fim_prefix>": 1, "<fim_suffix>": 2, "<fim_middle>": 3, "<end>": 4}  # noqa: RUF012
    controls: dict[str, int] = {}  # noqa: RUF012
    strips: dict[str, tuple[bool, bool]] = {}  # noqa: RUF012
    bos_token = eos_token = ""
    document_end_id = 4

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    encode_plain = encode_batch


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        (TextPrompt("a<end>"), [0, *map(ord, "a<end>")]),
        (TextPrompt("a<end>b", special=True), [0, 97, 4, 98]),
        (TextPrompt("a", prefix=False), [97]),
        (TextPrompt("", prefix=False), [4]),
        (TextPrompt("a", suffix="z"), [0, 1, 97, 2, 122, 3]),
        (TextPrompt("a", suffix="<end>", prefix=False), [1, 97, 2, *map(ord, "<end>"), 3]),
    ],
)
def test_the_tokens_of_a_text(prompt: TextPrompt, ids: list[int]) -> None:
    """Names of special tokens are text unless the request wants tokens."""
    model: Any = SimpleNamespace(tokenizer=Words(), prefix=(0,))
    assert prompt_ids(model, prompt) == ids


def test_a_model_that_cannot_fill_in_the_middle_says_so() -> None:
    words = Words()
    words.specials = {"<end>": 4}  # type: ignore[misc]
    model: Any = SimpleNamespace(tokenizer=words, prefix=())
    with pytest.raises(UserError, match="filling in the middle") as refused:
        prompt_ids(model, TextPrompt("a", suffix="b"))
    assert refused.value.field == "suffix"


@pytest.mark.parametrize("budget", [None, 7])
def test_the_limit_on_reasoning(budget: int | None) -> None:
    words = Words()
    words.specials = {"<think>": 8, "</think>": 9}  # type: ignore[misc]
    model: Any = SimpleNamespace(tokenizer=words)
    generate = Generate(model=MODEL, prompt=TextPrompt(""), thinking_budget=budget)
    limit = _reasoning_limit(model, generate, AnswerMarkup(reasoning=("<think>", "</think>"), thinking=True))
    assert limit == (None if budget is None else ReasoningLimit(7, (8,), (9,), is_open=True))
    assert _reasoning_limit(model, generate, PLAIN) is None


def test_a_tag_that_begins_with_a_special_token_has_its_text() -> None:
    """Gemma's thought is opened by the token <|channel> and the word after it."""
    specials = {"<|channel>": 7, "<channel|>": 8, "<eos>": 1}
    tokenizer: Any = SimpleNamespace(
        specials=specials, chat_template="{{ messages }}<|channel>thought <channel|>", token_text=lambda id: "a"
    )
    model: Any = SimpleNamespace(tokenizer=tokenizer)
    markup, shown = _answer_markup(model, ChatPrompt(({"role": "user", "content": "x"},)), [1])
    assert markup.reasoning == ("<|channel>thought", "<channel|>")
    assert dict(shown) == {7: "<|channel>", 8: "<channel|>"}
