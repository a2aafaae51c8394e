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
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

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
        views = [View(whole, everything), View(whole, unnumbered)]
        views += [View(letters, letters_only)] if letters is not None else []
        return CanaryReply(views, block, said[-PAST:])


@lru_cache(maxsize=256)
def automata(secrets: tuple[str, ...], encodings: bool, partial: int) -> tuple[Automaton, Automaton | None]:
    """For all folded text, and for its letters alone (None: no secret has enough of them)."""
    whole: set[str] = set()
    letters: set[str] = set()
    for secret in secrets:
        plain = fold(secret)
        if sum(1 if c.isascii() else 2 for c in plain) < SHORTEST:
            raise UserError(
                f"canary_filter: a secret of {len(plain)} letters and digits; at least {SHORTEST} are needed"
            )
        whole |= forms(secret, encodings)
        if partial and partial < len(plain):
            for text in (plain, plain[::-1]):
                whole |= {text[i : i + partial] for i in range(len(plain) - partial + 1)}
        spelt = "".join(c for c in plain if not c.isdigit())
        letters |= {spelt, spelt[::-1]} if len(spelt) >= LETTERS else set()
    return Automaton(whole), Automaton(letters) if letters else None


@dataclass(slots=True)
class Numbering:
    """Where the reader of a numbered list stands. `held`: digits that may be a number, with their places; `apart`: a
    number may begin here; `after`: nothing has been spelt since the last number."""

    held: tuple[tuple[str, int], ...] = ()
    apart: bool = True
    after: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the reply from place `start` on: its folded characters, and the place that each comes from."""

    text: str
    start: int
    folds: list[str]
    chars: str
    places: list[int]
    digits: bool

    @classmethod
    def of(cls, text: str, start: int) -> Piece:
        folds = [fold_character(character) for character in text]
        chars = "".join(folds)
        places = list(range(start, start + len(text)))
        if len(chars) != len(text) or "" in folds:
            places = [start + i for i, folded in enumerate(folds) for _ in folded]
        return cls(text, start, folds, chars, places, any(map(str.isdigit, chars)))


Read = tuple[str, list[int], Numbering]  # characters with their places, and where the reader stands then
Reader = Callable[[Piece, Numbering], Read]


def everything(piece: Piece, now: Numbering) -> Read:
    return piece.chars, piece.places, now


def letters_only(piece: Piece, now: Numbering) -> Read:
    if not piece.digits:
        return piece.chars, piece.places, now
    kept = [(c, place) for c, place in zip(piece.chars, piece.places, strict=True) if not c.isdigit()]
    return "".join(c for c, _ in kept), [place for _, place in kept], now


def unnumbered(piece: Piece, now: Numbering) -> Read:
    """Without the numbers of a list: up to three digits before a full stop, bracket or colon, unless a number of the
    list stands right before them ("16) 6." spells a six). A piece without text is the end: the number was none."""
    held, apart, after = list(now.held), now.apart, now.after
    if piece.text and not held and not piece.digits:
        after = after and not piece.chars
        return piece.chars, piece.places, Numbering((), not piece.folds[-1] and not after, after)
    kept: list[tuple[str, int]] = []
    for i, (character, folded) in enumerate(zip(piece.text or " ", piece.folds or [""], strict=True)):
        if folded.isdigit() and (held or apart) and len(held) < 3:
            held.append((folded, piece.start + i))
            apart = False
        elif held and character in AFTER_NUMBER:
            held, after = [], True
        else:
            after = after and not folded and not held
            apart = not folded and not after
            kept += held
            held = []
            if folded:
                kept.append((folded, piece.start + i))
    chars = "".join(folded for folded, _ in kept)
    return chars, [place for folded, place in kept for _ in folded], Numbering(tuple(held), apart, after)


class View:
    """One way to read the text: where it stands in the automaton, and where its last letters stand in the text."""

    def __init__(self, automaton: Automaton, read: Reader) -> None:
        self.automaton, self.read = automaton, read
        self.state, self.now = 0, Numbering()
        self.places: deque[int] = deque(maxlen=automaton.longest)
        self.next: tuple[int, list[int], Numbering] = (0, [], self.now)

    def completes(self, piece: Piece) -> bool:
        """Whether a secret is complete within the piece. Nothing changes before `commit`."""
        chars, places, now = self.read(piece, self.now)
        self.next = (self.automaton.run(self.state, chars), places, now)
        return self.next[0] < 0

    def commit(self) -> None:
        self.state, places, self.now = self.next
        self.places.extend(places)

    def open_since(self, end: int) -> int:
        """The place from which on nothing may be shown yet."""
        depth = self.automaton.depth[self.state]
        if depth:
            return self.places[-depth]
        return self.now.held[0][1] if self.now.held else end


class CanaryReply:
    """`text` is held from place `open` to place `end`."""

    def __init__(self, views: list[View], block: Block, said: str = "") -> None:
        self._views, self._block = views, block
        self._held, self._end, self._open = "", 0, 0
        for view in views:
            _prime(view, f"{said}\n" if said else "")

    def feed(self, text: str) -> str:
        if not text:
            return ""
        piece = Piece.of(text, self._end)
        if any(view.completes(piece) for view in self._views):
            self._stop(text)
        for view in self._views:
            view.commit()
        self._end += len(text)
        ready = max(0, min(view.open_since(self._end) for view in self._views) - self._open)
        self._open += ready
        held = self._held + text
        self._held = held[ready:]
        return held[:ready]

    def _stop(self, text: str) -> NoReturn:
        """A secret ends in the text: what comes before it is let out character by character, as if it had come so."""
        clean = ""
        if len(text) > 1:
            try:
                for character in text:
                    clean += self.feed(character)
            except Blocked as stop:
                clean += stop.clean
        raise Blocked(self._block, clean)

    def finish(self) -> str:
        end = Piece.of("", self._end)
        if any(view.completes(end) for view in self._views):
            raise Blocked(self._block)
        held, self._held = self._held, ""
        return held


def _prime(view: View, text: str) -> None:
    """The view reads what is out already. A secret in it cannot be stopped any more: it begins anew behind it."""
    if view.completes(Piece.of(text, -len(text))):
        if len(text) == 1:
            view.next = (0, [], Numbering())
        else:
            for character in text:
                _prime(view, character)
            return
    view.commit()
