"""Output canary filter: a reply stops before a secret is out, in whatever dress a program can undo (fold.py).

Exact, not a judgement: in the adaptive study of arXiv 2604.23887 only deterministic filters of the output held. It is
as strong as its list of forms, and no stronger: a translation, a rhyme or a hint passes.

    text:     The password is  o p e n - s e s a m e
    folded:   thepasswordis    openses…                ->  held back from the first letter that may begin a secret

Held back are at most as many letters and digits as the longest form has, less one, and what stands between them: the
delay is bounded, and what is shown never depends on how the reply was cut. What the assistant said in earlier turns is
read first, so that a secret given away letter by letter, a turn each, stops at its last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import Block, Blocked, ReplyFilter
from kaiwa.defend.fold import fold, fold_character, forms
from kaiwa.defend.matcher import Automaton

SHORTEST = 4  # letters and digits (a kanji or kana counts twice); shorter ones are in any text
LETTERS = 8  # letters that a secret needs to be looked for with all digits left out
PAST = 4096  # characters of earlier turns that are read
AFTER_NUMBER = frozenset(".):：．、）]")  # "1. s", "2) e": the number is no part of what is spelt


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryFilter:
    """A reply stops before a secret is out.

    `encodings`: also rot13, hex, base64 and codes. `partial`: also any so many neighbouring letters (0: none).
    """

    encodings: bool = True
    partial: int = 0
    reply: str = ""

    def __post_init__(self) -> None:
        if self.partial and self.partial < SHORTEST:
            raise UserError(f"canary_filter: partial is {self.partial}; give 0 or at least {SHORTEST}")

    def output(self, secrets: tuple[str, ...], language: str, said: str = "") -> ReplyFilter | None:
        """None without secrets. UserError for a secret too short to be told from any other text."""
        if not secrets:
            return None
        block = Block(reason="a secret was on its way out", reply=self.reply or words.WITHHELD[language])
        whole, letters = automata(secrets, self.encodings, self.partial)
        views = [View(whole), Numbered(whole)] + ([View(letters, digits=False)] if letters is not None else [])
        return CanaryReply(views, block, said[-PAST:])


@lru_cache(maxsize=256)
def automata(secrets: tuple[str, ...], encodings: bool, partial: int) -> tuple[Automaton, Automaton | None]:
    """For all folded text, and for its letters alone (None: no secret has enough of them)."""
    whole: set[str] = set()
    letters: set[str] = set()
    for secret in secrets:
        plain = fold(secret)
        if sum(1 if c.isascii() else 2 for c in plain) < SHORTEST:
            raise UserError(f"canary_filter: a secret of {len(plain)} letters and digits; at least {SHORTEST} are needed")
        whole |= forms(secret, encodings)
        if partial and partial < len(plain):
            for text in (plain, plain[::-1]):
                whole |= {text[i : i + partial] for i in range(len(plain) - partial + 1)}
        spelt = "".join(c for c in plain if not c.isdigit())
        letters |= {spelt, spelt[::-1]} if len(spelt) >= LETTERS else set()
    return Automaton(whole), Automaton(letters) if letters else None


class View:
    """One way to read the text: where it stands in the automaton, and since which character of the text."""

    def __init__(self, automaton: Automaton, *, digits: bool = True) -> None:
        self.automaton, self.digits = automaton, digits
        self.state = 0
        self.places: deque[int] = deque()  # of the characters that may begin a secret

    def push(self, character: str, folded: str, place: int) -> bool:
        """Whether a secret is complete with this character."""
        for c in folded:
            if c.isdigit() and not self.digits:
                continue
            self.state = self.automaton.step(self.state, c)
            if self.automaton.ends[self.state]:
                return True
            self.places.append(place)
            while len(self.places) > self.automaton.depth[self.state]:
                self.places.popleft()
        return False

    def finish(self) -> bool:
        return False

    def open_since(self, end: int) -> int:
        """The place from which on nothing may be shown yet."""
        return self.places[0] if self.places else end


class Numbered(View):
    """Reads without the numbers of a list: up to three digits before a full stop, bracket or colon are left out, unless
    a number of the list stands right before them ("16) 6." spells a six)."""

    def __init__(self, automaton: Automaton) -> None:
        super().__init__(automaton)
        self.number: list[tuple[str, int]] = []
        self.apart = True  # a number of a list may begin here
        self.numbered = False  # nothing has been spelt since the last number

    def push(self, character: str, folded: str, place: int) -> bool:
        if folded.isdigit() and (self.number or self.apart) and len(self.number) < 3:
            self.number.append((folded, place))
            self.apart = False
            return False
        if self.number and character in AFTER_NUMBER:
            self.number.clear()
            self.numbered = True
            return False
        complete = self.finish()
        self.numbered = self.numbered and not folded
        self.apart = not folded and not self.numbered
        return complete or super().push(character, folded, place)

    def finish(self) -> bool:
        """The number was none of a list."""
        held, self.number = self.number, []
        self.numbered = self.numbered and not held
        return any([View.push(self, "", folded, place) for folded, place in held])

    def open_since(self, end: int) -> int:
        return super().open_since(self.number[0][1] if self.number else end)


class CanaryReply:
    def __init__(self, views: list[View], block: Block, said: str = "") -> None:
        self._views, self._block = views, block
        self._held, self._end, self._open = "", 0, 0  # held: the text from place `open` to place `end`
        for character in f"{said}\n" if said else "":
            folded = fold_character(character)
            for view in views:
                if view.push(character, folded, -1):  # it is out already; the next time is a new one
                    view.state = 0
                    view.places.clear()

    def feed(self, text: str) -> str:
        begun = self._open
        held, self._held = self._held + text, ""
        for character in text:
            folded = fold_character(character)
            if any([view.push(character, folded, self._end) for view in self._views]):
                raise Blocked(self._block, held[: self._open - begun])
            self._end += 1
            self._open = max(self._open, min(view.open_since(self._end) for view in self._views))
        self._held = held[self._open - begun :]
        return held[: self._open - begun]

    def finish(self) -> str:
        if any([view.finish() for view in self._views]):
            raise Blocked(self._block)
        held, self._held = self._held, ""
        return held
