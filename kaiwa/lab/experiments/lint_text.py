"""Lint rules over the words of a prompt, English and Japanese: for prompts by elements, plain text and chat messages.

A rule is a pattern with a level, an id and a sentence. Nothing that is read is run. How often each rule speaks on
harmless instructions is in docs/lab.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kaiwa.core.errors import UserError
from kaiwa.lab.tasks.rows import read_text
from kaiwa.lab.tasks.variables import BLOCK

LONGEST = 20_000  # characters of a prompt that rules look at


@dataclass(frozen=True, slots=True)
class TextRule:
    """A rule: where `pattern` is found, and `beside` too if given, the remark is made."""

    level: str
    id: str
    pattern: re.Pattern[str]
    text: str
    beside: re.Pattern[str] | None = None


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


NAMED = re.compile(r"\{\{\{?\s*[A-Za-z_][\w.]*\s*(?:\|[^{}]*)?\}?\}\}")  # Jinja's and mustache's variable
STEPS = _words(r"step[- ]by[- ]step|ステップ(?:に|ごと)|段階的に|順を追って")
ODD_SPACE = re.compile(r"(?<=[a-z,]) {3,}(?=[a-z])|[^\S\n\t ]")
REWARD = _words(
    r"\b(?:i['’]?ll|i will|you(?:['’]ll| will)) (?:tip|pay|be (?:fired|penali[sz]ed|rewarded))|\$\d+ tip"
    r"|my (?:job|life|career) depends|チップを(?:払|あげ)"
)
RULES = (
    TextRule(
        "error",
        "secret",
        re.compile(
            r"\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}|\bxox[bp]-[\w-]{10,}"
            r"|-----BEGIN [A-Z ]*PRIVATE KEY"
        ),
        "{match!r:.12}… looks like a key; take it out, prompts are sent and kept in files",
    ),
    TextRule(
        "error",
        "special-token",
        re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|user|assistant|system)\|>|\[/?INST\]|<</?SYS>>"),
        "{match!r} is a chat template's own mark; give the text only, the template is put around it",
    ),
    TextRule("error", "template", NAMED, "{match!r} is another tool's variable; write {{column}}"),
    TextRule("error", "template", BLOCK, "{match!r} begins another tool's block; write plain text with {{column}}"),
    TextRule(
        "error",
        "placeholder",
        re.compile(
            r"\b(?:TODO|FIXME|XXX|TBD)\b|(?i:lorem ipsum|<insert\b|\[(?:your|insert|add)\b[^\]]*\])"
            r"|ここに(?:入力|記入)"
        ),
        "{match!r} was left to be filled in; write what belongs there",
    ),
    TextRule(
        "warn",
        "shouting",
        re.compile(r"(?:\b[A-Z]{4,}\b[^A-Za-z]+){3,}|!!|！！"),
        "{match!r:.30} shouts; say it once, plainly",
    ),
    TextRule(
        "warn",
        "steps-and-only",
        STEPS,
        "{match!r} asks for working and the prompt for the answer alone; keep one of the two",
        _words(
            r"\bonly (?:the |your )?(?:final )?(?:answer|label|number|letter)|\b(?:in )?one word\b"
            r"|一語だけ|答えだけ|答えのみ|記号のみ"
        ),
    ),
    TextRule(
        "warn",
        "long-and-short",
        _words(r"\b(?:in detail|detailed|thorough(?:ly)?|comprehensive)\b|詳しく|詳細に"),
        "{match!r} and a wish for few words contradict each other; say how many words",
        _words(r"\b(?:brief(?:ly)?|concise(?:ly)?|short|in (?:one|a) (?:word|sentence))\b|簡潔に|短く|手短に"),
    ),
    TextRule(
        "warn",
        "mixed-style",
        re.compile(r"(?:[てで]ください|しましょう|です。|ます。)"),
        "polite and plain endings stand side by side; keep です・ます or だ・である",
        re.compile(r"(?:せよ|しろ|であること|とする|である)[。\n]"),
    ),
    TextRule(
        "warn",
        "reward-or-threat",
        REWARD,
        "{match!r} adds nothing that was shown to help; leave it out, or measure it as an arm",
    ),
    TextRule(
        "warn",
        "double-space",
        ODD_SPACE,
        "an odd space ({match!r}) splits tokens differently",
    ),
)  # fmt: skip


class PromptFault(NamedTuple):
    """A rule that a prompt breaks. match: the words it speaks of; element: or the part of a prompt."""

    level: str
    rule: str
    text: str
    match: str = ""
    element: str = ""


def text_faults(text: str) -> Iterator[PromptFault]:
    """Yield every rule that a text breaks."""
    part = text[:LONGEST]
    seen_rules: set[str] = set()
    for rule in RULES:
        match = rule.pattern.search(part)
        if match is None or rule.id in seen_rules or (rule.beside is not None and not rule.beside.search(part)):
            continue
        seen_rules.add(rule.id)
        yield PromptFault(rule.level, rule.id, rule.text.format(match=match[0]), match[0])
    for fence in ("```", '"""'):
        if text.count(fence) % 2:
            yield PromptFault("warn", "unclosed", "a code fence or triple quotes are opened and not closed", fence)
            break
    if len(text) > LONGEST:
        yield PromptFault("warn", "long", f"{len(text):,} characters; only the first {LONGEST:,} were looked at")


def read_texts(path: Path, text: str | None = None) -> list[tuple[str, str]]:
    """Read a plain text, or chat messages as JSON, as (place, text) pairs. `text`: the content, else the file's."""
    content = read_text(path) if text is None else text
    if not content.lstrip().startswith(("[", "{")):
        return [(str(path), content)]
    try:
        value = json.loads(content)
    except ValueError:
        return [(str(path), content)]
    messages = value.get("messages", ()) if isinstance(value, dict) else value
    if not all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages) or not messages:
        raise UserError(f"{path}: JSON of messages is a list of {{'role', 'content'}}")
    return [(f"{path}, message {i} ({m.get('role', '?')})", m["content"]) for i, m in enumerate(messages, 1)]
