"""Tool calls and reasoning read back from answers: every form, however the text is cut into pieces."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.serve.openai.answer_reader import AnswerReader, CallPiece, ContentPiece, ReasoningPiece
from kaiwa.serve.openai.call_forms import FORMS, form_of, reasoning_tags

THINK = ("<think>", "</think>")
SCHEMAS = {
    "weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "hours": {"type": "array"}},
    },
    "now": {},
}
HERMES_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "東京"}}\n</tool_call>'
TOKYO = ("weather", {"city": "東京"})
ESCAPED = "weather", {"city": 'a "b"}', "days": 2}


def read(
    pieces: list[str], form: str = "hermes", **more: object
) -> tuple[str, str, list[tuple[str, str]], AnswerReader]:
    reader = AnswerReader(SCHEMAS, FORMS[form], **more)  # type: ignore[arg-type]
    parts = [part for piece in pieces for part in reader.push(piece)] + reader.finish()
    content = "".join(part.text for part in parts if isinstance(part, ContentPiece))
    reasoning = "".join(part.text for part in parts if isinstance(part, ReasoningPiece))
    calls: dict[int, list[str]] = {}
    for part in parts:
        if isinstance(part, CallPiece):
            if part.name:
                assert part.index == len(calls), "a call begins with its name, and calls follow each other"
                assert part.id
                calls[part.index] = [part.name, ""]
            calls[part.index][1] += part.arguments
    assert [(call.name, call.arguments) for call in reader.calls] == [tuple(call) for call in calls.values()]
    return content, reasoning, [(name, arguments) for name, arguments in calls.values()], reader


def values(calls: list[tuple[str, str]]) -> list[tuple[str, object]]:
    return [(name, json.loads(arguments)) for name, arguments in calls]


ANSWERS = [  # form, answer, calls, content
    ("hermes", HERMES_CALL, [TOKYO], ""),
    ("hermes", f"Let me see.\n{HERMES_CALL}\n{HERMES_CALL}", [TOKYO, TOKYO], "Let me see."),
    ("hermes", HERMES_CALL.removesuffix("\n</tool_call>"), [TOKYO], ""),
    ("hermes", HERMES_CALL.replace("}}", "}}}"), [TOKYO], ""),  # a brace too many
    ("hermes", HERMES_CALL + " Done.", [TOKYO], "Done."),
    ("hermes", '<tool_call>{"name": "now"}</tool_call>', [("now", {})], ""),
    ("hermes", '<tool_call>{"name": "now", "arguments": null}</tool_call>', [("now", {})], ""),
    ("hermes", '<tool_call>{"arguments": {}, "name": "now"}</tool_call>', [("now", {})], ""),
    ("hermes", '<tool_call>{"name": "now", "arguments": "{}"}</tool_call>', [("now", {})], ""),
    (
        "hermes",
        '<tool_call>{"type": "function", "function": {"name": "now", "arguments": {}}}</tool_call>',
        [("now", {})],
        "",
    ),
    ("hermes", '<tool_call>{"name": "now"}{"name": "now"}</tool_call>', [("now", {}), ("now", {})], ""),
    ("hermes", '<tool_call>[{"name": "now"}, {"name": "now"}]</tool_call>', [("now", {}), ("now", {})], ""),
    (
        "hermes",
        '<tool_call>{"name": "weather", "parameters": {"city": "a \\"b\\"}", "days": 2}}</tool_call>',
        [ESCAPED],
        "",
    ),
    ("hermes", "just text", [], "just text"),
    ("hermes", "2 < 3 <tool", [], "2 < 3 <tool"),
    ("hermes", "see <today>\n\n", [], "see <today>\n\n"),
    ("hermes", "<tool_call>no json</tool_call> more", [], "<tool_call>no json</tool_call> more"),
    ("hermes", HERMES_CALL.replace("weather", "format_disk"), [], HERMES_CALL.replace("weather", "format_disk")),
    ("hermes", '<tool_call>{"name": ["weather"]}</tool_call>', [], '<tool_call>{"name": ["weather"]}</tool_call>'),
    ("hermes", "<tool_call>[1]</tool_call>", [], "<tool_call>[1]</tool_call>"),
    ("hermes", "<tool_call>" + "[" * 5000, [], "<tool_call>" + "[" * 5000),
    (
        "xml",
        "<tool_call>\n<function=weather>\n<parameter=city>\n東京\n</parameter>\n</function>\n</tool_call>",
        [TOKYO],
        "",
    ),
    (
        "xml",
        "<function=weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>",
        [("weather", {"city": "12", "days": 2})],
        "",
    ),
    (
        "xml",
        '<function=weather><parameter=city>a\n <b> "c"<parameter=hours>[1, 2]</parameter></function>',
        [("weather", {"city": 'a\n <b> "c"', "hours": [1, 2]})],
        "",
    ),
    ("xml", "<tool_call><function=now></function></tool_call>", [("now", {})], ""),
    ("xml", "<function=gone></function>", [], "<function=gone></function>"),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "東京"}}, {"name": "now", "arguments": {}}]',
        [TOKYO, ("now", {})],
        "",
    ),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"city": "東京"}[TOOL_CALLS]now{}', [TOKYO, ("now", {})], ""),
    ("mistral", 'Wait. [TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "東京"}', [TOKYO], "Wait."),
    ("mistral", "[TOOL_CALLS]gone{}", [], "[TOOL_CALLS]gone{}"),
    ("granite", '<|tool_call|>[{"name": "weather", "arguments": {"city": "東京"}}]', [TOKYO], ""),
    ("granite", '<tool_call>[{"name": "now", "arguments": {}}]', [("now", {})], ""),
    ("granite", '<function_call> {"name": "now", "arguments": {}}', [("now", {})], ""),
    ("granite", 'functools[{"name": "now", "arguments": {}}]', [("now", {})], ""),
    ("granite", "import functools", [], "import functools"),
    ("nemotron", '<TOOLCALL>[{"name": "now", "arguments": {}}]</TOOLCALL>', [("now", {})], ""),
    ("mistral", '[TOOL_CALLS] [{"name": "now", "arguments": {}, "id": "a1b2c3d4e"}]', [("now", {})], ""),
    (
        "gemma",
        '<|tool_call>call:weather{hours:[{<|"|>a<|"|>:true}]}<tool_call|>',
        [("weather", {"hours": [{"a": True}]})],
        "",
    ),
    ("llama", '{"name": "weather", "parameters": {"city": "東京"}}', [TOKYO], ""),
    (
        "llama",
        '<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
        [("now", {})] * 2,
        "",
    ),
    ("llama", '<function=weather>{"city": "東京"}</function>', [TOKYO], ""),
    ("llama", "[weather(city='東京'), now()]", [TOKYO, ("now", {})], ""),
    (
        "llama",
        '[weather(city="a, (b)", days=-2, hours=[1, {"x": True}])]',
        [("weather", {"city": "a, (b)", "days": -2, "hours": [1, {"x": True}]})],
        "",
    ),
    ("llama", "[weather('東京', 3)]", [("weather", {"city": "東京", "days": 3})], ""),
    ("llama", "<|python_start|>[now()]<|python_end|>", [("now", {})], ""),
    ("llama", '{"colour": "red"}', [], '{"colour": "red"}'),
    ("llama", "[1, 2, 3]", [], "[1, 2, 3]"),
    ("llama", "  The sea is {wide}.", [], "  The sea is {wide}."),
    (
        "gemma",
        "<start_function_call>call:weather{city:<escape>a, {b}<escape>,days:2}<end_function_call>",
        [("weather", {"city": "a, {b}", "days": 2})],
        "",
    ),
    (
        "gemma",
        '<|tool_call>call:weather{city:<|"|>東京<|"|>,hours:[{from:1,to:<|"|>x<|"|>}]}<tool_call|>',
        [("weather", {"city": "東京", "hours": [{"from": 1, "to": "x"}]})],
        "",
    ),
    ("gemma", "<start_function_call>call:now{}<end_function_call>", [("now", {})], ""),
    (
        "deepseek",
        'Wait.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"city": "東京"}\n```'
        "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>",
        [TOKYO, ("now", {})],
        "Wait.",
    ),
    (
        "deepseek",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "東京"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [TOKYO, ("now", {})],
        "",
    ),
    ("deepseek", "<｜tool▁call▁begin｜>gone<｜tool▁sep｜>{}", [], "<｜tool▁call▁begin｜>gone<｜tool▁sep｜>{}"),
    (
        "olmo",
        'Yes.\n<function_calls>\nweather(city="東京")\nnow()\n</function_calls>',
        [TOKYO, ("now", {})],
        "Yes.",
    ),
    (
        "olmo",
        "<function_calls>weather('東京', days=3)</function_calls>",
        [("weather", {"city": "東京", "days": 3})],
        "",
    ),
    ("olmo", "<function_calls>gone()</function_calls>", [], "<function_calls>gone()</function_calls>"),
    (
        "invoke",
        'Wait.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n'
        '<｜DSML｜parameter name="city" string="true">a\n<b> "1"</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="now">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
        [("weather", {"city": 'a\n<b> "1"', "days": 2}), ("now", {})],
        "Wait.",
    ),
    (
        "invoke",
        '<｜DSML｜tool_calls><｜DSML｜invoke name="weather">{"city": "東京"}</｜DSML｜invoke></｜DSML｜tool_calls>',
        [TOKYO],
        "",
    ),
    (  # without the tag around the calls; a string by its mark, though the schema would take a number
        "invoke",
        '<｜DSML｜invoke name="weather"><｜DSML｜parameter name="hours" string="true">3</｜DSML｜parameter>'
        "</｜DSML｜invoke>",
        [("weather", {"hours": "3"})],
        "",
    ),
    (
        "invoke",
        '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">東京</parameter>\n'
        '<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>',
        [("weather", {"city": "東京", "days": 2})],
        "",
    ),
    ("invoke", '<｜DSML｜invoke name="gone"></｜DSML｜invoke>', [], '<｜DSML｜invoke name="gone"></｜DSML｜invoke>'),
    ("forced", '{"name": "weather", "arguments": {"city": "東京"}}', [TOKYO], ""),
    ("forced", '[{"name": "now", "arguments": {}}, {"name": "now", "arguments": {}}]', [("now", {})] * 2, ""),
]


@pytest.mark.parametrize(("form", "text", "calls", "content"), ANSWERS)
def test_calls_and_content(form: str, text: str, calls: list, content: str) -> None:
    """As a whole, and letter by letter: streamed and whole answers are the same."""
    for pieces in ([text], list(text)):
        found, reasoning, found_calls, reader = read(pieces, form)
        assert found.strip() == content.strip()
        assert values(found_calls) == calls
        assert all(call.complete for call in reader.calls)
        assert reader.finish_reason("stop") == ("tool_calls" if calls else "stop")
        assert reasoning == ""


WORDS = [
    "a",
    "<",
    "tool",
    "<tool_call>",
    "</tool_call>",
    HERMES_CALL,
    "<tool_",
    '{"name"',
    "海",
    "\n",
    "<function=now>",
    "}",
]


@given(st.sampled_from(sorted(FORMS)), st.lists(st.sampled_from(WORDS), max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_pieces_are_read_as_the_whole(form: str, parts: list[str], data: st.DataObject) -> None:
    """However an answer is cut into pieces, content and calls are the same."""
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)) | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts)]
    assert read(pieces, form)[:3] == read([text], form)[:3]


@pytest.mark.parametrize(("form", "text", "calls", "content"), [a for a in ANSWERS if a[2]])
def test_a_cut_call_is_a_call_with_partial_arguments(form: str, text: str, calls: list, content: str) -> None:
    """Wherever max_tokens cuts: no markup leaks once the name is known, and what is written begins what would be."""
    whole = read([text], form)[2]
    for end in range(len(text)):
        _, _, found, reader = read([text[:end]], form)
        assert len(found) <= len(whole)
        for (name, arguments), (right, all_arguments) in zip(found, whole, strict=False):
            assert name == right
            assert all_arguments.startswith(arguments)
        if found and not reader.calls[-1].complete:
            assert reader.finish_reason("length") == "length"


def test_a_cut_call_needs_its_name_only() -> None:
    assert read(['{"name": "weather", "argum'], "forced")[2] == [("weather", "")]
    assert read(['<tool_call>{"name": "weather", "arguments": {"ci'])[:3] == ("", "", [("weather", '{"ci')])
    assert read(['<tool_call>{"name": "weath'])[:3] == ('<tool_call>{"name": "weath', "", [])


def test_content_does_not_wait_longer_than_it_must() -> None:
    reader = AnswerReader(SCHEMAS)
    assert reader.push("see<to") == [ContentPiece("see")]
    assert reader.push("day>") == [ContentPiece("<today>")]


def test_arguments_come_as_they_are_written() -> None:
    reader = AnswerReader(SCHEMAS)
    assert reader.push('<tool_call>{"name": "weather", "arguments": ') == []
    start, beginning = reader.push('{"city": "Par')
    assert isinstance(start, CallPiece)
    assert (start.index, start.name, start.arguments) == (0, "weather", "")
    assert beginning == CallPiece(0, '{"city": "Par')
    assert reader.push('is"}}') == [CallPiece(0, 'is"}')]
    xml = AnswerReader(SCHEMAS, FORMS["xml"])
    assert len(xml.push("<function=weather><parameter=city>a</parameter><parameter=days>")) == 2
    assert xml.push("2</parameter>") == [CallPiece(0, ', "days": 2')]


def test_a_single_call_is_the_only_one() -> None:
    content, _, calls, _ = read([f"{HERMES_CALL}\n{HERMES_CALL}"], parallel=False)
    assert (content, len(calls)) == ("", 1)


def test_ids_are_what_the_template_takes() -> None:
    reader = read(["[TOOL_CALLS]now{}"], "mistral")[3]
    assert len(reader.calls[0].id) == 9
    assert reader.calls[0].id.isalnum()


@pytest.mark.parametrize(
    ("text", "thinking", "reasoning", "content"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", False, "Hm.\n", "Yes."),
        ("Hm.</think>Yes.", True, "Hm.", "Yes."),
        ("<think>Hm.</think>Yes.", True, "Hm.", "Yes."),  # the model opens it once more
        ("\n<think>Hm", False, "Hm", ""),  # cut
        ("Yes <think>x</think>", False, "", "Yes <think>x</think>"),
        ("<th", False, "", "<th"),
        ("", False, "", ""),
    ],
)
def test_reasoning_is_apart(text: str, thinking: bool, reasoning: str, content: str) -> None:
    for pieces in ([text], list(text)):
        assert read(pieces, reasoning=THINK, thinking=thinking)[:2] == (content, reasoning)
    found = read([text + HERMES_CALL], reasoning=THINK, thinking=thinking)
    assert len(found[2]) == (1 if text == "" or "</think>" in text else len(found[2]))


TEMPLATES = {
    "{% if tools %}<tool_call>{% endif %}": "hermes",
    "{% if tools %}<tool_call><function=f><parameter=a>{% endif %}": "xml",
    "{{ tools }}[TOOL_CALLS]": "mistral",
    '{{ tools }}<|tool_call|>{{ "x" }}': "granite",
    '{{ tools }}{"parameters": 1}<function_call>': "granite",
    "{{ tools }}functools[{}]": "granite",
    "{{ tools }}<TOOLCALL>": "nemotron",
    "{{ tools }}'<|tool_call>call:'": "gemma",
    '{{ tools }}{"name": function name, "parameters": dictionary}': "llama",
    "{{ tools }}<|python_tag|>": "llama",
    "{{ tools }}[func_name1(params_name1=params_value1)]": "llama",
    "{{ tools }}<start_function_call>call:": "gemma",
    "{{ messages }}[TOOL_CALLS]": "hermes",  # knows no tools, so they are described in our words
    "{{ tools }}": "hermes",
    "{{ tools }}'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'": "deepseek",
    "{{ tools }}'<function_calls>'": "olmo",
    "{{ tools }}'<｜DSML｜function_calls>'": "invoke",
    "{{ tools }}'<minimax:tool_call><invoke name=…><parameter='": "invoke",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_says_which_form(template: str) -> None:
    assert form_of(template).name == TEMPLATES[template]
    assert reasoning_tags(template) is None
    assert reasoning_tags(template + "{{ content.split('</think>')[-1] }}") == THINK
