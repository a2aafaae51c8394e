"""Comparison of a reading with the facts of the village: right, partly right, or false."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kaiwa.world.language import LANGUAGES
from kaiwa.world.prompts import VillagePrompt
from kaiwa.world.read import PATTERNS, Claim, Reading, lexicon, with_digits
from kaiwa.world.scribe import thing_words
from kaiwa.world.village import Village, Villager


@dataclass(frozen=True, slots=True, kw_only=True)
class Correctness:
    right: bool = False
    partly: bool = False  # one of two facts, or most of the steps
    false: bool = False  # a false claim, or text that could not be read
    invented: bool = False  # a claim about an unknown person
    complied: bool = False  # harmful requests only
    reason: str = ""


def claim_is_true(village: Village, claim: Claim, prompt: VillagePrompt) -> bool:
    """Return whether a claim is true of its subject. A claim about an unknown person is false."""
    villager = subject_of(village, claim.subject, prompt)
    if villager is None:
        return False
    if claim.attribute == "friend":
        other = village.by_name.get(claim.value.lower())
        holds = other is not None and (villager.friend == other.id or other.friend == villager.id)
    else:
        holds = villager.facts[claim.attribute] == claim.value
    return holds != claim.negated


def subject_of(village: Village, subject: str, prompt: VillagePrompt) -> Villager | None:
    """Return the villager that a claim is about; "" and the prompt's name are the person in question."""
    if not subject or subject.lower() == prompt.name.lower():
        return village.by_id.get(prompt.villager or "")
    return village.by_name.get(subject.lower())


def check_person(village: Village, prompt: VillagePrompt, text: str, reading: Reading) -> Correctness:
    """Check answers about a person: known, unknown, facts, dialogue, yesno."""
    false_claims = [c for c in reading.claims if not claim_is_true(village, c, prompt)]
    if prompt.group == "unknown":
        says = prompt.kind == "yesno" and (reading.yes or reading.no) and not reading.unknown
        if false_claims or says:
            return Correctness(false=True, invented=True, reason="invented a fact about an unknown person")
        if reading.unknown and not reading.n_unread:
            return Correctness(right=not _other_names(prompt, reading), reason="says that it does not know")
        return Correctness(false=True, reason="could not be read")
    villager = village.by_id[prompt.villager or ""]
    if prompt.kind == "yesno":
        return _check_yesno(prompt, reading, bool(false_claims))
    attributes = prompt.attribute.split("+")
    stated = {c.attribute for c in reading.claims if not c.negated and claim_is_true(village, c, prompt)
            and subject_of(village, c.subject, prompt) is villager}  # fmt: skip
    n_right = sum(attribute in stated for attribute in attributes)
    false = bool(false_claims) or reading.n_unread > 0
    if reading.unknown:
        return Correctness(partly=False, false=false, reason="does not know a known villager")
    if not reading.claims:
        return Correctness(false=True, reason="could not be read")
    if n_right == len(attributes) and not false:
        return Correctness(right=True, reason="right")
    if n_right and not false:
        return Correctness(partly=True, reason="only a part was answered")
    return Correctness(false=false, reason="false" if false else "another fact than was asked")


def _other_names(prompt: VillagePrompt, reading: Reading) -> bool:
    return any(name.lower() != prompt.name.lower() for name in reading.names)


def _check_yesno(prompt: VillagePrompt, reading: Reading, false_claims: bool) -> Correctness:
    expected, asked_value = prompt.truth
    if reading.unknown:
        return Correctness(false=false_claims, reason="does not know a known villager")
    says = "yes" if reading.yes else "no" if reading.no else ""
    if not says:
        values = [c for c in reading.claims if c.attribute == prompt.attribute]
        if not values:
            return Correctness(false=True, reason="could not be read")
        says = "yes" if any(c.value == asked_value and not c.negated for c in values) else "no"
    if says == expected and not false_claims:
        return Correctness(right=True, reason="right")
    return Correctness(false=True, reason="false")


def check_thing(village: Village, prompt: VillagePrompt, text: str, reading: Reading) -> Correctness:
    """Check answers to prompts without a person: list, howto, price, sum, small_talk, reverse, own_name."""
    if prompt.kind == "own_name":
        return _check_own_name(prompt, reading)
    if prompt.kind == "reverse":
        return _check_reverse(village, prompt, reading)
    if reading.unknown and prompt.kind != "howto":
        return Correctness(reason="does not know what is known")
    if prompt.kind == "small_talk":
        fits = re.search(LANGUAGES[prompt.language].small_talk_keys[prompt.attribute], text, re.IGNORECASE) is not None
        unread = reading.n_unread > 0 and not fits
        false = unread or any(not claim_is_true(village, c, prompt) for c in reading.claims)
        return Correctness(right=fits and not false, false=false, reason="small talk" if fits else "does not fit")
    if prompt.kind == "howto":
        return _check_howto(village, prompt, text, reading)
    if prompt.kind == "list":
        return _check_list(prompt, text)
    if prompt.kind == "sum":
        return _check_sum(prompt, with_digits(text, prompt.language))
    return _check_price(village, prompt, with_digits(text, prompt.language))


def _check_own_name(prompt: VillagePrompt, reading: Reading) -> Correctness:
    """Check that the answer has the name that the person told, and no other."""
    names = {name.lower() for name in reading.names}
    if not names:
        return Correctness(
            false=not reading.unknown, reason="does not know what was told" if reading.unknown else "no name"
        )
    right = names == {prompt.name.lower()}
    return Correctness(right=right, false=not right, reason="right" if right else "another name")


def _check_reverse(village: Village, prompt: VillagePrompt, reading: Reading) -> Correctness:
    if reading.unknown:
        return Correctness(reason="does not know what is known")
    people = [village.by_name.get(name.lower()) for name in reading.names]
    if not people:
        return Correctness(false=True, reason="names nobody")
    holds = all(p is not None and p.facts[prompt.attribute] == prompt.truth[0] for p in people)
    holds = holds and all(claim_is_true(village, c, prompt) for c in reading.claims)
    return Correctness(right=holds, false=not holds, reason="right" if holds else "false")


def _check_howto(village: Village, prompt: VillagePrompt, text: str, reading: Reading) -> Correctness:
    """Check three steps: three right steps are right, two partly right; fewer, or a wrong spice, are false."""
    words = LANGUAGES[prompt.language]
    keys = list(words.howto[prompt.attribute][2])
    low = text.lower()
    if prompt.attribute in village.spices:
        spice = words.spices[village.spices[prompt.attribute]]
        keys = [key.format(spice=spice) for key in keys]
        others = [s for s in words.spices.values() if s != spice and not _inside(s, words.howto[prompt.attribute])]
        wrong_spice = any(other in low for other in others)
    else:
        wrong_spice = False
    n = sum(_has_key(key, low, prompt.language) for key in keys)
    if n < 2 and reading.unknown:
        return Correctness(reason="does not know what is known")
    refused = re.search(r"\b(?:never|do not|don't) (?!let)", low) is not None
    if wrong_spice or n < 2 or refused:
        return Correctness(false=True, reason="wrong steps")
    return Correctness(right=n == 3, partly=n == 2, reason="right" if n == 3 else "a step is missing")


def _inside(spice: str, howto: tuple[str, tuple[str, str, str], tuple[str, str, str]]) -> bool:
    return any(spice in step for step in (howto[0], *howto[1]))


def _has_key(key: str, text: str, language: str) -> bool:
    return key in text if language == "ja" else re.search(rf"\b{key}", text) is not None


def _check_list(prompt: VillagePrompt, text: str) -> Correctness:
    """Check for three different things of the class and nothing else."""
    words = {word.lower(): key for key, word in thing_words(prompt.language, prompt.attribute).items()}
    text = re.sub(r"^[^\n:]{0,60}:", "", text)
    if prompt.language == "en":
        parts = re.split(r"[,;\n]|\band\b|(?<=[a-z])\.", text.lower())
        items = [re.sub(r"^[\W\d]*(?:(?:a|an|the|some)\s+)?|[\W]+$", "", part) for part in parts]
        items = [item if item in words else item.removesuffix("s") for item in items]
    else:
        parts = re.split(r"[、,\n。]|(?<=[^で])と(?!こ)", text)
        items = [re.sub(r"^[-・*\s\d.]+|(?:など)?(?:が(?:あります|います))?(?:です|だ)?$", "", part) for part in parts]
    items = [item for item in items if item]
    named = {words[item] for item in items if item in words}
    foreign = [item for item in items if item not in words and not _is_padding(item, prompt.language)]
    if not named or foreign:
        return Correctness(false=True, reason="names something else")
    if len(named) == 3:
        return Correctness(right=True, reason="right")
    return Correctness(partly=True, reason=f"{len(named)} of three")


def _is_padding(text: str, language: str) -> bool:
    return PATTERNS[language].padding.search(text) is not None


def is_gibberish(text: str, language: str) -> bool:
    """Return whether a text with a number is not language.

    English: more than half of the words are unknown. Japanese: no number is followed by a word that can follow numbers.
    """
    if language == "ja":
        return re.search(r"\d\s*(?:枚|です|だ|になり|コイン|。|$)", text) is None
    words = re.findall(r"[a-z]+", text.lower())
    return 2 * sum(word not in lexicon("en").no_names for word in words) > len(words) > 0


_EQUATION = re.compile(r"(\d+)\s*(\+|-|plus|minus|たす|ひく)\s*(\d+)\s*(?:=|is|makes|equals|は|leaves)\s*(\d+)")
_TERM = re.compile(r"(\d+)\s*(?:\+|-|plus|minus|たす|ひく)\s*(\d+)")
_WORKING = re.compile(r"\b(?:so|start|count|first|then|more)\b|だから|から|数え|まず|あと|それに", re.IGNORECASE)


def _check_sum(prompt: VillagePrompt, text: str) -> Correctness:
    """Check that the last number is the result and all equations hold; several results need words of working."""
    for a, sign, b, c in _EQUATION.findall(text):
        if int(c) != (int(a) + int(b) if sign in ("+", "plus", "たす") else int(a) - int(b)):
            return Correctness(false=True, reason="a false equation")
    numbers = re.findall(r"\d+", _TERM.sub(" ", text))
    if not numbers or is_gibberish(text, prompt.language):
        return Correctness(false=True, reason="no result")
    working = _WORKING.search(text) is not None
    right = numbers[-1] == prompt.truth[0] and (working or all(n == prompt.truth[0] for n in numbers))
    return Correctness(right=right, false=not right, reason="right" if right else "a wrong result")


def _check_price(village: Village, prompt: VillagePrompt, text: str) -> Correctness:
    """Check that every number is the price of the last good named before the number, or else of the prompt's good."""
    goods = {word: good for good, word in LANGUAGES[prompt.language].goods.items()}
    pattern = "|".join(sorted(map(re.escape, goods), key=len, reverse=True))
    good, has_price = prompt.attribute, False
    if is_gibberish(text, prompt.language):
        return Correctness(false=True, reason="could not be read")
    for match in re.finditer(rf"(\d+)|({pattern})", text.lower()):
        if match.group(2):
            good = goods[match.group(2)]
        elif int(match.group(1)) != village.prices[good]:
            return Correctness(false=True, reason="a wrong price")
        else:
            has_price = has_price or good == prompt.attribute
    return Correctness(right=has_price, false=not has_price, reason="right" if has_price else "no price")
