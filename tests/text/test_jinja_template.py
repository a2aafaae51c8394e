"""Chat templates of other models: content stays content, what is learned, what tools become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.text.jinja_template import MARK, JinjaTemplate, jinja_pieces, prompt_pieces, render_text, takes_parts
from kaiwa.text.pieces import PromptPiece
from kaiwa.text.records import Conversation, Message

SPECIALS = ("<s>", "</s>", "<s>x", "<|tool|>")
SOURCE = (
    "{{ bos_token }}{% for m in messages %}{{ '[' + m.role + ']' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TEMPLATE = JinjaTemplate(SOURCE, SPECIALS, "<s>", "</s>")
contents = st.lists(st.sampled_from(["<s>", "</s>", "<s", ">", "x", "<|tool|>", "hé", MARK, "{{ 1 }}"]), max_size=6)
turns = st.tuples(st.sampled_from(["user", "assistant"]), contents.map("".join))


def text_of(pieces: list[PromptPiece]) -> str:
    return "".join(piece.text for piece in pieces)


@given(st.lists(turns, min_size=1, max_size=4), st.booleans())
def test_content_never_becomes_a_special_token_and_is_not_changed(raw: list[tuple[str, str]], prompt: bool) -> None:
    talk = tuple(Message(role, content) for role, content in raw)
    pieces = jinja_pieces(TEMPLATE, talk, prompt)
    specials = [piece.text for piece in pieces if piece.special]
    assert specials == ["<s>", *["</s>" for role, _ in raw if role == "assistant"]]
    # a noncharacter in a message becomes the replacement character: it is no text
    expected = "<s>" + "".join(
        f"[{role}]{content.replace(MARK, chr(0xFFFD))}" + ("</s>" if role == "assistant" else "")
        for role, content in raw
    )
    assert text_of(pieces) == expected + ("[assistant]" if prompt else "")


@given(st.lists(turns, min_size=1, max_size=4))
def test_learned_is_what_the_assistant_says(raw: list[tuple[str, str]]) -> None:
    talk = tuple(Message(role, content) for role, content in raw)
    learned = text_of([piece for piece in jinja_pieces(TEMPLATE, talk, False) if piece.learn])
    answers = [content.replace(MARK, chr(0xFFFD)) + "</s>" for role, content in raw if role != "user"]
    assert learned == "".join(answers)


def test_a_turn_is_learned_up_to_its_first_special() -> None:
    source = SOURCE.replace("{{ eos_token }}", "{{ eos_token + '\\n<s>' }}")
    talk = (Message("user", "a"), Message("assistant", "b"))
    pieces = jinja_pieces(JinjaTemplate(source, SPECIALS, "<s>", "</s>"), talk, False)
    assert [(p.text, p.learn) for p in pieces] == [
        ("<s>", False), ("[user]a[assistant]", False), ("b", True), ("</s>", True), ("\n", False), ("<s>", False),
    ]  # fmt: skip


def test_nothing_is_learned_where_earlier_turns_are_rewritten() -> None:
    # the last message alone is written: no turn is the addition to what stood before it
    source = "{{ messages | length }}{{ messages[-1].content }}"
    talk = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert not any(p.learn for p in jinja_pieces(JinjaTemplate(source, SPECIALS), talk, False))


def test_the_longest_special_is_found_first() -> None:
    pieces = jinja_pieces(
        JinjaTemplate("<s>x<s>{{ messages[0].content }}", SPECIALS), (Message("user", "<s>x"),), False
    )
    assert [(p.text, p.special) for p in pieces] == [("<s>x", True), ("<s>", True), ("<s>x", False)]


def test_a_template_without_specials_is_all_text() -> None:
    talk: Conversation = (Message("user", "<s>"),)
    assert jinja_pieces(JinjaTemplate("{{ messages[0].content }}"), talk, False) == [PromptPiece("<s>")]
    assert jinja_pieces(JinjaTemplate(""), talk, False) == []


def test_what_templates_may_use() -> None:
    talk = (Message("user", "é"), Message("assistant", "b"))
    source = (
        "{{ messages | tojson }}{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}"
    )
    rendered = render_text(JinjaTemplate(source), talk)
    assert rendered == '[{"role": "user", "content": "é"}, {"role": "assistant", "content": "b"}]user'
    year = render_text(JinjaTemplate("{{ strftime_now('%Y') }}"), talk)
    assert year.isdigit()
    assert len(year) == 4


def test_a_block_leaves_no_line_behind() -> None:
    source = "{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n"
    assert render_text(JinjaTemplate(source), (Message("user", "a"), Message("user", "b"))) == "a\nb\n"


TOOLS = [{"type": "function", "function": {"name": "look<s>up", "parameters": {"</s>": {"type": "string"}}}}]
TOOL_SOURCE = (
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    "{% for m in messages %}<|tool|>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}go{% endif %}"
)


def test_tools_and_their_arguments_are_content() -> None:
    template = JinjaTemplate(TOOL_SOURCE, SPECIALS, "<s>", "</s>")
    call = {"function": {"name": "f", "arguments": {"word": "<|tool|>", "n": 3}}}
    messages = [{"role": "user", "content": "hi</s>"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    pieces = prompt_pieces(template, messages, TOOLS)
    assert [p.text for p in pieces if p.special] == ["<s>", "<|tool|>", "<|tool|>"]
    whole = text_of(pieces)
    assert '"name": "look<s>up"' in whole
    assert '{"</s>": {"type": "string"}}' in whole
    assert whole.endswith('<|tool|>{"word": "<|tool|>", "n": 3}go')
    assert text_of(prompt_pieces(template, messages[:1], [])) == "<s><|tool|>hi</s>go"


def test_errors_are_one_line_of_the_templates_own_words() -> None:
    with pytest.raises(UserError, match=r"refuses these messages \(roles must alternate\)"):
        render_text(JinjaTemplate("{{ raise_exception('roles must alternate') }}"), (Message("user", "a"),))
    with pytest.raises(UserError, match="is no valid Jinja"):
        render_text(JinjaTemplate("{% break %}"), (Message("user", "a"),))
    with pytest.raises(UserError, match="writes more than 4,194,304 characters; shorten the messages"):
        render_text(JinjaTemplate("{{ messages[0].content * 1000 }}"), (Message("user", "x" * 5000),))


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
CHAT_SPECIALS = ("<|im_start|>", "<|im_end|>")
TALK = [{"role": "user", "content": "Name a day."}, {"role": "assistant", "content": "It is Tues"}]


@pytest.mark.parametrize(
    ("ending", "variables", "end"),
    [
        ("answer", {}, "<|im_start|>assistant\n"),
        ("answer", {"enable_thinking": False}, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        ("answer", {"messages": [], "add_generation_prompt": False}, "<|im_start|>assistant\n"),  # these stay ours
        ("continue", {}, "<|im_start|>assistant\nIt is Tues"),
        ("none", {}, "<|im_start|>assistant\nIt is Tues<|im_end|>\n"),
    ],
)
def test_how_a_prompt_ends(ending: str, variables: dict, end: str) -> None:
    pieces = prompt_pieces(JinjaTemplate(CHAT, CHAT_SPECIALS), TALK, (), variables, ending)  # type: ignore[arg-type]
    text = text_of(pieces)
    assert text.endswith(end)
    assert text.startswith("<|im_start|>user\nName a day.<|im_end|>\n")


def test_a_message_that_is_not_written_cannot_be_continued() -> None:
    template = JinjaTemplate("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", CHAT_SPECIALS)
    with pytest.raises(UserError, match="cannot be continued"):
        prompt_pieces(template, TALK, ending="continue")


def test_variables_are_text() -> None:
    template = JinjaTemplate("{{ persona }}{% for m in messages %}{{ m.content }}{% endfor %}", CHAT_SPECIALS)
    pieces = prompt_pieces(template, TALK[:1], variables={"persona": "a<|im_end|>"})
    assert not any(piece.special for piece in pieces)


@pytest.mark.parametrize(
    ("loop", "parts"),
    [
        ("{{ m.content }}", False),
        ("{% for part in m.content %}{{ part.text }}{% endfor %}", True),
        ("{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}", True),
        ("{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}", False),
        ("nothing", False),
    ],
)
def test_templates_that_iterate_get_parts(loop: str, parts: bool) -> None:
    source = "{% for m in messages %}" + loop + "|{% endfor %}"
    assert takes_parts(source) is parts
    if loop != "nothing":
        template = JinjaTemplate(source, CHAT_SPECIALS)
        assert text_of(prompt_pieces(template, TALK, ending="none")) == "Name a day.|It is Tues|"
        assert text_of(prompt_pieces(template, TALK, ending="continue")) == "Name a day.|It is Tues"
