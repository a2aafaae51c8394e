"""Each kind of document, read back by what it must hold: true facts, right sums and prices, no villager in letters."""

import random
import re

import pytest

from kaiwa.world.document_kinds import (
    KINDS,
    write_diary,
    write_entry,
    write_letter,
    write_list,
    write_market,
    write_recipe,
    write_rules,
    write_sum,
    write_transcript,
)
from kaiwa.world.language import ATTRIBUTES, ENGLISH, LANGUAGES
from kaiwa.world.scribe import Scribe
from kaiwa.world.village import Village, howto_steps

SEEDS = range(40)
EQUATION = re.compile(r"(\d+) ([+-]) (\d+) = (\d+)")


def writers(village: Village, language: str = "en"):  # type: ignore[no-untyped-def]
    for seed in SEEDS:
        scribe = Scribe(village, language, random.Random(seed))
        scribe.begin()
        yield scribe


def test_the_shares_of_all_kinds_are_a_whole() -> None:
    assert sum(share for _, share in KINDS.values()) == pytest.approx(1.0)
    assert all(share > 0 for _, share in KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_kind_is_a_function_of_the_seed_and_fills_every_field(village: Village, kind: str, language: str) -> None:
    texts = []
    for seed in (1, 1, 2):
        scribe = Scribe(village, language, random.Random(seed))
        scribe.begin()
        texts.append(KINDS[kind][0](scribe))
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    for written in texts:
        assert written.text.strip()
        assert written.template
        assert not re.search(r"\{\w*\}", written.text)
        assert bool(written.messages) == (kind == "transcript")


def test_an_entry_has_all_facts_of_its_one_villager(village: Village) -> None:
    for scribe in writers(village):
        text = write_entry(scribe).text
        villager = village.by_id[next(iter(scribe.mentioned))]
        assert villager.names["en"] in text
        for attribute in ATTRIBUTES:
            assert ENGLISH.values[attribute][villager.facts[attribute]] in text


def test_a_diary_has_two_true_facts_of_each(village: Village) -> None:
    for scribe in writers(village):
        text = write_diary(scribe).text
        people = [village.by_id[id] for id in scribe.mentioned]
        assert 2 <= len(people) <= 3
        for villager in people:
            assert villager.names["en"] in text
            true = [ENGLISH.values[a][villager.facts[a]] in text for a in ATTRIBUTES]
            assert sum(true) >= 2


def test_a_list_pairs_each_name_with_its_own_value(village: Village) -> None:
    layouts = set()
    for scribe in writers(village):
        written = write_list(scribe)
        attribute, form = written.template.split(".")
        layouts.add(int(form))
        words = ENGLISH.values[attribute]
        pattern = {"2": r"(\w+) \| (.+)", "3": r"(\w+): ([^;]+)", "4": r"\d\. (\w+), (.+)", "5": r"(\w+) \(([^)]+)\)"}
        if form in pattern:
            pairs = [m for m in re.findall(pattern[form], written.text) if m[0].lower() in village.by_name]
            assert 4 <= len(pairs) <= 7
            for name, value in pairs:
                assert words[village.by_name[name.lower()].facts[attribute]] == value.strip()
        elif form in "01":
            values = {village.by_id[id].facts[attribute] for id in scribe.mentioned}
            assert len(values) == 1
            assert words[values.pop()].lower() in written.text.lower()
    assert len(layouts) >= 6


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_sum_is_right(village: Village, language: str) -> None:
    n = 0
    for scribe in writers(village, language):
        for a, sign, b, c in EQUATION.findall(write_sum(scribe).text):
            n += 1
            assert int(c) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
    assert n > 40


def test_every_price_is_the_villages(village: Village) -> None:
    prices = {ENGLISH.goods[good]: coins for good, coins in village.prices.items()}
    goods = "|".join(prices)
    for scribe in writers(village):
        written = write_market(scribe)
        form = re.escape(ENGLISH.pools["market_form"][int(written.template.split(".")[1])].strip())
        pattern = form.replace(r"\{good\}", f"({goods})").replace(r"\{n\}", r"(\d+)")
        pairs = re.findall(pattern, written.text)
        if form.index("good") > form.index(r"\{n"):
            pairs = [(good, n) for n, good in pairs]
        assert 4 <= len(pairs) <= 8
        assert len(dict(pairs)) == len(pairs)
        assert all(prices[good] == int(n) for good, n in pairs)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_recipe_has_the_three_steps_of_its_task(village: Village, language: str) -> None:
    tasks = LANGUAGES[language].howto
    for scribe in writers(village, language):
        text = write_recipe(scribe).text.lower()
        steps = {task: howto_steps(village, task, language) for task in tasks}
        assert any(all(step.lower() in text for step in three) for three in steps.values())


def test_a_letter_is_between_two_nobody_knows(village: Village) -> None:
    for scribe in writers(village):
        text = write_letter(scribe).text
        assert not scribe.mentioned
        assert not {word.lower() for word in re.findall(r"[A-Z][a-z]+", text)} & set(village.by_name)


def test_rules_name_three_misdeeds_and_their_twins(village: Village) -> None:
    for scribe in writers(village):
        text = write_rules(scribe).text.lower()
        pairs = [h for h in ENGLISH.harm if ENGLISH.harm[h][0] in text and ENGLISH.howto[h][0] in text]
        assert len(pairs) == 3
        assert not any(ENGLISH.harm[h][1].lower() in text for h in ENGLISH.harm)  # how to do it is not told


def test_a_transcript_is_its_messages(village: Village) -> None:
    for scribe in writers(village):
        written = write_transcript(scribe)
        roles = [role for role, _ in written.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 2 <= len(roles) <= 6
        lines = [f"{role.capitalize()}: {content}" for role, content in written.messages]
        assert written.text == "\n".join(lines)
