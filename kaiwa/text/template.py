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

from collections.abc import Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.text.jinja_template import JinjaTemplate, jinja_pieces
from kaiwa.text.pieces import Encoder, PromptPiece
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
    """`ids` and `mask` are of equal length; mask[i] is 1 where token i is the assistant's own."""

    ids: list[int]
    mask: list[int]


def render(tokenizer: Encoder, conversation: Conversation, add_generation_prompt: bool = False) -> RenderedConversation:
    """Return token ids and loss mask of a conversation, ready to train on or (with the prompt) to be continued.

    UserError when the tokenizer has no chat template, or the template fails or is too long.
    """
    return render_batch(tokenizer, [conversation], add_generation_prompt)[0]


def render_batch(
    tokenizer: Encoder, conversations: Sequence[Conversation], add_generation_prompt: bool = False
) -> list[RenderedConversation]:
    """Render many conversations at once; the texts of all go through the tokenizer in one batch."""
    layouts = [pieces(tokenizer, conversation, add_generation_prompt) for conversation in conversations]
    texts = [p.text for layout in layouts for p in layout if not p.special]
    encoded = iter(tokenizer.encode_batch(texts))
    rendered = []
    for layout in layouts:
        ids: list[int] = []
        mask: list[int] = []
        for piece in layout:
            new = [tokenizer.specials[piece.text]] if piece.special else next(encoded)
            ids += new
            mask += [int(piece.learn)] * len(new)
        rendered.append(RenderedConversation(ids, mask))
    return rendered


def pieces(tokenizer: Encoder, conversation: Conversation, add_generation_prompt: bool = False) -> list[PromptPiece]:
    """Return the layout of a conversation before encoding, by the tokenizer's own template."""
    if tokenizer.chat_template is None:
        raise UserError("this tokenizer has no chat template, so it can continue text but not a conversation")
    if tokenizer.chat_template == CHATML:
        return chatml_pieces(conversation, add_generation_prompt)
    template = JinjaTemplate(
        tokenizer.chat_template, tuple(tokenizer.specials), tokenizer.bos_token, tokenizer.eos_token
    )
    return jinja_pieces(template, conversation, add_generation_prompt)


def chatml_pieces(conversation: Conversation, add_generation_prompt: bool = False) -> list[PromptPiece]:
    """Return the layout by our own ChatML, without Jinja."""
    pieces: list[PromptPiece] = []
    for message in conversation:
        pieces.append(PromptPiece(START, special=True))
        if message.role == "assistant":
            pieces += [
                PromptPiece("assistant\n"),
                PromptPiece(message.content, learn=True),
                PromptPiece(END, special=True, learn=True),
            ]
        else:
            pieces += [PromptPiece(f"{message.role}\n{message.content}"), PromptPiece(END, special=True)]
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
