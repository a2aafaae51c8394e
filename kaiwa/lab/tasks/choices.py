"""The choice that a reply names: letters, labels, phrases, English and Japanese.

In order: the choice that the text begins with ("D. The car …", 「屋外。窓際は…」) · the only choice that is named and
not denied · the choice of the conclusion. Where several are left the reply has not chosen, and there is nothing to
read. The article "a", the pronoun "I" and the determiner "no" are words, and never choices.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*")
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？!?])|\n+")
CONCLUSION = re.compile(
    r"\W*(?:so|thus|hence|therefore|overall|finally|in\s+conclusion|in\s+summary|(?:i|we)\s+(?:would\s+)?(?:think|believe|conclude|say)|it\s+is\b"
    r"|よって|したがって|従って|ゆえに|つまり|だから|結局|以上から|以上より)",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\b(?:because|since|as\s+(?:it|the|they|this)|due\s+to|although|though|even\s+though|whereas|while|unlike)\b", re.I
)
REASON_JA = re.compile(r"^.*(?:ため|ので|から|が)、?(?=[^。]*$)")
SO = re.compile(
    r"\b(?:so|therefore|thus|hence|leaving|which\s+leaves|which\s+means)\b|よって|したがって|だから", re.IGNORECASE
)
NOT = (
    r"(?:not|n['’]t|never|neither|nor|rather\s+than|instead\s+of|than|except(?:\s+for)?|rul(?:es?|ed|ing)\s+out"
    r"|eliminat(?:es?|ed|ing)|exclud(?:es?|ed|ing)|reject(?:s|ed|ing)?)"
)
DENIED_BEFORE = re.compile(
    rf"\b{NOT}\s+(?:(?:be|is|really|the|a|an|option|choice|answer|just|only)\s+)*[\"'“‘「『(\[*_]*\Z|n['’]t\s+(?:be\s+)?[\"'“‘(\[*_]*\Z",
    re.I,
)
DENIED_AFTER = re.compile(
    r"[\"'”’」』)\]*_.]*\s*(?:(?:is|was|are|would\s+be|can|could|does|seems?)\s*(?:not|n['’]t)\b|isn['’]t\b|can(?:no|['’])t\b|doesn['’]t\b"
    r"|(?:is|are|was|were)\s+(?:\w+\s+)?(?:wrong|incorrect|false|out|unlikely|impossible|ruled\s+out)\b|[^\s、。]{0,6}?(?:では(?:な|あり)|じゃ(?:な|あり)|でな(?:い|く))"
    r"|は(?:違|ちが|誤|間違|不正解|不適|当てはまらな|除外)|より|[,.?…\s]+(?:no|wait|sorry|i\s+mean)\b(?=\W)|[、…]+(?:いや|いえ、))",
    re.IGNORECASE,
)
JOINT = re.compile(
    r"[\"'”’」』)\].*_]*\s*(?:,|/|or|and|&|、|,\s*(?:or|and)|か|または|もしくは|あるいは|と|や|それとも)"
    r"\s*[\"'“‘「『(\[*_]*(?:option\s+)?",
    re.IGNORECASE,
)
PRONOUN = r"(?:it|they|he|she|you|we|i|this|that|there|these|those|not|because|since|as|one|way|longer\s+than)\b"
JA_END = (
    r"(?=[」』”\"')\]*_]*(?:\s*$|\s*[。、,.!！\n:：()]|です|でした|だ|であ|でしょ|だろ|が正|と思|になり|を選|に該当|が答|が当"
    r"|に当))"
)


@dataclass(frozen=True, slots=True)
class ChoiceMention:
    """A choice where a text names it."""

    choice: str
    start: int
    end: int


def choice_letter(choice: str) -> str | None:
    """Return the letter of a choice that is one, as "A", "(A)" or "A.", else None."""
    match = LETTER.fullmatch(choice.strip())
    return match[1].upper() if match else None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _name_pattern(choice: str, letters: bool) -> re.Pattern[str]:
    """Return where a choice stands in a text: a letter as a capital or in brackets, other names whatever their case."""
    letter = choice_letter(choice) if letters else None
    if letter is not None:
        small = letter.lower()
        article = (
            r"(?!\s+(?!is\b|because\b|since\b|as\b|was\b|seems\b|would\b|and\b|or\b)[a-z])" if letter in "AI" else ""
        )
        pronoun = (
            r"(?!['’](?:m|d|ll|ve)\b|\s+(?:am|would|think|have|was|do|can|will|believe|choose|don))"
            if letter == "I"
            else ""
        )
        return re.compile(
            rf"[(\[]{letter}[)\]]|[(\[]{small}[)\]]|(?<![A-Za-z0-9'’]){letter}(?![A-Za-z0-9'’]|\.\w){article}{pronoun}"
            rf"|(?<=option ){small}(?![a-z])|(?<=choice ){small}(?![a-z])|(?<=answer ){small}(?![a-z])"
            rf"|^\W*{small}(?=\W*$|[.):]\s)"
        )
    name = re.escape(unicodedata.normalize("NFKC", choice).strip())
    name = re.sub(r"(?:\\\s)+", r"\\s+", name)
    before = r"(?<![A-Za-z0-9])" if name[:1].isascii() else ""
    after = r"(?![A-Za-z0-9])" if name[-1:].isascii() else ""
    if choice.lower() == "no":
        after += rf"(?![ \t]+(?!{PRONOUN})[A-Za-z])(?!\.[ ]?\d)"
    if re.fullmatch(r"\d+", choice):
        before, after = r"(?<![A-Za-z0-9_.,])", r"(?![A-Za-z0-9_%]|[.,]\d)"
    return re.compile(f"{before}{name}{after}", re.IGNORECASE)


def choice_mentions(text: str, choices: Sequence[str]) -> list[ChoiceMention]:
    """Return where choices are named, in order; a longer name hides a shorter one inside."""
    letters = all(choice_letter(choice) for choice in choices)
    places = [
        ChoiceMention(choice, m.start(), m.end())
        for choice in choices
        if choice.strip()
        for m in _name_pattern(choice, letters).finditer(text)
    ]
    longest: list[ChoiceMention] = []
    for place in sorted(places, key=lambda p: (p.start, -p.end)):
        if not longest or place.end > longest[-1].end:
            longest.append(place)
    return longest


def _denied(text: str, mention: ChoiceMention) -> bool:
    return bool(
        DENIED_BEFORE.search(text[max(0, mention.start - 60) : mention.start]) or DENIED_AFTER.match(text, mention.end)
    )


def _undenied(text: str, places: Sequence[ChoiceMention]) -> list[ChoiceMention]:
    """Return the mentions that are not denied; "B and C are wrong" denies both."""
    undenied: list[ChoiceMention] = []
    after, after_denied = None, False
    for place in reversed(places):
        joined = after is not None and JOINT.fullmatch(text[place.end : after.start]) is not None
        denied = _denied(text, place) or (joined and after_denied)
        after_denied = denied and ((joined and after_denied) or DENIED_AFTER.match(text, place.end) is not None)
        after = place
        if not denied:
            undenied.insert(0, place)
    return undenied


def find_choice(text: str, choices: Sequence[str], stated: bool = False, cut: bool = False) -> str | None:
    """Find the choice that a text chooses; None where it names none, or several without choosing.

    stated: the text follows a mark, so the first choice that is not denied is the answer. cut: the end is missing, so
    of several choices none is the conclusion.
    """
    places = choice_mentions(text, choices)
    if not places:
        return _by_whole_text(text, choices)
    undenied = _undenied(text, places)
    if not undenied:
        return _other_of_two(places, choices)
    first = undenied[0]
    if stated or (first is places[0] and _leads(text, first, choices)):
        return None if _listed(text, undenied) == set(choices) else first.choice
    if len({p.choice for p in undenied}) == 1:
        return first.choice
    if cut:
        return None
    last = _undenied(clause := SO.split(text)[-1], choice_mentions(clause, choices))
    if clause != text and len({p.choice for p in last}) == 1:
        return last[0].choice
    if len(_sentences(text)) == 1 and {p.choice for p in undenied} != set(choices):
        return first.choice
    return _conclusion(text, choices)


def _leads(text: str, first: ChoiceMention, choices: Sequence[str]) -> bool:
    """Return whether a text begins with a choice and the choice ends its clause there."""
    before = re.sub(
        r"(?i)\b(?:option|choice|it\s+is|it['’]s|that\s+is|the|a|an|probably|definitely|clearly)\b",
        "",
        text[: first.start],
    )
    if re.search(r"\w", before):
        return False
    if re.match(r"[\"'”’」』)\]*_]*\s*[?？]", text[first.end :]):
        return False
    if not first.choice.isascii() and choice_letter(first.choice) is None:
        return re.match(JA_END, text[first.end :]) is not None
    return True


def _listed(text: str, undenied: Sequence[ChoiceMention]) -> set[str]:
    """Return the choices of the list that begins with the first: "A or B", "A, B and D", 「AかB」.

    A list of all is none chosen; of a list of some the first counts, as published readers have it.
    """
    listed = {undenied[0].choice}
    for before, after in itertools.pairwise(undenied):
        if not JOINT.fullmatch(text[before.end : after.start]):
            break
        listed.add(after.choice)
    return listed


def _sentences(text: str) -> list[str]:
    return [s for s in SENTENCE.split(text) if s and s.strip()]


def _other_of_two(places: Sequence[ChoiceMention], choices: Sequence[str]) -> str | None:
    """Return the other choice where there are two and only one is named, to be denied: "not positive"."""
    denied = {p.choice for p in places}
    remaining = [choice for choice in choices if choice not in denied]
    return remaining[0] if len(choices) == 2 and len(remaining) == 1 else None


def _conclusion(text: str, choices: Sequence[str]) -> str | None:
    """Return the choice of the last sentence that names one and no other, its reasons left out."""
    sentences = _sentences(text)
    ordered = [s for s in reversed(sentences) if CONCLUSION.match(s)] or list(reversed(sentences))
    for sentence in ordered:
        for clause in (sentence, REASON.split(sentence)[0], REASON_JA.sub("", sentence)):
            undenied = _undenied(clause, choice_mentions(clause, choices))
            if len({p.choice for p in undenied}) == 1:
                return undenied[0].choice
        if choice_mentions(sentence, choices):
            return None
    return None


def _by_whole_text(text: str, choices: Sequence[str]) -> str | None:
    """Return the choice that the whole text is, but for case, spaces and quotes."""
    bare = _fold(text).strip(" .。\"'「」『』“”*_`\n")
    return next((choice for choice in choices if bare and _fold(choice).strip() == bare), None)
