"""Fixes that lint can make by itself: over the words of a text, and over a prompt's elements.

A fix changes what its rule speaks of and nothing else. Whether it helps is another question: `kaiwa lab lint --verify`
asks the model on the user's items, `kaiwa lab advice` on items of ours.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from kaiwa.lab.experiments.lint import lint_prompt
from kaiwa.lab.experiments.lint_text import ODD_SPACE, REWARD, STEPS
from kaiwa.lab.tasks.prompt import Example, Prompt

FLUFF = re.compile(
    r"\b(?:please |kindly |i would like you to |could you (?:please )?|very |really |basically,? )"
    r"|できれば、?|恐れ入りますが、?",
    re.IGNORECASE,
)
POLITE_JA = re.compile(r"(?:して|を)?お願いできますでしょうか")
JINJA = re.compile(r"\{\{\{?\s*([A-Za-z_][\w.]*)\s*\}?\}\}")
CAPITALS = re.compile(r"\b[A-Z]{4,}\b")
INDICATORS = {"en": "Answer:", "ja": "答え:"}


def _sentence_case(text: str) -> str:
    return re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match[1] + match[2].upper(), text)


def _without_fluff(text: str) -> str:
    return _sentence_case(POLITE_JA.sub("してください", FLUFF.sub("", text)))


def _without_shouting(text: str) -> str:
    """Return the text in small letters where words were in capitals, and with one exclamation mark at most."""
    plain = re.sub(r"[!！]{2,}", lambda match: match[0][0], text)
    return (
        _sentence_case(CAPITALS.sub(lambda match: match[0].lower(), plain))
        if len(CAPITALS.findall(plain)) > 2
        else plain
    )


def _without_sentence(text: str, inside: str) -> str:
    """Return the text without the sentences that hold a pattern; the space before each stays."""
    sentence = rf"([ \t]*)(?:[^\s.!?。！？][^.!?。！？\n]*?)?(?:{inside})[^.!?。！？\n]*[.!?。！？]?[ \t]*"
    return re.sub(sentence, r"\1", text, flags=re.IGNORECASE)


def _end_trimmed(text: str) -> str:
    """Return a prompt file's text without spaces at the end of its output_indicator and leading_words."""
    return re.sub(r'(?m)((?:output_indicator|leading_words)\s*=\s*"(?:[^"\\\n]|\\.)*?)[ \t]+"', r'\1"', text)


TEXT_FIXES: Mapping[str, Callable[[str], str]] = {
    "template": lambda text: JINJA.sub(r"{\1}", text),
    "shouting": _without_shouting,
    "reward-or-threat": lambda text: _without_sentence(text, REWARD.pattern),
    "steps-and-only": lambda text: _without_sentence(text, STEPS.pattern),
    "double-space": lambda text: ODD_SPACE.sub(" ", text),
    "fluff": _without_fluff,
    "trailing-space": _end_trimmed,
}
FILE_FIXES = {name: fix for name, fix in TEXT_FIXES.items() if name != "steps-and-only"}  # a file may need its steps


def _examples_once(prompt: Prompt) -> Prompt:
    return dataclasses.replace(prompt, examples=tuple({e.input: e for e in reversed(prompt.examples)}.values())[::-1])


def _examples_mixed(prompt: Prompt) -> Prompt:
    """Return the prompt with its examples in turn over the labels, so that no label ends the list twice."""
    waiting: dict[str, list[Example]] = {}
    for example in prompt.examples:
        waiting.setdefault(example.output, []).append(example)
    groups = list(waiting.values())
    longest = max(map(len, groups), default=0)
    mixed = [group[i] for i in range(longest) for group in groups if i < len(group)]
    return dataclasses.replace(prompt, examples=tuple(mixed))


PROMPT_FIXES: Mapping[str, Callable[[Prompt], Prompt]] = {
    "instruction-last": lambda p: dataclasses.replace(p, order=("instruction", "context", "examples", "input")),
    "no-delimiters": lambda p: dataclasses.replace(p, delimiters="tags"),
    "no-format": lambda p: dataclasses.replace(p, output_indicator=INDICATORS.get(p.language, INDICATORS["en"])),
    "trailing-space": lambda p: dataclasses.replace(
        p, output_indicator=p.output_indicator.rstrip(), leading_words=p.leading_words.rstrip()
    ),
    "same-example": _examples_once,
    "recent-label": _examples_mixed,
}
FIXABLE = tuple(dict.fromkeys((*PROMPT_FIXES, *TEXT_FIXES)))


def fix_prompt(prompt: Prompt, rule: str) -> Prompt:
    """Return the prompt with one rule's fault mended; unchanged where the rule has no fix or nothing to mend."""
    if all(remark.rule != rule for remark in lint_prompt(prompt)):
        return prompt
    if rule in PROMPT_FIXES:
        return PROMPT_FIXES[rule](prompt)
    if rule not in TEXT_FIXES:
        return prompt
    fix = TEXT_FIXES[rule]
    return dataclasses.replace(
        prompt, instruction=fix(prompt.instruction), context=fix(prompt.context), system=fix(prompt.system)
    )


def fix_text(text: str) -> tuple[str, list[str]]:
    """Return a file's text with every fix over words, and the rules whose fix changed something."""
    rules = []
    for rule, fix in FILE_FIXES.items():
        after = fix(text)
        if after != text:
            rules.append(rule)
        text = after
    return text, rules
