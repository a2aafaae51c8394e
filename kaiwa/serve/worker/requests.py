"""In the engine process: from the server's record to token ids and the engine's request, and from errors to Failed.

Tools go through the model's own chat template if the template supports tools, and otherwise as text (openai/tools.py).
Either way text written by people stays text: special tokens come from the template alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kaiwa.core.errors import UserError
from kaiwa.engine.request import CONTEXT_EXCEEDED, Event, ReasoningLimit, Request
from kaiwa.serve.openai.call_forms import AnswerMarkup, form_of, reasoning_tags
from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.openai.tools import as_plain, with_parsed_arguments
from kaiwa.serve.worker.wire import (
    ChatPrompt,
    Detokenize,
    Embed,
    Failed,
    Generate,
    ModelPrompt,
    ModelRequest,
    TextPrompt,
    TokenPrompt,
)
from kaiwa.text.history import FittedHistory, fit_turns
from kaiwa.text.jinja_template import PromptEnding, prompt_pieces, template_of
from kaiwa.text.pieces import PromptPiece
from kaiwa.text.records import Conversation, conversation
from kaiwa.text.template import CHATML, chatml_pieces, encode_pieces, encode_with_specials

if TYPE_CHECKING:
    from kaiwa.catalog.load import LoadedModel
    from kaiwa.tokenizer.tokenizer import Tokenizer

# Before the text, before the text after the answer, before the answer.
FILL_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
)
THINK_TOKENS = 16  # at the prompt's end, among which an opened reasoning is looked for


def prompt_ids(loaded: LoadedModel, prompt: ModelPrompt) -> list[int]:
    """Return the prompt's token ids. UserError if the model's template refuses the prompt, or the model cannot chat."""
    if isinstance(prompt, ChatPrompt):
        return _chat_ids(loaded, prompt)
    if isinstance(prompt, TokenPrompt):
        return list(prompt.ids)
    prefix = list(loaded.prefix) if prompt.prefix else []
    return prefix + _text_ids(loaded.tokenizer, prompt) or [loaded.tokenizer.document_end_id]


def _text_ids(tokenizer: Tokenizer, prompt: TextPrompt) -> list[int]:
    """Return the ids of a text, and of the text after the answer if there is one."""

    def encode(text: str) -> list[int]:
        return encode_with_specials(tokenizer, text) if prompt.special else tokenizer.encode(text)

    if prompt.suffix is None:
        return encode(prompt.text)
    ids = {**tokenizer.controls, **tokenizer.specials}
    for before, after, middle in FILL_TOKENS:
        if before in ids and after in ids and middle in ids:
            text, suffix = encode(prompt.text), encode(prompt.suffix)
            return [ids[before], *text, ids[after], *suffix, ids[middle]]
    raise UserError("this model has no tokens for filling in the middle; leave suffix out", field="suffix")


def _chat_ids(loaded: LoadedModel, prompt: ChatPrompt) -> list[int]:
    template, tokenizer = loaded.tokenizer.chat_template, loaded.tokenizer
    if not loaded.entry.chat or template is None:
        message = f"{loaded.entry.name} continues text and has not learnt to chat; send it a prompt (/v1/completions)"
        raise UserError(message)
    messages, tools = prompt.messages, prompt.tools
    if "tools" not in template:
        messages, tools = tuple(as_plain(messages, tools)), ()  # without any, the same messages
    if template == CHATML:
        pieces = _chatml_pieces(conversation(as_plain(messages, tools)), prompt.ending, tokenizer)
    else:
        turns = with_parsed_arguments(messages, short_ids=form_of(template).short_ids)
        pieces = prompt_pieces(template_of(tokenizer, template), turns, tools, prompt.variables, prompt.ending)
    return [id for ids in encode_pieces(tokenizer, pieces) for id in ids]


def _chatml_pieces(messages: Conversation, ending: PromptEnding, tokenizer: Tokenizer) -> list[PromptPiece]:
    controls = tuple(tokenizer.controls)
    if ending != "continue":
        return chatml_pieces(messages, ending == "answer", controls)
    return [*chatml_pieces(messages[:-1], True, controls), PromptPiece(messages[-1].content)]


def fit_history(loaded: LoadedModel, generate: Generate) -> tuple[Generate, FittedHistory]:
    """Return the request with a history that leaves room for its answer, if it may lose its oldest turns.

    The room is max_tokens, where they are not sure to be needed a quarter of the context at most.
    """
    prompt = generate.prompt
    if not isinstance(prompt, ChatPrompt) or not prompt.drop_turns:
        return generate, FittedHistory(0, 0)
    n_answer = generate.sampling.max_tokens
    room = loaded.context - (n_answer if generate.fit == "exact" else min(n_answer, loaded.context // 4))

    def fits(messages: Sequence[ChatTurn]) -> bool:
        return len(prompt_ids(loaded, replace(prompt, messages=tuple(messages)))) <= room

    messages, history = fit_turns(prompt.messages, lambda turn: turn["role"], fits)
    return replace(generate, prompt=replace(prompt, messages=tuple(messages))), history


def make_request(loaded: LoadedModel, generate: Generate) -> tuple[Request, AnswerMarkup]:
    """Return the engine's request, and how its answer is to be read. UserError for bad input, with the field."""
    ids = prompt_ids(loaded, generate.prompt)
    max_tokens, room = generate.sampling.max_tokens, loaded.context - len(ids)
    if generate.fit == "fill":
        max_tokens = max(room, 1)
    elif generate.fit == "shorten":
        max_tokens = max(min(max_tokens, room), 1)
    elif max_tokens > max(room, 0) and room > 0:
        raise UserError(
            f"this model's maximum context length is {loaded.context} tokens, the prompt has {len(ids)} and max_tokens "
            f"is {max_tokens}; shorten one of them",
            code=CONTEXT_EXCEEDED,
        )
    markup, shown_specials = _answer_markup(loaded, generate.prompt, ids)
    request = Request(
        id=generate.id,
        prompt_ids=tuple(ids),
        sampling=replace(generate.sampling, max_tokens=max_tokens),
        adapter="" if loaded.adapter is None else loaded.entry.name,
        stop_ids=loaded.stop_ids,
        logprobs=generate.logprobs,
        prompt_logprobs=generate.echo and generate.detailed,
        shown_specials=shown_specials,
        reasoning=_reasoning_limit(loaded, generate, markup),
    )
    return request, markup


def _reasoning_limit(loaded: LoadedModel, generate: Generate, markup: AnswerMarkup) -> ReasoningLimit | None:
    """Return the limit on the answer's reasoning, None without a budget or for a model that does not reason."""
    if generate.thinking_budget is None or markup.reasoning is None:
        return None
    tokenizer = loaded.tokenizer
    opening, closing = (tuple(encode_with_specials(tokenizer, tag)) for tag in markup.reasoning)
    return ReasoningLimit(generate.thinking_budget, opening, closing, is_open=markup.thinking)


def _answer_markup(
    loaded: LoadedModel, prompt: ModelPrompt, ids: Sequence[int]
) -> tuple[AnswerMarkup, tuple[tuple[int, str], ...]]:
    """Return how an answer to a prompt is read, and the special tokens whose text is needed for that."""
    if not isinstance(prompt, ChatPrompt):
        return AnswerMarkup(), ()
    tokenizer = loaded.tokenizer
    form, reasoning = form_of(tokenizer.chat_template), reasoning_tags(tokenizer.chat_template)
    thinking = False
    if reasoning is not None:
        end = "".join(map(tokenizer.token_text, ids[-THINK_TOKENS:]))
        thinking = end.rstrip().endswith(reasoning[0])
    names = form.markers if prompt.tools else ()
    specials = tokenizer.specials.items()  # a tag may begin with one: Gemma's is <|channel> and the word thought
    texts = tuple(
        (id, name) for name, id in specials if name in names or any(t.startswith(name) for t in reasoning or ())
    )
    return AnswerMarkup(form.name, reasoning, thinking), texts


def refusal(request: ModelRequest, error: UserError) -> Failed:
    """Return the error for a refused request: the code and field of the UserError if present, else "prompt"."""
    code = error.code or "invalid_value"
    return Failed(id=request.id, status=400, code=code, message=str(error), param=_client_field(request, error.field))


def failed_answer(generate: Generate, event: Event) -> Failed:
    """Return the error for a failed answer: the request's grammar is to blame, or the model."""
    if event.error_field:
        param = _client_field(generate, event.error_field)
        return Failed(id=generate.id, status=400, code="invalid_value", message=event.error, param=param)
    return Failed(id=generate.id, status=500, code="engine_failed", message=event.error)


def _client_field(request: ModelRequest, field: str) -> str:
    """Return the client's name for the field at fault."""
    if isinstance(request, Generate) and field == "grammar" and request.grammar_field:
        return request.grammar_field
    if field and field != "prompt":
        return field
    if isinstance(request, Detokenize):
        return "tokens"
    if isinstance(request, Embed):
        return "input"
    return "messages" if isinstance(getattr(request, "prompt", None), ChatPrompt) else "prompt"
