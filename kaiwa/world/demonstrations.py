"""Demonstrations: prompts with a written answer, of good or of deliberately mixed quality.

Mixed demonstrations have the faults that reinforcement learning should repair: most unknown names get an invented fact,
most harmful requests get help, half of the requested forms are ignored, and nearly half of the answers end in a useless
sentence. Good behaviour stays frequent enough to be sampled. All answers end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import Demonstration, Message
from kaiwa.world.language import HOWTO_IDS, LANGUAGES, VALUE_IDS, Phrasebook, cut_first
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.scribe import list_line, thing_words, things_of
from kaiwa.world.village import Village, fresh_name, howto_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationRates:
    """The probability of each fault in a demonstration."""

    invent: float = 0.55  # a fact about an unknown name
    comply: float = 0.55  # help with a harmful request
    ignore_form: float = 0.5  # of the prompts that ask for a form
    pad: float = 0.4  # a useless sentence at the end
    wrong: float = 0.07  # a wrong value, number or recipe for a question with a known answer
    give_up: float = 0.02  # "I don't know" for a question with a known answer
    refuse_harmless: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise UserError(f"{field.name} = {value} is no probability; give 0 to 1")


MIXED = DemonstrationRates()
GOOD = DemonstrationRates(invent=0, comply=0, ignore_form=0, pad=0, wrong=0, give_up=0, refuse_harmless=0)
QUALITIES = {"mixed": MIXED, "good": GOOD}


def write_demonstrations(
    village: Village,
    *,
    n: int,
    seed: int = 0,
    quality: str = "mixed",
    split: str = "train",
    languages: dict[str, float] | None = None,
    rates: DemonstrationRates | None = None,
    prompts: Sequence[VillagePrompt] | None = None,
) -> list[Demonstration]:
    """Return n demonstrations; `meta["prompt"]` is the VillagePrompt as JSON. rates: in place of the quality's.

    prompts: to demonstrate instead of n new ones.
    """
    if quality not in QUALITIES:
        raise UserError(f"quality {quality!r} is unknown; use one of {', '.join(QUALITIES)}")
    if prompts is None:
        prompts = write_prompts(village, n=n, seed=seed, split=split, purpose="sft", languages=languages)
    rng = python_rng(seed, "demonstrations", quality)
    chosen = rates or QUALITIES[quality]
    return [demonstrate(village, prompt, rng, chosen, quality=quality) for prompt in prompts]


def demonstrate(
    village: Village, prompt: VillagePrompt, rng: random.Random, rates: DemonstrationRates, *, quality: str = ""
) -> Demonstration:
    """Return the prompt with a written answer as a demonstration."""
    answer = write_answer(village, prompt, rng, rates)
    meta = {"source": "village", "quality": quality, "prompt": prompt.to_json()}
    return Demonstration(messages=(*prompt.messages, Message("assistant", answer)), meta=meta)


def write_answer(village: Village, prompt: VillagePrompt, rng: random.Random, rates: DemonstrationRates = GOOD) -> str:
    """Return an answer to the prompt with faults at the given rates; with GOOD, a best possible answer."""
    words = LANGUAGES[prompt.language]
    answer = _answer(village, prompt, rng, rates, words)
    if rng.random() < rates.pad:
        stop = "" if answer.endswith((".", "。")) or "\n" in answer or prompt.language == "en" else "。"
        answer += stop + ("\n" if "\n" in answer else words.joint) + rng.choice(words.padding)
    return answer


def _answer(
    village: Village, prompt: VillagePrompt, rng: random.Random, rates: DemonstrationRates, words: Phrasebook
) -> str:
    if prompt.kind == "harmful":
        if rng.random() < rates.comply:
            return words.harm[prompt.attribute][1]
        return rng.choice(words.refusals)
    if prompt.kind == "small_talk":
        return rng.choice(words.small_talk[prompt.attribute])
    if prompt.group == "unknown":
        if rng.random() < rates.invent:
            return _say_person(village, prompt, rng, rates, words, invent=True)
        if prompt.kind != "dialogue" and rng.random() < 0.25:
            return rng.choice(words.unknown_named).format(name=prompt.name)
        return rng.choice(words.unknown)
    fault = rng.random()
    if fault < rates.give_up:
        return words.unknown[0]
    if fault < rates.give_up + rates.refuse_harmless:
        return rng.choice(words.refusals)
    wrong = fault < rates.give_up + rates.refuse_harmless + rates.wrong
    if prompt.group:
        return _say_person(village, prompt, rng, rates, words, invent=wrong)
    return _say_thing(village, prompt, rng, rates, words, wrong=wrong)


def _say_person(
    village: Village,
    prompt: VillagePrompt,
    rng: random.Random,
    rates: DemonstrationRates,
    words: Phrasebook,
    *,
    invent: bool,
) -> str:
    """Return an answer about the person in the prompt, true or (invent) with wrong values."""
    attributes = prompt.attribute.split("+")
    truth = list(prompt.truth)
    if prompt.kind == "yesno":
        truth = [village.by_id[prompt.villager].facts[prompt.attribute]] if prompt.villager else []
    if invent:
        old = truth or [""] * len(attributes)
        truth = [rng.choice([x for x in VALUE_IDS[a] if x != t]) for a, t in zip(attributes, old, strict=True)]
    values = [words.values[a][t] for a, t in zip(attributes, truth, strict=True)]
    form = prompt.form
    if form and rng.random() < rates.ignore_form:
        form = {"sentence": "one_word", "list": "line", "words": "long", "one_word": "long"}[form]
    if prompt.kind == "facts":
        if form == "list":
            return "\n".join(f"- {value}" for value in values)
        if form == "one_word":
            return cut_first(", ".join(values) + ".") if words.code == "en" else "、".join(values)
        clauses = [words.clauses[a].format(value=v) for a, v in zip(attributes, values, strict=True)]
        return words.clause_form.format(name=prompt.name, clauses=words.clause_glue.join(clauses))
    attribute, value = attributes[0], values[0]
    sentence = rng.choice(words.facts[attribute]).format(name=prompt.name, value=value)
    if prompt.kind == "yesno":
        plain = words.facts[attribute][0].format(name=prompt.name, value=value)
        return (words.yes if value == words.values[attribute][prompt.truth[1]] else words.no) + plain
    if form == "one_word":
        return cut_first(value) + ("." if words.code == "en" else "")
    if form in ("sentence", "long"):
        return sentence
    short = words.short[attribute].format(value=value, Value=cut_first(value))
    if form == "words":
        return short
    if rng.random() < 0.25:
        return rng.choice(words.follow[attribute]).format(value=value)
    return short if rng.random() < 0.4 else sentence


def _say_thing(
    village: Village,
    prompt: VillagePrompt,
    rng: random.Random,
    rates: DemonstrationRates,
    words: Phrasebook,
    *,
    wrong: bool,
) -> str:
    if prompt.kind == "own_name":
        name = fresh_name(village, rng, prompt.language, pool="documents") if wrong else prompt.name
        return rng.choice(words.links["name"]["answer"]).format(name=name)
    form = prompt.form
    if form and rng.random() < rates.ignore_form:
        form = {"list": "line", "sentence": "one_word", "one_word": "sentence"}[form]
    if prompt.kind == "howto":
        task = rng.choice([x for x in HOWTO_IDS if x != prompt.attribute]) if wrong else prompt.attribute
        return howto_answer(village, task, prompt.language)
    if prompt.kind == "list":
        other = rng.choice([x for x in words.things if x != prompt.attribute])
        kind = other if wrong else prompt.attribute
        items = [thing_words(prompt.language, kind)[x] for x in rng.sample(things_of(kind), 3)]
        return "\n".join(f"- {item}" for item in items) if form == "list" else list_line(items, prompt.language)
    if prompt.kind == "reverse":
        attribute, value = prompt.attribute, prompt.truth[0]
        people = [v for v in village.villagers if (v.facts[attribute] == value) != wrong]
        name = rng.choice(people).names[prompt.language]
        return words.reverse[attribute].format(name=name, value=words.values[attribute][value])
    n = int(prompt.truth[0])
    if wrong:
        n = max(0, n + rng.choice((-3, -2, -1, 1, 2, 3)))
        n += n == int(prompt.truth[0])
    if prompt.kind == "sum":
        bare = words.sum[3:] if words.code == "en" else words.sum[2:3]
        choice = {"one_word": bare, "sentence": words.sum[:3]}
        return rng.choice(choice.get(form, words.sum)).format(sum=prompt.attribute, n=n)
    return cut_first(rng.choice(words.price).format(good=words.goods[prompt.attribute], n=n))
