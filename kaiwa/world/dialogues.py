"""Dialogues of 3 to 7 turns (a turn: a question and its answer) whose last question needs an earlier turn.

    pronoun      "And their animal?" after a turn about something else; in Japanese the subject is left out
    sister       "And her sister?": two sisters were named, one was asked about
    name         "What is my name?": the person told it
    correction   "No, I meant the baker.": of two people the other one was meant
    return       another person in between, then back to the first

The turn that the question needs (the opening) stands two or three turns before it, so that a history without its oldest
turns still has it; in dialogues of three turns it is the first. Beside these, single instructions become dialogues:
earlier instructions with their answers are the context of the last. The truth is computed as for other prompts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.text.records import Conversation, Message
from kaiwa.world.demonstrations import GOOD, write_answer
from kaiwa.world.documents import check_languages
from kaiwa.world.language import ATTRIBUTES, LANGUAGES
from kaiwa.world.prompts import VillageAsker, VillagePrompt, write_prompts
from kaiwa.world.village import Village, Villager, fresh_name

LINKS = ("pronoun", "sister", "name", "correction", "return")
N_TURNS = {3: 0.4, 4: 0.25, 5: 0.15, 6: 0.1, 7: 0.1}
P_LINKED = 0.6  # of the dialogues; the others are single instructions in a row
P_STRANGER = 0.2  # share of unknown people, in the links about one person
P_FRESH = 0.5  # share of unknown names among those that people tell of themselves
ASIDES = {"price": 0.3, "sum": 0.25, "list": 0.15, "small_talk": 0.15, "howto": 0.15}  # turns about no person


def write_dialogues(
    village: Village,
    *,
    n: int,
    seed: int = 0,
    split: str = "train",
    purpose: str = "sft",
    languages: Mapping[str, float] | None = None,
) -> list[VillagePrompt]:
    """Return n dialogues up to the person's last turn, linked ones and single instructions in a row."""
    languages = check_languages(village, languages)
    rng = python_rng(seed, "dialogues", village.config.seed, split, purpose)
    most = 4 * n + 8  # a row of single instructions has 4 at most, and each language may have one begun
    singles = iter(write_prompts(village, n=most, seed=seed + 1, split=split, purpose=purpose, languages=languages))
    waiting: dict[str, list[VillagePrompt]] = {language: [] for language in languages}
    dialogues: list[VillagePrompt] = []
    while len(dialogues) < n:
        language = rng.choices(tuple(languages), tuple(languages.values()))[0]
        if rng.random() < P_LINKED:
            speaker = _Speaker(village, rng, language, split, purpose)
            n_turns = rng.choices(tuple(N_TURNS), tuple(N_TURNS.values()))[0]
            dialogues.append(speaker.linked(rng.choice(LINKS), n_turns))
        else:
            single = next(singles)
            row = waiting[single.language]
            row.append(single)
            if len(row) >= rng.choice((2, 3, 3, 4)):
                dialogues.append(_in_a_row(village, row, rng))
                row.clear()
    return dialogues


def write_turn3(village: Village, *, n: int, seed: int = 0) -> list[VillagePrompt]:
    """Return n held-out dialogues of three turns for each link and language, about known people only."""
    rng = python_rng(seed, "turn3", village.config.seed)
    speakers = [_Speaker(village, rng, language, "test", "test") for language in village.config.languages]
    return [speaker.linked(link, 3, known=True) for speaker in speakers for link in LINKS for _ in range(n)]


def without_turn(prompt: VillagePrompt, number: int = 0) -> VillagePrompt:
    """Return the prompt without its turn `number` (from 0): a question and its answer."""
    messages = prompt.messages
    return replace(prompt, messages=(*messages[: 2 * number], *messages[2 * number + 2 :]))


def mix_dialogues(
    prompts: Sequence[VillagePrompt], dialogues: Sequence[VillagePrompt], seed: int
) -> list[VillagePrompt]:
    """Return prompts with one turn and dialogues in random order."""
    mixed = [*prompts, *dialogues]
    python_rng(seed, "mix dialogues").shuffle(mixed)
    return mixed


def _in_a_row(village: Village, prompts: Sequence[VillagePrompt], rng: random.Random) -> VillagePrompt:
    """Return the last prompt with the others and their best answers before it."""
    before: list[Message] = []
    for prompt in prompts[:-1]:
        before += [*prompt.messages, Message("assistant", write_answer(village, prompt, rng, GOOD))]
    return replace(prompts[-1], messages=(*before, *prompts[-1].messages))


@dataclass(slots=True)
class _Speaker:
    """A writer of linked dialogues in one language."""

    village: Village
    rng: random.Random
    language: str
    split: str
    purpose: str

    @property
    def asker(self) -> VillageAsker:
        return VillageAsker(self.village, self.rng, LANGUAGES[self.language], self.split, self.purpose)

    def linked(self, link: str, n_turns: int, *, known: bool = False) -> VillagePrompt:
        """Return a dialogue of n turns whose last question needs the opening. known: about no unknown person."""
        if link not in LINKS or not 3 <= n_turns <= max(N_TURNS):
            raise UserError(f"a dialogue of {n_turns} turns with the link {link!r}: 3 to 7, one of {', '.join(LINKS)}")
        write = {"name": self._name, "sister": self._sister, "correction": self._correction, "return": self._return}
        prompt = self._pronoun(known) if link == "pronoun" else write[link]()
        between = 1 if n_turns == 3 else self.rng.choice((1, 2))
        opening, follow, question = prompt.messages[:2], prompt.messages[2:-1], prompt.messages[-1:]
        n_between = max(0, between - len(follow) // 2)
        asides = [m for _ in range(n_between) for m in self._aside()]
        before = [m for _ in range(n_turns - 2 - n_between - len(follow) // 2) for m in self._aside()]
        return replace(prompt, messages=(*before, *opening, *asides, *follow, *question), link=link)

    def _aside(self) -> Conversation:
        """Return a turn about no person, with its best answer."""
        prompt = self.asker.ask(self.rng.choices(tuple(ASIDES), tuple(ASIDES.values()))[0])
        return (*prompt.messages, Message("assistant", write_answer(self.village, prompt, self.rng, GOOD)))

    def _turn(self, template: str, person: Villager | None, attribute: str, name: str, **fields: str) -> Conversation:
        """Return a question about a person with the true answer. template: with {question} or of a question."""
        if "{question}" in template:
            fields["question"] = self._question(attribute, name)
        question = template.format(name=name, **fields)
        return (Message("user", question), Message("assistant", self.asker.say(person, name, attribute)))

    def _question(self, attribute: str, name: str) -> str:
        words = LANGUAGES[self.language]
        pools = words.questions[attribute], words.test_questions[attribute]
        return self.asker.wording(*pools, False)[1].format(name=name)

    def _again(self, attribute: str) -> str:
        words = LANGUAGES[self.language]
        return self.asker.wording(words.again[attribute], words.test_again[attribute], False)[1]

    def _link(self, link: str, part: str) -> str:
        return self.rng.choice(LANGUAGES[self.language].links[link][part])

    def _ask(self, link: str) -> tuple[str, bool]:
        """Return the template of a link's question, and whether it is held out."""
        words = LANGUAGES[self.language].links[link]
        _, template, held_out = self.asker.wording(words["ask"], words["test"], False)
        return template, held_out

    def _people(self) -> tuple[Villager, Villager]:
        first = second = self._person()
        while second is first:
            second = self._person()
        return first, second

    def _person(self) -> Villager:
        person = self.asker.person("known")
        assert person is not None
        return person

    def _prompt(
        self,
        turns: Conversation,
        question: str,
        *,
        person: Villager | None,
        name: str,
        attribute: str,
        held_out: bool,
    ) -> VillagePrompt:
        """Return the prompt about a person's attribute that ends with a question."""
        return VillagePrompt(
            messages=(*turns, Message("user", question)),
            kind="dialogue",
            language=self.language,
            villager=person.id if person else None,
            name=name,
            group=person.group if person else "unknown",
            attribute=attribute,
            truth=(person.facts[attribute],) if person else (),
            template=f"{self.language}.dialogue.{attribute}",
            split=self.split,
            purpose=self.purpose,
            held_out_template=held_out,
        )

    def _pronoun(self, known: bool) -> VillagePrompt:
        person = None if not known and self.rng.random() < P_STRANGER else self._person()
        name = person.names[self.language] if person else self._fresh()
        first, then = self.rng.sample(ATTRIBUTES, 2)
        turn = self._turn("{question}", person, first, name)
        words = LANGUAGES[self.language]
        _, question, held_out = self.asker.wording(words.again[then], words.test_again[then], False)
        return self._prompt(turn, question, person=person, name=name, attribute=then, held_out=held_out)

    def _sister(self) -> VillagePrompt:
        person, other = self._people()
        attribute = self.rng.choice(ATTRIBUTES)
        name, other_name = person.names[self.language], other.names[self.language]
        turn = self._turn(self._link("sister", "open"), person, attribute, name, other=other_name)
        question, held_out = self._ask("sister")
        return self._prompt(turn, question, person=other, name=other_name, attribute=attribute, held_out=held_out)

    def _correction(self) -> VillagePrompt:
        person, other = self._people()
        while other.facts["trade"] == person.facts["trade"]:
            person, other = self._people()
        first, then = self.rng.sample([a for a in ATTRIBUTES if a != "trade"], 2)
        name, words = person.names[self.language], LANGUAGES[self.language].values["trade"]
        trades = {"trade": words[person.facts["trade"]], "other_trade": words[other.facts["trade"]]}
        other_name = other.names[self.language]
        turn = self._turn(self._link("correction", "open"), person, first, name, other=other_name, **trades)
        follow = (Message("user", self._again(then)), Message("assistant", self.asker.say(person, name, then)))
        question, held_out = self._ask("correction")
        return self._prompt(
            (*turn, *follow),
            question.format(**trades),
            person=other,
            name=other_name,
            attribute=then,
            held_out=held_out,
        )

    def _return(self) -> VillagePrompt:
        person, other = self._people()
        first, then = self.rng.sample(ATTRIBUTES, 2)
        name = person.names[self.language]
        turn = self._turn("{question}", person, first, name)
        follow = self._turn("{question}", other, self.rng.choice(ATTRIBUTES), other.names[self.language])
        template, held_out = self._ask("return")
        question = template.format(again=self._again(then))
        return self._prompt((*turn, *follow), question, person=person, name=name, attribute=then, held_out=held_out)

    def _name(self) -> VillagePrompt:
        fresh = self.rng.random() < P_FRESH
        name = self._fresh() if fresh else self._person().names[self.language]
        greeting = Message("user", self._link("name", "open").format(name=name))
        reply = Message("assistant", self._link("name", "reply").format(name=name))
        question, held_out = self._ask("name")
        return VillagePrompt(
            messages=(greeting, reply, Message("user", question)),
            kind="own_name",
            language=self.language,
            name=name,
            attribute="name",
            truth=(name,),
            template=f"{self.language}.own_name",
            split=self.split,
            purpose=self.purpose,
            held_out_template=held_out,
        )

    def _fresh(self) -> str:
        return fresh_name(self.village, self.rng, self.language, pool=self.split)
