"""Chat template: a conversation to token ids and the mask of the assistant's words.

ChatML, kaiwa's own layout, written as one turn per message:

    <|im_start|>role\\ncontent<|im_end|>\\n

The mask is 1 exactly on the assistant's content tokens and on the closing end token: the tokens a model has to produce,
hence the tokens that SFT's loss counts. A user's text never becomes a special token: specials are put in as ids, and
content is encoded as plain text, `<|im_end|>` included.

Departure from rendering to one string and encoding the string: the assistant's content is encoded apart from the turn's
header, in history as in training, because generation also begins there. The two encodings differ only for content that
begins with white space. Other templates (a model read from elsewhere) go through `jinja_template`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.jinja_template import OTHERS, Layout, jinja_layout, split_tokens, template_of
from kaiwa.text.pieces import Encoder, PromptPiece, common_prefix
from kaiwa.text.records import Conversation, Message

END_OF_TEXT = "<|endoftext|>"
START = "<|im_start|>"
END = "<|im_end|>"
PAD = "<|pad|>"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class RenderedConversation:
    """`ids` and `mask` are of equal length; mask[i] is the loss weight of token i: 1 where it is the assistant's own.

    unmarked: why assistant's messages are not in the mask, by their numbers.
    """

    ids: list[int]
    mask: list[float]
    unmarked: Mapping[int, str] = field(default_factory=dict)


def render(
    tokenizer: Encoder,
    conversation: Conversation,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> RenderedConversation:
    """Return token ids and loss mask of a conversation, ready to train on or (with the prompt) to be continued.

    UserError when the tokenizer has no chat template, or the template fails or is too long.
    """
    return _encode(tokenizer, [layout(tokenizer, conversation, add_generation_prompt, tools)])[0]


def render_batch(
    tokenizer: Encoder, conversations: Sequence[Conversation], add_generation_prompt: bool = False
) -> list[RenderedConversation]:
    """Render many conversations at once; the texts of all go through the tokenizer in one batch."""
    return _encode(tokenizer, [layout(tokenizer, one, add_generation_prompt) for one in conversations])


def _encode(tokenizer: Encoder, layouts: Sequence[Layout]) -> list[RenderedConversation]:
    encoded = iter(encode_pieces(tokenizer, [piece for one in layouts for piece in one.pieces]))
    rendered = []
    for one in layouts:
        ids: list[int] = []
        mask: list[float] = []
        for piece in one.pieces:
            new = next(encoded)
            ids += new
            mask += [int(piece.learn) if piece.learn == int(piece.learn) else piece.learn] * len(new)
        rendered.append(RenderedConversation(ids, mask, one.unmarked))
    return rendered


def encode_pieces(tokenizer: Encoder, pieces: Sequence[PromptPiece]) -> list[list[int]]:
    """Return the token ids of each piece; all texts go through the tokenizer in one batch."""
    texts = iter(tokenizer.encode_batch([p.text for p in pieces if not (_is_token(p) or p.plain)]))
    plain = iter(tokenizer.encode_plain([p.text for p in pieces if p.plain]))
    ids = []
    for piece in pieces:
        if _is_token(piece):
            ids.append([(tokenizer.specials if piece.special else tokenizer.controls)[piece.text]])
        else:
            ids.append(next(plain) if piece.plain else next(texts))
    return ids


def encode_with_specials(tokenizer: Encoder, text: str) -> list[int]:
    """Return the token ids of a text in which the names of special tokens are tokens (raw prompts of experts)."""
    return [id for ids in encode_pieces(tokenizer, split_tokens(template_of(tokenizer, ""), text)) for id in ids]


def render_completions(
    tokenizer: Encoder, prompt: Conversation, texts: Sequence[str], ended: Sequence[bool] = ()
) -> tuple[list[int], list[list[int]]]:
    """Return the ids of a prompt, and of each completion as the template writes it after this prompt.

    A completion has its end token where its flag in `ended` is true (default: all true) or it has no other token.
    UserError where the template leaves a completion out.
    """
    context = tuple(replace(message, weight=0.0) for message in prompt)
    heads: list[list[int]] = []
    tails: list[list[int]] = []
    known: list[PromptPiece] = []
    for text, ends in zip(texts, ended or [True] * len(texts), strict=True):
        one = layout(tokenizer, (*context, Message("assistant", text)))
        learned = [i for i, piece in enumerate(one.pieces) if piece.learn]
        if not learned:
            raise UserError(next(iter(one.unmarked.values()), "the chat template leaves out an assistant's message"))
        head, tail = one.pieces[: learned[0]], one.pieces[learned[0] : learned[-1] + 1]
        following = one.pieces[learned[-1] + 1 :]
        if not _is_token(tail[-1]) and following and _is_token(following[0]):
            tail = [*tail, following[0]]  # the template's generation block leaves the end token outside
        if not ends and len(tail) > 1 and _is_token(tail[-1]):
            tail = tail[:-1]
        heads.append(heads[-1] if head == known else [i for ids in encode_pieces(tokenizer, head) for i in ids])
        known = head
        tails.append([i for ids in encode_pieces(tokenizer, tail) for i in ids])
    common = common_prefix(heads)
    return heads[0][:common], [head[common:] + tail for head, tail in zip(heads, tails, strict=True)]


def _is_token(piece: PromptPiece) -> bool:
    return piece.special or piece.control


def layout(
    tokenizer: Encoder,
    conversation: Conversation,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Layout:
    """Return the layout of a conversation before encoding, by the tokenizer's own template."""
    source = tokenizer.chat_template
    if source is None:
        raise UserError("this tokenizer has no chat template, so it can continue text but not a conversation")
    if source == CHATML and not any(m.fields for m in conversation):
        return Layout(chatml_pieces(conversation, add_generation_prompt, tuple(tokenizer.controls)))
    return jinja_layout(template_of(tokenizer, source), conversation, add_generation_prompt, tools)


def turn_end(tokenizer: Encoder) -> str:
    """Return the token with which the chat template ends an assistant's turn, "" where it ends turns without one.

    Sampling stops at this token, and training teaches it (Gemma's tokenizer names <eos>, its template <end_of_turn>).
    """
    if tokenizer.chat_template is None:
        return tokenizer.eos_token
    if tokenizer.chat_template == CHATML:
        return END
    try:
        pieces = layout(tokenizer, (Message("user", "a"), Message("assistant", "b"))).pieces
    except UserError:
        return tokenizer.eos_token
    last = max((i for i, piece in enumerate(pieces) if piece.learn), default=len(pieces))
    return next((piece.text for piece in pieces[last:] if _is_token(piece)), "")


def chatml_pieces(
    conversation: Conversation, add_generation_prompt: bool = False, controls: Sequence[str] = ()
) -> list[PromptPiece]:
    """Return the layout by our own ChatML, without Jinja. controls: added tokens that no user may write."""
    pieces: list[PromptPiece] = []
    for message in conversation:
        pieces.append(PromptPiece(START, special=True))
        if message.role == "assistant":
            pieces += [
                PromptPiece("assistant\n"),
                PromptPiece(message.content, learn=message.weight),
                PromptPiece(END, special=True, learn=message.weight),
            ]
        else:
            plain = message.role in OTHERS and any(name in message.content for name in controls)
            text = PromptPiece(f"{message.role}\n{message.content}", plain=plain)
            pieces += [text, PromptPiece(END, special=True)]
        pieces.append(PromptPiece("\n"))
    if add_generation_prompt:
        pieces += [PromptPiece(START, special=True), PromptPiece("assistant\n")]
    return pieces


def plain_text(conversation: Conversation) -> str:
    """Return the conversation as ChatML text, for people and for counting bytes; not to be encoded."""
    return "".join(p.text for p in chatml_pieces(conversation))


def user(text: str) -> Conversation:
    """Return a conversation of one user message."""
    return (Message("user", text),)
