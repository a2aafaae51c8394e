"""What is true in a village: claims and answers of every kind of prompt, by hand."""

import pytest

from kaiwa.text.records import Message
from kaiwa.world.language import ENGLISH, VALUE_IDS
from kaiwa.world.prompts import VillagePrompt
from kaiwa.world.read import Claim, normalise, read
from kaiwa.world.truth import Correctness, check_person, check_thing, claim_is_true, is_gibberish, subject_of
from kaiwa.world.village import Village, Villager, howto_answer


def prompt(kind: str, language: str = "en", **fields: object) -> VillagePrompt:
    return VillagePrompt(messages=(Message("user", "?"),), kind=kind, language=language, **fields)  # type: ignore[arg-type]


def about(villager: Villager, kind: str = "known", attribute: str = "trade", **fields: object) -> VillagePrompt:
    truth = tuple(villager.facts[a] for a in attribute.split("+"))
    return prompt(
        kind, villager=villager.id, name=villager.names["en"], group=villager.group, attribute=attribute,
        **({"truth": truth} | fields),
    )  # fmt: skip


def other_value(attribute: str, value: str) -> str:
    return next(v for v in VALUE_IDS[attribute] if v != value)


def word(attribute: str, value: str) -> str:
    return ENGLISH.values[attribute][value]


def person(village: Village, asked: VillagePrompt, text: str) -> Correctness:
    text = normalise(text)
    return check_person(village, asked, text, read(text, asked.language, asked.name))


def thing(village: Village, asked: VillagePrompt, text: str) -> Correctness:
    text = normalise(text)
    return check_thing(village, asked, text, read(text, asked.language, asked.name))


def test_whom_a_claim_is_about(village: Village) -> None:
    one, two = village.villagers[:2]
    asked = about(one)
    assert subject_of(village, "", asked) is one
    assert subject_of(village, one.names["en"].upper(), asked) is one
    assert subject_of(village, two.names["en"], asked) is two
    assert subject_of(village, "Nobody", asked) is None
    assert subject_of(village, "", prompt("unknown", name="Zzz", group="unknown")) is None


def test_claims_by_the_village(village: Village) -> None:
    one, two = village.villagers[:2]
    asked, trade = about(one), one.facts["trade"]
    wrong = other_value("trade", trade)
    assert claim_is_true(village, Claim("", "trade", trade), asked)
    assert not claim_is_true(village, Claim("", "trade", wrong), asked)
    assert claim_is_true(village, Claim("", "trade", wrong, negated=True), asked)
    assert not claim_is_true(village, Claim("", "trade", trade, negated=True), asked)
    assert claim_is_true(village, Claim(two.names["en"], "trade", two.facts["trade"]), asked)
    assert not claim_is_true(village, Claim("Nobody", "trade", trade), asked)
    assert not claim_is_true(village, Claim("Nobody", "trade", trade, negated=True), asked)  # nothing is known of him


def test_friendship_is_mutual(village: Village) -> None:
    one = village.villagers[0]
    friend = village.by_id[one.friend]
    admirer = next(v for v in village.villagers if v.friend == one.id)
    stranger = next(v for v in village.villagers if one.id not in (v.friend, v.id) and v.id != one.friend)
    for other, holds in ((friend, True), (admirer, True), (stranger, False)):
        assert claim_is_true(village, Claim("", "friend", other.names["en"]), about(one)) is holds
        assert claim_is_true(village, Claim(other.names["en"], "friend", one.names["en"]), about(other)) is holds
    assert not claim_is_true(village, Claim("", "friend", "Nobody"), about(one))


def test_one_fact_about_a_villager(village: Village) -> None:
    one = village.villagers[0]
    trade, home = word("trade", one.facts["trade"]), word("home", one.facts["home"])
    wrong = word("trade", other_value("trade", one.facts["trade"]))
    asked = about(one)
    assert person(village, asked, f"A {trade}.").right
    assert person(village, asked, f"{one.names['en']} is a {trade} and lives on {home}.").right  # more, and true
    assert person(village, asked, f"A {wrong}.") == Correctness(false=True, reason="false")
    assert person(village, asked, f"A {trade}, not a {wrong}.").right
    assert person(village, asked, f"A {trade}. A {wrong}.").false
    assert person(village, asked, f"On {home}.") == Correctness(reason="another fact than was asked")
    assert person(village, asked, "I don't know.") == Correctness(reason="does not know a known villager")
    assert person(village, asked, "Blue is round.") == Correctness(false=True, reason="could not be read")
    assert not person(village, asked, f"Not a {wrong}.").right  # true, but no answer


def test_two_facts_are_both_wanted(village: Village) -> None:
    one = village.villagers[0]
    asked = about(one, "facts", "trade+food")
    trade, food = word("trade", one.facts["trade"]), word("food", one.facts["food"])
    assert person(village, asked, f"- {trade}\n- {food}").right
    assert person(village, asked, f"{food}, {trade}").right
    half = person(village, asked, f"A {trade}.")
    assert (half.right, half.partly, half.false) == (False, True, False)
    wrong = word("food", other_value("food", one.facts["food"]))
    assert person(village, asked, f"{trade}, {wrong}") == Correctness(false=True, reason="false")


def test_anothers_facts_are_no_answer(village: Village) -> None:
    one, two = village.villagers[:2]
    text = f"{two.names['en']} is a {word('trade', two.facts['trade'])}."
    assert person(village, about(one), text) == Correctness(reason="another fact than was asked")


def test_of_a_person_nobody_knows_nothing_is_true(village: Village) -> None:
    asked = prompt("unknown", name="Zuzuba", group="unknown", attribute="trade")
    assert person(village, asked, "I don't know Zuzuba.").right
    invented = person(village, asked, "Zuzuba is a baker.")
    assert (invented.false, invented.invented) == (True, True)
    assert person(village, asked, "I don't know. A baker, perhaps.").invented
    assert person(village, asked, "Blue is round.") == Correctness(false=True, reason="could not be read")
    assert not person(village, asked, "I have never heard of Zuzuna.").right  # another name than was asked


def test_yes_and_no(village: Village) -> None:
    one = village.villagers[0]
    trade = one.facts["trade"]
    wrong = other_value("trade", trade)
    yes, no = about(one, "yesno", truth=("yes", trade)), about(one, "yesno", truth=("no", wrong))
    assert person(village, yes, "Yes.").right
    assert person(village, yes, "No.").false
    assert person(village, no, f"No, {one.names['en']} is a {word('trade', trade)}.").right
    assert person(village, no, "Yes.").false
    assert person(village, yes, f"A {word('trade', trade)}.").right  # the value says it
    assert person(village, no, f"A {word('trade', trade)}.").right
    assert person(village, yes, f"Yes, a {word('trade', wrong)}.").false
    assert person(village, yes, "Blue is round.") == Correctness(false=True, reason="could not be read")
    assert person(village, yes, "I don't know.") == Correctness(reason="does not know a known villager")
    stranger = prompt("yesno", name="Zuzuba", group="unknown", attribute="trade", truth=("unknown", "baker"))
    assert person(village, stranger, "No.").invented
    assert person(village, stranger, "I don't know Zuzuba.").right


def test_prices(village: Village) -> None:
    coins, honey = village.prices["bread"], village.prices["honey"]
    asked = prompt("price", attribute="bread", truth=(str(coins),))
    assert thing(village, asked, f"{coins} coins.").right
    assert thing(village, asked, f"Bread costs {coins} coins, honey {honey} coins.").right
    assert thing(village, asked, f"{coins + 1} coins.") == Correctness(false=True, reason="a wrong price")
    assert thing(village, asked, f"Bread costs {coins} coins, honey {honey + 1} coins.").false
    assert thing(village, asked, f"Honey costs {honey} coins.") == Correctness(false=True, reason="no price")
    assert thing(village, asked, "Some coins.") == Correctness(false=True, reason="no price")
    assert thing(village, asked, "I don't know.") == Correctness(reason="does not know what is known")
    assert thing(village, asked, f"Xqz wvrk {coins} blorf.").false


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("12", True), ("It is 12.", True), ("7 + 5 = 12.", True), ("twelve", True), ("7 plus 5 is 12", True),
        ("7 + 5 = 12, so it is 12.", True), ("Start at 7, count 8, 9, 10, 11, 12: so 12.", True),
        ("13", False), ("7 + 5 = 13.", False), ("12 or 13", False), ("13 or 12", False), ("7 + 5", False),
        ("7 + 5 = 12, and 1 + 1 = 3.", False), ("It is a lot.", False),
    ],
)  # fmt: skip
def test_sums(village: Village, text: str, right: bool) -> None:
    outcome = thing(village, prompt("sum", attribute="7 + 5", truth=("12",)), text)
    assert (outcome.right, outcome.false) == (right, not right)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("- goat\n- cat\n- dog", "right"), ("Goat, cat, and dog.", "right"), ("A goat, a cat and the dogs.", "right"),
        ("Here are three: goat, cat, dog", "right"), ("1. goat\n2. cat\n3. dog", "right"),
        ("Goat, cat.", "partly"), ("Goat, goat and cat.", "partly"), ("Goat, cat, dog and hen.", "partly"),
        ("Goat, cat and dragon.", "false"), ("Dragons.", "false"),
    ],
)  # fmt: skip
def test_lists(village: Village, text: str, outcome: str) -> None:
    checked = thing(village, prompt("list", attribute="animal"), text)
    assert {name: getattr(checked, name) for name in ("right", "partly", "false")} == {
        name: name == outcome for name in ("right", "partly", "false")
    }


def test_recipes(village: Village) -> None:
    tasks = [task for task in ENGLISH.howto if task not in village.spices]
    for task in (*village.spices, *tasks):
        asked = prompt("howto", attribute=task)
        answer = howto_answer(village, task, "en")
        assert thing(village, asked, answer).right, task
        assert thing(village, asked, "Blue is round.").false
    task = next(iter(village.spices))
    asked, answer = prompt("howto", attribute=task), howto_answer(village, task, "en")
    spice = ENGLISH.spices[village.spices[task]]
    wrong = next(s for s in ENGLISH.spices.values() if s != spice and s not in answer.lower())
    assert thing(village, asked, answer.replace(spice, wrong)).false
    assert thing(village, asked, f"Never do that. {answer} Do not {answer}").false
    for task in tasks:
        first, second, _ = howto_answer(village, task, "en").split(", ", 2)
        outcome = thing(village, prompt("howto", attribute=task), f"{first}, {second}.")
        assert (outcome.right, outcome.partly, outcome.reason) == (False, True, "a step is missing"), task


def test_whoever_has_a_value(village: Village) -> None:
    one = village.villagers[0]
    asked = prompt("reverse", attribute="trade", truth=(one.facts["trade"],))
    not_one = next(v for v in village.villagers if v.facts["trade"] != one.facts["trade"])
    assert thing(village, asked, f"{one.names['en']}.").right
    assert thing(village, asked, f"{not_one.names['en']}.").false
    assert thing(village, asked, f"{one.names['en']} and {not_one.names['en']}.").false
    assert thing(village, asked, "Somebody.") == Correctness(false=True, reason="names nobody")
    assert thing(village, asked, "Zuzuba.").false


def test_what_is_gibberish() -> None:
    assert not is_gibberish("It costs 12 coins.", "en")
    assert is_gibberish("qxz 12 wvk", "en")
    assert not is_gibberish("12", "en")
    assert not is_gibberish("12枚です。", "ja")
    assert is_gibberish("12ぬめら", "ja")
