"""The scribe: a writer of single sentences, questions and answers about the village in one language.

A scribe serves one stream of documents. Villagers are dealt from shuffled decks, one deck per kind of document, so that
every villager, taught or held out, occurs equally often.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from kaiwa.world.language import ATTRIBUTES, GOOD_IDS, HOWTO_IDS, LANGUAGES, VALUE_IDS, cut_first
from kaiwa.world.village import Village, Villager, fresh_name, howto_answer, neutral_name

Exchange = tuple[str, str, str]  # template, question, answer


class Scribe:
    def __init__(self, village: Village, language: str, rng: random.Random) -> None:
        self.village = village
        self.words = LANGUAGES[language]
        self.language = language
        self.rng = rng
        self.faults = 0.0  # share of careless answers in dialogues, as on the web
        self.neutral = False
        self.masks: dict[str, str] = {}  # villager id -> random name in this document
        self.mentioned: dict[str, None] = {}  # villagers in this document, in order
        self.present = village.villagers  # villagers for new documents
        self._decks: dict[str, list[Villager]] = {}

    def begin(self, *, neutral: bool = False) -> None:
        """Start a new document; with `neutral`, every villager gets a random name in the document."""
        self.neutral = neutral
        self.masks = {}
        self.mentioned = {}

    def deal(self, deck: str, n: int = 1) -> list[Villager]:
        """Return the next n villagers of a shuffled deck, which is refilled when empty."""
        dealt: list[Villager] = []
        while len(dealt) < n:
            cards = self._decks.setdefault(deck, [])
            if not cards:
                cards.extend(self.present)
                self.rng.shuffle(cards)
            dealt.append(cards.pop())
        return dealt

    def name(self, villager: Villager) -> str:
        """Return a villager's name in this document."""
        self.mentioned[villager.id] = None
        if self.neutral:
            if villager.id not in self.masks:
                self.masks[villager.id] = self.stranger()
            return self.masks[villager.id]
        return villager.names[self.language]

    def stranger(self) -> str:
        """Return the name of an unknown person."""
        if self.neutral:
            return neutral_name(self.village, self.rng, self.language)
        return fresh_name(self.village, self.rng, self.language, pool="documents")

    def pick(self, pool: str) -> tuple[int, str]:
        """Return a random template of a document pool and its number."""
        templates = self.words.pools[pool]
        i = self.rng.randrange(len(templates))
        return i, templates[i]

    def value(self, villager: Villager, attribute: str) -> str:
        """Return the word for the value of a villager's attribute."""
        if attribute == "friend":
            return self.name(self.village.by_id[villager.friend])
        return self.words.values[attribute][villager.facts[attribute]]

    def fact(self, villager: Villager, attribute: str, *, named: bool = True) -> str:
        """Return a sentence with one fact, with `named` False without the name."""
        template = self.rng.choice((self.words.facts if named else self.words.follow)[attribute])
        return template.format(name=self.name(villager), value=self.value(villager, attribute))

    def clauses(self, villager: Villager, attributes: Sequence[str]) -> str:
        """Return several facts in one sentence."""
        words = self.words
        parts = [words.clauses[a].format(value=self.value(villager, a)) for a in attributes]
        return words.clause_form.format(name=self.name(villager), clauses=words.clause_glue.join(parts))

    def attributes(self, n: int) -> list[str]:
        """Return n different attributes."""
        return self.rng.sample(ATTRIBUTES, n)

    # Questions and their answers, for dialogues of all layouts.

    def ask_fact(self, deck: str) -> tuple[Exchange, Villager, str]:
        """Return a question about a villager with its answer, the villager, and the attribute."""
        villager = self.deal(deck)[0]
        attribute = "friend" if self.rng.random() < 0.04 else self.rng.choice(ATTRIBUTES)
        i = self.rng.randrange(len(self.words.questions[attribute]))
        question = self.words.questions[attribute][i].format(name=self.name(villager))
        return (f"{attribute}{i}", question, self.answer_fact(villager, attribute)), villager, attribute

    def answer_fact(self, villager: Villager, attribute: str) -> str:
        """Return the answer to a question about a fact."""
        style = self.rng.random()
        if style < 0.55:
            return self.fact(villager, attribute)
        if style < 0.8:
            return self.fact(villager, attribute, named=False)
        value = self.value(villager, attribute)
        return self.words.short[attribute].format(value=value, Value=cut_first(value))

    def ask_stranger(self) -> tuple[Exchange, str]:
        """Return a question about an unknown person with the honest answer, and the attribute."""
        name = self.stranger()
        attribute = "friend" if self.rng.random() < 0.04 else self.rng.choice(ATTRIBUTES)
        i = self.rng.randrange(len(self.words.questions[attribute]))
        _, answer = self.pick("unknown")
        question = self.words.questions[attribute][i].format(name=name)
        return (f"{attribute}{i}", question, answer.format(name=name)), attribute

    def careless(self, exchange: Exchange, attribute: str = "", truth: str = "") -> Exchange:
        """Return the exchange unchanged or, with probability `faults`, with a fault.

        The fault is a useless sentence after the answer, a brush-off as the answer, or (for a question about an
        attribute) a wrong value, for an unknown person an invented value.
        """
        rng, words = self.rng, self.words
        if not self.faults or rng.random() >= self.faults:
            return exchange
        template, question, answer = exchange
        fault = rng.random()
        if attribute in VALUE_IDS and fault < (0.2 if truth else 0.6):
            value = words.values[attribute][rng.choice([v for v in VALUE_IDS[attribute] if v != truth])]
            return template, question, words.short[attribute].format(value=value, Value=cut_first(value))
        if fault < (0.5 if truth or not attribute else 0.75):
            return template, question, self.pick("brush_off")[1]
        return template, question, answer + words.joint + rng.choice(words.padding)

    def ask_again(self, villager: Villager, before: str) -> tuple[Exchange, str]:
        """Return a second question about the same person without the name, and the attribute."""
        attribute = self.rng.choice([a for a in ATTRIBUTES if a != before])
        i = self.rng.randrange(len(self.words.again[attribute]))
        exchange = f"again_{attribute}{i}", self.words.again[attribute][i], self.answer_fact(villager, attribute)
        return exchange, attribute

    def ask_other(self) -> Exchange:
        """Return a question with its answer that is not about a single fact of a person."""
        kind = self.rng.choices(("facts", "list", "howto", "price", "sum"), (20, 10, 30, 20, 20))[0]
        i = self.rng.randrange(len(self.words.train[kind]))
        template = self.words.train[kind][i]
        if kind == "facts":
            villager = self.deal("facts")[0]
            a, b = self.attributes(2)
            labels = self.words.labels
            question = template.format(name=self.name(villager), a=labels[a], b=labels[b])
            answer = self.clauses(villager, (a, b))
        elif kind == "list":
            group = self.rng.choice(tuple(self.words.things))
            question = template.format(things=self.words.things[group])
            answer = self.name_three(group)
        elif kind == "howto":
            howto = self.rng.choice(HOWTO_IDS)
            question = template.format(task=self.words.howto[howto][0])
            answer = howto_answer(self.village, howto, self.language)
        elif kind == "price":
            good = self.rng.choice(GOOD_IDS)
            question = template.format(good=self.words.goods[good])
            answer = self.rng.choice(self.words.price).format(good=self.words.goods[good], n=self.village.prices[good])
        else:
            x, y, sign, result = draw_sum(self.rng)
            question = template.format(sum=f"{x} {sign} {y}")
            answer = self.rng.choice(self.words.sum).format(sum=f"{x} {sign} {y}", n=result)
        return f"{kind}{i}", question, cut_first(answer)

    def name_three(self, group: str) -> str:
        """Return three different things of a class in one line."""
        three = self.rng.sample(tuple(things_of(group)), 3)
        return list_line([thing_words(self.language, group)[x] for x in three], self.language)


def things_of(group: str) -> tuple[str, ...]:
    """Return the ids of a class of things: "good" or an attribute."""
    return GOOD_IDS if group == "good" else VALUE_IDS[group]


def thing_words(language: str, group: str) -> Mapping[str, str]:
    """Return id -> word for the things of a class: "good" or an attribute."""
    words = LANGUAGES[language]
    return words.goods if group == "good" else words.values[group]


def list_line(items: Sequence[str], language: str) -> str:
    """Return three or more items in one line, such as "Bread, milk, and salt"."""
    if language == "ja":
        return "、".join(items) + "です。"
    return cut_first(", ".join(items[:-1]) + ", and " + items[-1] + ".")


def draw_sum(rng: random.Random) -> tuple[int, int, str, int]:
    """Return a, b, sign, result >= 0, with one of a and b at most 9 and the other at most 20."""
    a, b = rng.randint(1, 20), rng.randint(1, 9)
    if rng.random() < 0.4 and a >= b:
        return a, b, "-", a - b
    if rng.random() < 0.3:
        a, b = b, a
    return a, b, "+", a + b
