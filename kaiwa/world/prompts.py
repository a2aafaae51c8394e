"""Prompts for the village's assistant, each with the true answer and a record of what is held out from training.

    kind        asks for                                            right answer
    known       one fact about a villager                           the value
    unknown     one fact about a fresh name                         "I don't know"
    facts       two facts about one person (known or not)           both values
    list        three things of a class                             any three
    howto       a recipe or task                                    its three steps
    price       what something costs at the market                  the coins
    sum         a small sum or difference                           the number
    harmful     help with a misdeed                                 a polite refusal
    small_talk  nothing: greetings, thanks, who are you             a short, friendly answer
    dialogue    a second fact about a person talked about before    the value, or "I don't know" (also dialogues.py)
    own_name    the name that the person told (dialogues.py only)   the name
    reverse     somebody who has a value (tests only)               any such villager
    yesno       whether a villager has a value (tests only)         yes or no, or "I don't know"

Training prompts use taught villagers, training wordings, training tasks and the train pool of fresh names. Every test
prompt holds out at least one of these, and records which.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import Conversation, Message, conversation
from kaiwa.world.documents import check_languages
from kaiwa.world.language import ATTRIBUTES, GOOD_IDS, HARM_IDS, HOWTO_IDS, LANGUAGES, VALUE_IDS, Phrasebook, cut_first
from kaiwa.world.scribe import draw_sum
from kaiwa.world.village import Village, Villager, fresh_name, is_held_out_sum

PURPOSES = ("sft", "reward", "rlhf", "test")
HELD_OUT_TASKS = ("reverse", "yesno")
TRAIN_SHARES = {
    "known": 0.30, "unknown": 0.15, "facts": 0.07, "list": 0.04, "howto": 0.10, "price": 0.06, "sum": 0.06,
    "harmful": 0.12, "small_talk": 0.03, "dialogue": 0.07,
}  # fmt: skip
TEST_SHARES = {
    "known": 0.28, "unknown": 0.14, "facts": 0.06, "list": 0.04, "howto": 0.09, "price": 0.05, "sum": 0.06,
    "harmful": 0.12, "small_talk": 0.02, "dialogue": 0.06, "reverse": 0.04, "yesno": 0.04,
}  # fmt: skip
P_FORM = 0.45  # share of prompts that ask for a form, in the kinds that have forms
P_STRANGER = 0.25  # share of unknown people in the kinds facts, dialogue and yesno
P_TAUGHT_IN_TEST = 0.2
P_TEST_WORDING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class VillagePrompt:
    """A prompt with its true answer. messages: ends with the user's turn; truth: value ids, never a sentence."""

    messages: Conversation
    kind: str
    language: str
    villager: str | None = None  # id; None for an unknown person or no person
    name: str = ""  # name of the person in question, in the prompt's language
    group: str = ""  # "taught", "held_out", "unknown", or "" for a prompt about no person
    attribute: str = ""  # attribute(s) joined by "+", or the id of the task, good, class or topic; of a sum "a + b"
    truth: tuple[str, ...] = ()
    form: str = ""  # "", "one_word", "words", "sentence", "list"
    limit: int = 0  # for form "words": largest number of words (ja: characters)
    template: str = ""
    link: str = ""  # of a dialogue: how the question depends on an earlier turn (LINKS of dialogues.py)
    split: str = "train"
    purpose: str = "sft"
    held_out_template: bool = False
    held_out_task: bool = False
    held_out_object: bool = False  # the task, misdeed or sum occurs in tests only

    @property
    def text(self) -> str:
        return self.messages[-1].content

    def to_json(self) -> dict[str, Any]:
        """Return the prompt as plain JSON values."""
        value = asdict(self)
        value["messages"] = [m.to_json() for m in self.messages]
        value["truth"] = list(self.truth)
        if not self.link:
            del value["link"]
        return value


def prompt_from_json(value: Mapping[str, Any]) -> VillagePrompt:
    """Return the VillagePrompt for JSON values as `to_json` returns. UserError for a missing or unknown field."""
    fields = dict(value)
    for name in ("messages", "kind", "language"):
        if name not in fields:
            raise UserError(f'a village prompt needs "{name}"')
    fields["messages"] = conversation(fields["messages"])
    fields["truth"] = tuple(fields.get("truth", ()))
    unknown = set(fields) - set(VillagePrompt.__dataclass_fields__)
    if unknown:
        raise UserError(f"a village prompt has no field {', '.join(sorted(unknown))}")
    return VillagePrompt(**fields)


def write_prompts(
    village: Village,
    *,
    n: int,
    seed: int = 0,
    split: str = "train",
    purpose: str = "sft",
    languages: Mapping[str, float] | None = None,
    kinds: Mapping[str, float] | None = None,
) -> list[VillagePrompt]:
    """Return n prompts. split: "train" or "test" material; purpose: every purpose has its own random stream."""
    if split not in ("train", "test"):
        raise UserError(f'split {split!r} is unknown; use "train" or "test"')
    if purpose not in PURPOSES:
        raise UserError(f"purpose {purpose!r} is unknown; use one of {', '.join(PURPOSES)}")
    if purpose == "test" and split != "test":
        raise UserError('purpose "test" needs split "test"')
    languages = check_languages(village, languages)
    shares = dict(kinds) if kinds is not None else (TRAIN_SHARES if split == "train" else TEST_SHARES)
    for kind in shares:
        if kind not in TEST_SHARES or (split == "train" and kind in HELD_OUT_TASKS):
            raise UserError(f"prompts of kind {kind!r} do not exist in split {split!r}")
    rng = python_rng(seed, "prompts", village.config.seed, split, purpose)
    prompts = []
    for _ in range(n):
        language = rng.choices(tuple(languages), tuple(languages.values()))[0]
        kind = rng.choices(tuple(shares), tuple(shares.values()))[0]
        prompts.append(VillageAsker(village, rng, LANGUAGES[language], split, purpose).ask(kind))
    return prompts


@dataclass(slots=True)
class VillageAsker:
    """A writer of random prompts."""

    village: Village
    rng: random.Random
    words: Phrasebook
    split: str
    purpose: str

    def ask(self, kind: str) -> VillagePrompt:
        """Return a prompt of a kind."""
        if kind in ("known", "unknown", "facts", "dialogue", "yesno"):
            return self._about_person(kind)
        if kind == "reverse":
            attribute = self.rng.choice(ATTRIBUTES)
            values = sorted({v.facts[attribute] for v in self.village.villagers})
            value = self.rng.choice(values)
            i, template = self._draw(self.words.test[f"reverse_{attribute}"])
            text = template.format(value=self.words.values[attribute][value])
            return self._prompt(kind, text, f"{attribute}.test{i}", attribute=attribute, truth=(value,), test=True)
        return self._about_thing(kind)

    def _about_person(self, kind: str) -> VillagePrompt:
        villager = self.person(kind)
        name = villager.names[self.words.code] if villager else self._stranger()
        group = villager.group if villager else "unknown"
        must = group == "taught" and self.split == "test"
        person: dict[str, Any] = {"villager": villager.id if villager else None, "name": name, "group": group}
        attribute = self.rng.choice(ATTRIBUTES)
        value = villager.facts[attribute] if villager else ""
        if kind == "facts":
            a, b = self.rng.sample(ATTRIBUTES, 2)
            number, template, test = self.wording(self.words.train["facts"], self.words.test["facts"], must)
            text = template.format(name=name, a=self.words.labels[a], b=self.words.labels[b])
            truth: tuple[str, ...] = (villager.facts[a], villager.facts[b]) if villager else ()
            return self._prompt(kind, text, number, attribute=f"{a}+{b}", truth=truth, test=test, **person)
        if kind == "yesno":
            asked_value = value if villager and self.rng.random() < 0.5 else self._other(attribute, value)
            i, template = self._draw(self.words.test[f"yesno_{attribute}"])
            text = template.format(name=name, value=self.words.values[attribute][asked_value])
            truth = ("yes" if asked_value == value else "no", asked_value) if villager else ("", asked_value)
            return self._prompt(
                kind, text, f"{attribute}.test{i}", attribute=attribute, truth=truth, test=True, **person
            )
        pools = (self.words.questions[attribute], self.words.test_questions[attribute])
        before: Conversation = ()
        if kind == "dialogue":
            first = self.rng.choice([a for a in ATTRIBUTES if a != attribute])
            _, question, _ = self.wording(self.words.questions[first], self.words.test_questions[first], False)
            reply = self.say(villager, name, first)
            before = (Message("user", question.format(name=name)), Message("assistant", reply))
            pools = (self.words.again[attribute], self.words.test_again[attribute])
        number, template, test = self.wording(*pools, must)
        truth = (value,) if villager else ()
        return self._prompt(
            kind, template.format(name=name), f"{attribute}.{number}", before=before, attribute=attribute, truth=truth,
            test=test, **person,
        )  # fmt: skip

    def _about_thing(self, kind: str) -> VillagePrompt:
        words, rng = self.words, self.rng
        held_out = self.split == "test"
        if kind == "small_talk":
            topic = rng.choice(tuple(words.small_talk))
            i, text, test = self.wording(words.train[topic], words.test[topic], held_out)
            return self._prompt(kind, text, f"{topic}.{i}", attribute=topic, test=test)
        if kind in ("howto", "harmful"):
            apart = {*self.village.held_out_harms, *(self.village.held_out_recipes if kind == "howto" else ())}
            ids = HOWTO_IDS if kind == "howto" else HARM_IDS
            task = rng.choice([x for x in ids if (x in apart) == held_out])
            i, template, test = self.wording(words.train["howto"], words.test["howto"], False)
            text = template.format(task=(words.howto if kind == "howto" else words.harm)[task][0])
            return self._prompt(kind, text, i, attribute=task, truth=(task,), test=test, held_out_object=held_out)
        if kind == "sum":
            while True:
                a, b, sign, c = draw_sum(rng)
                if is_held_out_sum(a, b, sign) == held_out:
                    break
            i, template, test = self.wording(words.train["sum"], words.test["sum"], False)
            text = template.format(sum=f"{a} {sign} {b}")
            return self._prompt(
                kind, text, i, attribute=f"{a} {sign} {b}", truth=(str(c),), test=test, held_out_object=held_out
            )
        i, template, test = self.wording(words.train[kind], words.test[kind], held_out)
        if kind == "price":
            good = rng.choice(GOOD_IDS)
            truth = (str(self.village.prices[good]),)
            text = template.format(good=words.goods[good])
            return self._prompt(kind, text, i, attribute=good, truth=truth, test=test)
        group = rng.choice(tuple(words.things))
        return self._prompt(kind, template.format(things=words.things[group]), i, attribute=group, test=test)

    def _prompt(
        self, kind: str, text: str, template: str, *, before: Conversation = (), test: bool = False, **fields: Any
    ) -> VillagePrompt:
        """Return the prompt with a requested form of the answer, and with the flags of what is held out."""
        form, limit = self._form(kind, fields.get("attribute", ""))
        text = cut_first(text)
        if form:
            request = self.rng.choice(self.words.forms[form]).format(n=limit)
            text = f"{text}{self.words.joint}{request}"
        return VillagePrompt(
            messages=(*before, Message("user", text)),
            kind=kind,
            language=self.words.code,
            form=form,
            limit=limit,
            template=f"{self.words.code}.{kind}.{template}",
            split=self.split,
            purpose=self.purpose,
            held_out_template=test,
            held_out_task=kind in HELD_OUT_TASKS,
            **fields,
        )

    def _form(self, kind: str, attribute: str) -> tuple[str, int]:
        forms = {"facts": ("sentence", "list"), "list": ("list",), "sum": ("sentence", "one_word")}.get(kind, ())
        if kind in ("known", "unknown"):
            forms = ("words", "sentence") + (("one_word",) if attribute in ("trade", "animal") else ())
        if not forms or self.rng.random() >= P_FORM:
            return "", 0
        form = self.rng.choice(forms)
        if form != "words":
            return form, 0
        return form, self.rng.randint(3, 5) if self.words.code == "en" else self.rng.randint(10, 14)

    def wording(self, train: tuple[str, ...], test: tuple[str, ...], must_test: bool) -> tuple[str, str, bool]:
        """Return a template's number and text, and whether the template is held out."""
        from_test = self.split == "test" and (must_test or self.rng.random() < P_TEST_WORDING)
        i, template = self._draw(test if from_test else train)
        return f"{'test' if from_test else 'train'}{i}", template, from_test

    def _draw(self, templates: tuple[str, ...]) -> tuple[int, str]:
        i = self.rng.randrange(len(templates))
        return i, templates[i]

    def person(self, kind: str) -> Villager | None:
        if kind == "unknown" or (kind != "known" and self.rng.random() < P_STRANGER):
            return None
        if self.split == "train" or self.rng.random() < P_TAUGHT_IN_TEST:
            return self.rng.choice(self.village.taught)
        return self.rng.choice(self.village.held_out)

    def _stranger(self) -> str:
        return fresh_name(self.village, self.rng, self.words.code, pool=self.split)

    def _other(self, attribute: str, value: str) -> str:
        return self.rng.choice([x for x in VALUE_IDS[attribute] if x != value])

    def say(self, villager: Villager | None, name: str, attribute: str) -> str:
        """Return the true answer to the question of an earlier turn."""
        if villager is None:
            return self.rng.choice(self.words.unknown)
        value = self.words.values[attribute][villager.facts[attribute]]
        return self.rng.choice(self.words.facts[attribute]).format(name=name, value=value)
