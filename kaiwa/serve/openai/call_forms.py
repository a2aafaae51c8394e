"""The forms in which models write tool calls and reasoning: each is taught by the model's chat template.

    Hermes, Qwen, ours      <tool_call>{"name": "f", "arguments": {…}}</tool_call>
    Qwen3-Coder             <tool_call><function=f><parameter=a>…</parameter></function></tool_call>
    Mistral                 [TOOL_CALLS][{"name": "f", "arguments": {…}}] or [TOOL_CALLS]f[ARGS]{…}
    Granite, Phi-4-mini     <|tool_call|>[{"name": "f", "arguments": {…}}], <function_call>{…}, functools[{…}]
    Nemotron                <TOOLCALL>[{…}]</TOOLCALL>
    LLaMA 3 and 4           {"name": "f", "parameters": {…}} or [f(a=1, b="x")], as the whole answer
    Gemma                   <start_function_call>call:f{a:1,b:<escape>x<escape>}<end_function_call>
    DeepSeek V3, R1         <｜tool▁call▁begin｜>function<｜tool▁sep｜>f, then the arguments in a fence of JSON
    DeepSeek V3.1           <｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜>
    DeepSeek V3.2           <｜DSML｜function_calls><｜DSML｜invoke name="f"><｜DSML｜parameter name="a" string="true">…
    MiniMax M2              <minimax:tool_call><invoke name="f"><parameter name="a">…</parameter></invoke>
    OLMo 3                  <function_calls>, a line f(a=1, b="x") for each call, </function_calls>

A form is its tags and whether calls may begin the answer without a tag; the body of a call is recognised by how it
begins (call_bodies.py). Many tags are special tokens, whose text an answer normally does not show: `markers` has them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallForm:
    """tags: texts that begin calls. ends: texts that end them. inner: other texts within them. quotes: texts around
    strings, in Gemma's form.

    lines: calls follow each other without a tag between. bare: calls may be the whole answer, without a tag. short_ids:
    the template takes ids of 9 letters and digits only.
    """

    name: str
    tags: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    lines: bool = False
    bare: bool = False
    short_ids: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        """The texts that are special tokens in the tokenizers of such models."""
        return (*self.tags, *self.ends, *self.inner, *self.quotes)


SEPARATOR = "<｜tool▁sep｜>"  # DeepSeek's
HERMES = CallForm(name="hermes", tags=("<tool_call>",), ends=("</tool_call>",))
FORCED = CallForm(name="forced", bare=True)  # the grammar's JSON is the whole answer
FORMS = {
    form.name: form
    for form in (
        HERMES,
        FORCED,
        CallForm(name="xml", tags=("<tool_call>", "<function="), ends=("</function>", "</tool_call>")),
        CallForm(name="mistral", tags=("[TOOL_CALLS]",), inner=("[ARGS]", "[CALL_ID]"), short_ids=True),
        CallForm(
            name="granite",
            tags=("<|tool_call|>", "<tool_call>", "<function_call>", "functools["),
            ends=("<|/tool_call|>", "</tool_call>", "</function_call>"),
        ),
        CallForm(name="nemotron", tags=("<TOOLCALL>",), ends=("</TOOLCALL>",)),
        CallForm(
            name="llama",
            tags=("<|python_tag|>", "<|python_start|>", "<function="),
            ends=("<|python_end|>", "</function>"),
            bare=True,
        ),
        CallForm(
            name="gemma",
            tags=("<start_function_call>", "<|tool_call>"),
            ends=("<end_function_call>", "<tool_call|>"),
            quotes=("<escape>", '<|"|>'),
        ),
        CallForm(
            name="deepseek",
            tags=("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
            ends=("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
            inner=(SEPARATOR,),
        ),
        CallForm(
            name="invoke",
            tags=("<｜DSML｜function_calls>", "<｜DSML｜tool_calls>", "<｜DSML｜invoke ", "<minimax:tool_call>"),
            ends=("</｜DSML｜function_calls>", "</｜DSML｜tool_calls>", "</minimax:tool_call>"),
            inner=("｜DSML｜",),
        ),
        CallForm(name="olmo", tags=("<function_calls>",), ends=("</function_calls>",), lines=True),
    )
}
# In this order: the first whose sign stands in the template.
SIGNS = (
    ("｜DSML｜", "invoke"),
    ("<｜tool▁call▁begin｜>", "deepseek"),
    ("<minimax:tool_call>", "invoke"),
    ("<function_calls>", "olmo"),
    ("[TOOL_CALLS]", "mistral"),
    ("<start_function_call>", "gemma"),
    ("<|tool_call>", "gemma"),
    ("<|tool_call|>", "granite"),
    ("<function_call>", "granite"),
    ("functools[", "granite"),
    ("<TOOLCALL>", "nemotron"),
    ("<parameter=", "xml"),
    ("<tool_call>", "hermes"),
    ("python_tag", "llama"),
    ("python_start", "llama"),
    ("func_name1(", "llama"),
    ('"parameters": ', "llama"),
)
REASONING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))


@dataclass(frozen=True, slots=True)
class AnswerMarkup:
    """How an answer is read: its form of calls, the tags around its reasoning, and whether the prompt opened it."""

    form: str = HERMES.name
    reasoning: tuple[str, str] | None = None
    thinking: bool = False


PLAIN = AnswerMarkup()


OWN_BEGINNING = {
    "<function=": 0,
    "<｜DSML｜invoke ": 0,
    "functools[": len("functools"),
}  # tags whose end is the beginning of the call itself


def form_of(template: str | None) -> CallForm:
    """Return the form taught by a chat template; Hermes' where it teaches none, which tools.INSTRUCTIONS then does."""
    if template is None or "tools" not in template:
        return HERMES
    return FORMS[next((name for sign, name in SIGNS if sign in template), "hermes")]


def reasoning_tags(template: str | None) -> tuple[str, str] | None:
    """Return the texts around a model's reasoning, by its template; None for a model that does not reason."""
    return next((tags for tags in REASONING if template is not None and tags[1] in template), None)
