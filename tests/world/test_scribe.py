"""The scribe: whom it writes about, under which name, what it asks and answers, and its faults."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.world.language import ATTRIBUTES, GOOD_IDS, LANGUAGES, VALUE_IDS
from kaiwa.world.names import pool_of
from kaiwa.world.read import Claim, normalise, read
from kaiwa.world.scribe import Scribe, draw_sum, list_line, thing_words, things_of
from kaiwa.world.village import Village


def scribe(village: Village, language: str = "en", seed: int = 0) -> Scribe:
    return Scribe(village, language, random.Random(seed))


def test_everybody_is_dealt_once_a_deck_and_decks_are_apart(village: Village) -> None:
    writer, n = scribe(village), len(village.villagers)
    first = writer.deal("entry", n)
    assert Counter(v.id for v in first) == Counter(v.id for v in village.villagers)
    second = [writer.deal("entry")[0] for _ in range(n)]
    assert {v.id for v in second} == {v.id for v in first}
    assert [v.id for v in second] != [v.id for v in first]
    assert Counter(v.id for v in writer.deal("diary", n)) == Counter(v.id for v in village.villagers)


def test_only_those_present_are_dealt(village: Village) -> None:
    writer = scribe(village)
    writer.present = village.villagers[:3]
    assert {v.id for v in writer.deal("entry", 9)} == {v.id for v in village.villagers[:3]}


def test_a_neutral_document_has_one_new_name_for_each_villager(village: Village) -> None:
    writer, (one, two) = scribe(village), village.villagers[:2]
    writer.begin()
    assert writer.name(one) == one.names["en"]
    writer.begin(neutral=True)
    masks = [writer.name(one), writer.name(two), writer.name(one)]
    assert masks[0] == masks[2] != masks[1]
    assert not {m.lower() for m in masks} & set(village.by_name)
    assert list(writer.mentioned) == [one.id, two.id]  # who is meant is known all the same
    writer.begin(neutral=True)
    assert writer.name(one) != masks[0]
    assert list(writer.mentioned) == [one.id]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_strangers_are_nobody_and_of_the_documents_pool(village: Village, language: str) -> None:
    writer = scribe(village, language)
    strangers = [writer.stranger() for _ in range(50)]
    assert not {name.lower() for name in strangers} & set(village.by_name)
    if language == "en":
        assert {pool_of(name) for name in strangers} == {"documents"}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_is_written_of_a_villager_is_true(village: Village, language: str) -> None:
    writer = scribe(village, language)
    for villager in village.villagers[:12]:
        name = villager.names[language]
        for attribute in ATTRIBUTES:
            expected = Claim(name, attribute, villager.facts[attribute])
            assert read(normalise(writer.fact(villager, attribute)), language, name).claims == [expected]
            follow = read(normalise(writer.fact(villager, attribute, named=False)), language).claims
            assert follow == [Claim("", attribute, villager.facts[attribute])]
        two = writer.clauses(villager, ("trade", "food"))
        assert {(c.attribute, c.value) for c in read(normalise(two), language, name).claims} == {
            ("trade", villager.facts["trade"]), ("food", villager.facts["food"]),
        }  # fmt: skip


def test_a_question_is_about_the_villager_that_is_returned(village: Village) -> None:
    writer = scribe(village)
    for _ in range(60):
        (_, question, answer), villager, attribute = writer.ask_fact("deck")
        assert villager.names["en"] in question
        if attribute != "friend":
            claims = read(normalise(answer), "en", villager.names["en"]).claims
            assert [(c.attribute, c.value) for c in claims] == [(attribute, villager.facts[attribute])]
        (_, again, _), other = writer.ask_again(villager, attribute)
        assert other != attribute
        assert villager.names["en"] not in again


def test_of_a_stranger_the_honest_answer_is_that_nobody_knows(village: Village) -> None:
    writer = scribe(village)
    for _ in range(30):
        (_, question, answer), attribute = writer.ask_stranger()
        assert attribute in (*ATTRIBUTES, "friend")
        assert question.strip()
        assert read(normalise(answer), "en").unknown


def test_faults_at_their_limits(village: Village) -> None:
    writer = scribe(village)
    exchange = ("t", "What does Norivan do?", "A baker.")
    assert all(writer.careless(exchange, "trade", "baker") == exchange for _ in range(50))
    writer.faults = 1.0
    answers = [writer.careless(exchange, "trade", "baker")[2] for _ in range(600)]
    assert "A baker." not in answers
    kinds = Counter(
        "false"
        if (c := read(normalise(a), "en").claims) and c[0].value != "baker"
        else "padded"
        if c
        else "brushed off"
        for a in answers
    )
    shares = [kinds[kind] / len(answers) for kind in ("false", "brushed off", "padded")]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.07)  # 3.4 standard deviations of 600 draws
    strangers = [writer.careless(("t", "q", "I don't know."), "trade")[2] for _ in range(600)]
    invented = sum(bool(read(normalise(a), "en").claims) for a in strangers)
    assert invented / 600 == pytest.approx(0.6, abs=0.07)
    assert {writer.careless(exchange)[1] for _ in range(5)} == {"What does Norivan do?"}  # the question stays


@given(st.integers(0, 10_000))
def test_sums_stay_small_and_are_right(seed: int) -> None:
    a, b, sign, result = draw_sum(random.Random(seed))
    assert result == (a + b if sign == "+" else a - b) >= 0
    assert min(a, b) <= 9
    assert max(a, b) <= 20


def test_sums_of_all_kinds_occur() -> None:
    rng = random.Random(0)
    drawn = [draw_sum(rng) for _ in range(400)]
    assert {sign for _, _, sign, _ in drawn} == {"+", "-"}
    assert any(a < b for a, b, sign, _ in drawn if sign == "+")


def test_three_things_in_one_line(village: Village) -> None:
    assert list_line(["bread", "milk", "salt"], "en") == "Bread, milk, and salt."
    assert list_line(["パン", "牛乳", "塩"], "ja") == "パン、牛乳、塩です。"
    writer = scribe(village)
    for group in LANGUAGES["en"].things:
        names = [part for part in re.split(r", (?:and )?", writer.name_three(group).rstrip(".").lower()) if part]
        known = {word.lower() for word in thing_words("en", group).values()}
        assert len(set(names)) == 3
        assert set(names) <= known
    assert things_of("good") == GOOD_IDS
    assert things_of("animal") == VALUE_IDS["animal"]
