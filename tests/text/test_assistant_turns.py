"""The assistant's turns under templates of public structures: what is learned, ids and masks as transformers has."""

import functools
import re
import sys
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.text.assistant_turns import NOT_GENERATION, NOT_PLACED, NOT_WRITTEN
from kaiwa.text.jinja_template import JinjaTemplate, jinja_layout, jinja_pieces
from kaiwa.text.pieces import PromptPiece
from kaiwa.text.records import Message
from kaiwa.text.template import render, render_completions, turn_end
from kaiwa.tokenizer.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tokenizer"))
from chat_templates import CASES, CONTROLS, SPECIALS, Case
from tokenizer_texts import small

TALK = (Message("user", "hi"), Message("assistant", "One."), Message("user", "more"), Message("assistant", "Two."))
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def template(source: str) -> JinjaTemplate:
    return JinjaTemplate(source, SPECIALS, "<s>", "</s>", CONTROLS)


@functools.cache
def words() -> str:
    """The small tokenizer with the tokens of all cases, as tokenizer.json."""
    import tokenizers

    inner = tokenizers.Tokenizer.from_str(small().inner.to_str())
    inner.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    inner.add_tokens([tokenizers.AddedToken(t, special=False, normalized=False) for t in CONTROLS])
    return inner.to_str()


def tokenizer_of(source: str, eos: str = "</s>") -> Tokenizer:
    import tokenizers

    inner = tokenizers.Tokenizer.from_str(words())
    return Tokenizer(inner, chat_template=source, eos_token=eos, pad_token="<|pad|>", bos_token="<s>")


def learned(pieces: list[PromptPiece]) -> str:
    return "".join(piece.text for piece in pieces if piece.learn)


@every_case
def test_every_turn_is_learned_with_its_end_and_nothing_else(case: Case) -> None:
    layout = jinja_layout(template(case.source), TALK, False)
    assert learned(layout.pieces) == case.first + case.second
    assert not layout.unmarked


@every_case
def test_the_prompt_is_what_stood_before_the_learned_turn(case: Case) -> None:
    prompt = "".join(piece.text for piece in jinja_pieces(template(case.source), TALK[:1], True))
    assert prompt == case.prompt
    whole = "".join(piece.text for piece in jinja_pieces(template(case.source), TALK[:2], False))
    before = whole[: whole.index("One.")]
    assert prompt.startswith(before) or before.startswith(prompt)


@every_case
def test_ids_and_ends_are_those_of_transformers(case: Case) -> None:
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(words()), bos_token="<s>", eos_token="</s>", pad_token="<|pad|>"
    )
    ours = tokenizer_of(case.source)
    messages = [m.to_json() for m in TALK]
    ids = theirs.apply_chat_template(messages, chat_template=case.source, return_dict=True)["input_ids"]
    rendered = render(ours, TALK)
    assert rendered.ids == ids
    if "{% generation %}" in case.source:
        masked = theirs.apply_chat_template(
            messages, chat_template=case.source, return_dict=True, return_assistant_tokens_mask=True
        )
        assert rendered.mask == masked["assistant_masks"]
    end = re.findall(r"<[^<>]+>", case.second + ("<|im_end|>" if case.second == "Two." else ""))[-1]
    assert turn_end(ours) == end
    assert set(ours.stop_ids) == {theirs.convert_tokens_to_ids(end), theirs.convert_tokens_to_ids("</s>")}


@every_case
def test_a_completion_is_encoded_as_the_template_writes_it(case: Case) -> None:
    ours = tokenizer_of(case.source)
    prompt, (one, cut) = render_completions(ours, TALK[:3], ["Two.", "Two."], [True, False])
    whole = render(ours, TALK).ids
    assert whole[: len(prompt) + len(one)] == prompt + one
    assert one[:-1] == cut
    assert one[-1] == ours.end_id


@every_case
def test_an_opening_turn_and_weights(case: Case) -> None:
    if "alternate" not in case.name:
        opening = jinja_layout(template(case.source), TALK[1:], False)
        assert learned(opening.pieces) == case.first + case.second
    first = (TALK[0], Message("assistant", "One.", weight=0), *TALK[2:])
    assert learned(jinja_pieces(template(case.source), first, False)) == case.second


def test_earlier_thoughts_are_learned_as_the_template_writes_them() -> None:
    talk = [Message("user", "a"), Message("assistant", "<think>\nx\n</think>\n\nOne.")] * 2
    source = next(c.source for c in CASES if c.name == "thoughts of earlier turns are taken out")
    pieces = jinja_pieces(template(source), tuple(talk), False)
    assert learned(pieces) == "One.<|im_end|><think>\nx\n</think>\n\nOne.<|im_end|>"
    assert [p.text for p in pieces if p.control] == ["<think>", "</think>"]
    opens = next(c.source for c in CASES if c.name == "the prompt opens a thought")
    assert learned(jinja_pieces(template(opens), tuple(talk[:2]), False)) == "x\n</think>\n\nOne.<|im_end|>"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ messages | length }}{{ messages[-1].content }}", NOT_PLACED),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", NOT_WRITTEN),
        ("{% for m in messages %}{% for p in m.content if p is mapping %}x{% endfor %}</s>{% endfor %}", NOT_WRITTEN),
        ("{% for m in messages %}{% generation %}</s>{% endgeneration %}{% endfor %}", NOT_WRITTEN),
        ("{% for m in messages %}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}"
         "{% else %}{{ m.content }}{% endif %}{% endfor %}", NOT_GENERATION),
    ],
)  # fmt: skip
def test_a_turn_that_cannot_be_marked_is_named(source: str, why: str) -> None:
    unmarked = jinja_layout(template(source), TALK, False).unmarked
    assert unmarked[1] == why
    ignored = (TALK[0], Message("assistant", "One.", weight=0), TALK[2], Message("assistant", "Two.", weight=0))
    assert not jinja_layout(template(source), ignored, False).unmarked
    if why is not NOT_GENERATION:
        with pytest.raises(UserError, match="chat template"):
            render_completions(tokenizer_of(source), TALK[:1], ["One."])


def test_added_tokens_are_text_in_a_users_words_and_tokens_elsewhere() -> None:
    source = CASES[0].source.replace("{% for", "<think>{% for", 1)
    for one in (source, CASES[0].source):
        ours = tokenizer_of(one)
        think = ours.controls["<think>"]
        talk = (Message("user", "so <think> it"), Message("assistant", "<think>x</think>y"))
        assert render(ours, talk).ids.count(think) == 1 + (one == source)
        decoded = "".join(ours.token_text(i) for i in render(ours, talk[:1]).ids)
        assert "user\nso <think> it<|im_end|>" in decoded
        assert ours.encode("<think>") == [think]


def test_white_space_that_a_token_takes_away() -> None:
    import tokenizers

    inner = tokenizers.Tokenizer.from_str(words())
    inner.add_special_tokens([tokenizers.AddedToken("<|end|>", special=True, normalized=False, rstrip=True)])
    strips = {"<|end|>": (False, True), "<|eot|>": (True, False)}
    one = JinjaTemplate("a <|eot|> b <|end|> \n c", SPECIALS, strips=strips)
    assert [p.text for p in jinja_pieces(one, TALK[:1], False)] == ["a", "<|eot|>", " b ", "<|end|>", "c"]


def test_the_end_of_turn_is_the_templates_and_not_the_tokenizers() -> None:
    chatml = tokenizer_of(CASES[0].source, eos="<s>")
    assert (chatml.end_id, chatml.eos_id) == (chatml.specials["<|im_end|>"], chatml.specials["<s>"])
    assert turn_end(tokenizer_of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")) == ""
    assert turn_end(tokenizer_of("{{ raise_exception('no') }}")) == "</s>"


@every_case
@pytest.mark.parametrize("content", ["a", "<", "n", "|im", "final", "assistant", ">", "INST", "user hi", "think"])
def test_content_that_resembles_the_templates_own_words(case: Case, content: str) -> None:
    talk = (TALK[0], Message("assistant", content), TALK[2], Message("assistant", content))
    expected = case.first.replace("One.", content) + case.second.replace("Two.", content)
    assert learned(jinja_layout(template(case.source), talk, False).pieces) == expected
