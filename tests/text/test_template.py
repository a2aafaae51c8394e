"""The chat template: ids and mask by the fast path, by Jinja, and what must never happen in either."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.text.jinja_sandbox import NONCHARACTERS
from kaiwa.text.jinja_template import JinjaTemplate, jinja_pieces, render_text
from kaiwa.text.pieces import PromptPiece
from kaiwa.text.records import Conversation, Message
from kaiwa.text.template import CHATML, chatml_pieces, plain_text, render, render_batch

sys.path.insert(0, str(Path(__file__).parents[1] / "tokenizer"))
from tokenizer_texts import small

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
TALK = (
    Message("user", "Who bakes?"),
    Message("assistant", "Mira does."),
    Message("user", "And you?"),
    Message("assistant", "No."),
)
content = st.lists(
    st.one_of(st.text(max_size=12), st.sampled_from((*SPECIALS, "<|im", "\n", "{{ x }}", "user\n")))
).map("".join)
conversations = st.lists(
    st.builds(Message, st.sampled_from(("system", "user", "assistant")), content), min_size=1, max_size=5
).map(tuple)


class Chatml:
    """Our tokenizer behind another template, so that Jinja is taken."""

    def __init__(self, template: str | None) -> None:
        inner = small()
        self.chat_template = template
        self.specials = inner.specials
        self.eos_token, self.bos_token = "<|im_end|>", "<|im_start|>"
        self.encode_batch, self.encode_plain = inner.encode_batch, inner.encode_plain
        self.controls, self.strips = inner.controls, inner.strips


def merged(pieces: list[PromptPiece]) -> list[tuple[str, bool]]:
    """Pieces with neighbouring text joined."""
    found: list[tuple[str, bool]] = []
    for p in pieces:
        if found and not p.special and not found[-1][1]:
            found[-1] = (found[-1][0] + p.text, False)
        elif p.text:
            found.append((p.text, p.special))
    return found


@given(conversations, st.booleans())
def test_the_fast_path_is_what_jinja_renders(talk: Conversation, prompt: bool) -> None:
    fast = chatml_pieces(talk, prompt)
    slow = jinja_pieces(JinjaTemplate(CHATML, SPECIALS), talk, prompt)
    if not any(NONCHARACTERS.search(m.content) for m in talk):
        assert merged(fast) == merged(slow)
        assert plain_text(talk) == render_text(JinjaTemplate(CHATML), talk)


@given(conversations)
def test_fast_and_slow_ids_and_masks_are_equal(talk: Conversation) -> None:
    fast = render(small(), talk)
    if not any(NONCHARACTERS.search(m.content) for m in talk):
        assert render(Chatml(CHATML + "{# by Jinja #}"), talk) == fast
    assert len(fast.ids) == len(fast.mask)


@given(conversations)
def test_content_opens_and_closes_no_turn(talk: Conversation) -> None:
    tokenizer = small()
    for encoder in (tokenizer, Chatml(CHATML + "{# by Jinja #}")):
        ids = render(encoder, talk).ids
        assert ids.count(tokenizer.specials["<|im_start|>"]) == len(talk)
        assert ids.count(tokenizer.eos_id) == len(talk)


def test_the_mask_is_the_assistants_tokens_and_their_end() -> None:
    tokenizer = small()
    rendered = render(tokenizer, TALK)
    learned = [i for i, m in zip(rendered.ids, rendered.mask, strict=True) if m]
    end = [tokenizer.eos_id]
    assert learned == tokenizer.encode("Mira does.") + end + tokenizer.encode("No.") + end
    assert set(render(tokenizer, TALK[:1], True).mask) == {0}


def test_generation_begins_where_training_did() -> None:
    tokenizer = small()
    prompt, whole = render(tokenizer, TALK[:3], True), render(tokenizer, TALK)
    assert whole.ids[: len(prompt.ids)] == prompt.ids
    assert whole.mask[len(prompt.ids)] == 1


def test_a_batch_is_one_by_one() -> None:
    talks = [TALK, TALK[:1], TALK[:2]]
    assert render_batch(small(), talks) == [render(small(), t) for t in talks]


def test_other_templates_are_masked_too() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
        "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    )
    pieces = jinja_pieces(JinjaTemplate(template, ("<s>", "</s>"), "<s>", "</s>"), TALK, False)
    assert [p.text for p in pieces if p.learn] == [" Mira does.", "</s>", " No.", "</s>"]
    assert pieces[0] == PromptPiece("<s>", special=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "no valid Jinja"),
        ("{{ raise_exception('only users') }}", "only users"),
        ("{{ messages.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses|unsafe"),
        ("{{ messages.append(1) }}", "refuses"),
        ("{{ messages[99].content }}", "refuses"),
        ("{% for i in range(99999999) %}x{% endfor %}", "refuses"),
        ("{% for i in range(9999) %}{% for j in range(9999) %}xxxxxxxx{% endfor %}{% endfor %}", "more than"),
        ("{{ 'x' * 99999999999 }}", "refuses|more than"),
        ("x" * 70_000, "at most 65,536"),
    ],
)
def test_bad_templates_are_refused_in_one_line(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        render_text(JinjaTemplate(template), TALK)
    assert "\n" not in str(error.value)


def test_no_template_says_so() -> None:
    with pytest.raises(UserError, match="no chat template"):
        render(Chatml(None), TALK)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{% endfor %}{% endfor %}",
        "{% set kaiwa_tick = dict %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_a_template_that_loops_or_reaches_for_attributes_is_refused(source: str) -> None:
    with pytest.raises(UserError, match="chat template"):
        render_text(JinjaTemplate(source), (Message("user", "hi"),))
