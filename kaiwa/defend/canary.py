"""Output canary filter: a reply stops before a secret is out, in any disguise that a program can undo (fold.py).

The filter is exact, not a judgement: in the adaptive study of arXiv 2604.23887 only deterministic filters of the output
held. The filter knows the forms in its list and no others: a translation, a rhyme or a hint passes.

    text:     The password is  o p e n - s e s a m e
    folded:   thepasswordis    openses…                ->  held back from the first letter where a secret may begin

At most as many letters and digits as the longest form has, less one, are held back, with the characters between them:
the delay is bounded, and the visible text never depends on how the reply was cut. The assistant's earlier turns are
read first, so that a secret given away one letter per turn stops at the last letter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import BlockDecision, Blocked, ReplyFilter
from kaiwa.defend.fold import fold, fold_character, leak_forms
from kaiwa.defend.matcher import Automaton

SHORTEST = 4  # letters and digits of a secret (a kanji or kana counts twice); shorter ones are in any text
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

    def output(self, secrets: tuple[str, ...], language: str, earlier: str = "") -> ReplyFilter | None:
        """Return a filter for one reply, None without secrets. UserError for a secret that any text would contain."""
        if not secrets:
            return None
        block = BlockDecision(reason="a secret was on its way out", reply=self.reply or words.WITHHELD[language])
        whole, letters = build_automata(secrets, self.encodings, self.partial)
        scans = [SecretScan(whole, read_all), SecretScan(whole, read_unnumbered)]
        scans += [SecretScan(letters, read_letters)] if letters is not None else []
        return CanaryReply(scans, block, earlier[-PAST:])


@lru_cache(maxsize=256)
def build_automata(secrets: tuple[str, ...], encodings: bool, partial: int) -> tuple[Automaton, Automaton | None]:
    """Return two automata: for folded text, and for letters alone (None: no secret has enough letters)."""
    whole: set[str] = set()
    letters: set[str] = set()
    for secret in secrets:
        plain = fold(secret)
        if sum(1 if c.isascii() else 2 for c in plain) < SHORTEST:
            raise UserError(
                f"canary_filter: a secret of {len(plain)} letters and digits; at least {SHORTEST} are needed"
            )
        whole |= leak_forms(secret, encodings)
        if partial and partial < len(plain):
            for text in (plain, plain[::-1]):
                whole |= {text[i : i + partial] for i in range(len(plain) - partial + 1)}
        spelt = "".join(c for c in plain if not c.isdigit())
        letters |= {spelt, spelt[::-1]} if len(spelt) >= LETTERS else set()
    return Automaton(whole), Automaton(letters) if letters else None


@dataclass(slots=True)
class Numbering:
    """State of reading a numbered list.

    pending: digits that may be a number, with their places. apart: a number may begin here. after: nothing has been
    spelt since the last number.
    """

    pending: tuple[tuple[str, int], ...] = ()
    apart: bool = True
    after: bool = False


@dataclass(frozen=True, slots=True)
class FoldedPiece:
    """A piece of the reply from place `start` on: the folded characters, and the place of each."""

    text: str
    start: int
    folds: list[str]
    chars: str
    places: list[int]
    digits: bool

    @classmethod
    def of(cls, text: str, start: int) -> FoldedPiece:
        folds = [fold_character(character) for character in text]
        chars = "".join(folds)
        places = list(range(start, start + len(text)))
        if len(chars) != len(text) or "" in folds:
            places = [start + i for i, folded in enumerate(folds) for _ in folded]
        return cls(text, start, folds, chars, places, any(map(str.isdigit, chars)))


ReadResult = tuple[str, list[int], Numbering]  # characters, their places, and the numbering after them
Reader = Callable[[FoldedPiece, Numbering], ReadResult]


def read_all(piece: FoldedPiece, now: Numbering) -> ReadResult:
    return piece.chars, piece.places, now


def read_letters(piece: FoldedPiece, now: Numbering) -> ReadResult:
    if not piece.digits:
        return piece.chars, piece.places, now
    letters = [(c, place) for c, place in zip(piece.chars, piece.places, strict=True) if not c.isdigit()]
    return "".join(c for c, _ in letters), [place for _, place in letters], now


def read_unnumbered(piece: FoldedPiece, now: Numbering) -> ReadResult:
    """Return the characters without the numbers of a list: up to three digits before a full stop, bracket or colon.

    Digits right after a number of the list are text ("16) 6." spells a six). A piece without text is the reply's end,
    which makes pending digits text.
    """
    pending, apart, after = list(now.pending), now.apart, now.after
    if piece.text and not pending and not piece.digits:
        after = after and not piece.chars
        return piece.chars, piece.places, Numbering((), not piece.folds[-1] and not after, after)
    read: list[tuple[str, int]] = []
    for i, (character, folded) in enumerate(zip(piece.text or " ", piece.folds or [""], strict=True)):
        if folded.isdigit() and (pending or apart) and len(pending) < 3:
            pending.append((folded, piece.start + i))
            apart = False
        elif pending and character in AFTER_NUMBER:
            pending, after = [], True
        else:
            after = after and not folded and not pending
            apart = not folded and not after
            read += pending
            pending = []
            if folded:
                read.append((folded, piece.start + i))
    chars = "".join(folded for folded, _ in read)
    return chars, [place for folded, place in read for _ in folded], Numbering(tuple(pending), apart, after)


class SecretScan:
    """One way to read the reply: the state in the automaton, and the places of the last letters in the text."""

    def __init__(self, automaton: Automaton, read: Reader) -> None:
        self.automaton, self.read = automaton, read
        self.state, self.now = 0, Numbering()
        self.places: deque[int] = deque(maxlen=automaton.longest)
        self.next: tuple[int, list[int], Numbering] = (0, [], self.now)

    def completes(self, piece: FoldedPiece) -> bool:
        """Return whether a secret is complete within the piece. The state changes only with `commit`."""
        chars, places, now = self.read(piece, self.now)
        self.next = (self.automaton.run(self.state, chars), places, now)
        return self.next[0] < 0

    def commit(self) -> None:
        self.state, places, self.now = self.next
        self.places.extend(places)

    def pending_from(self, end: int) -> int:
        """Return the place from which on nothing may be shown yet."""
        depth = self.automaton.depth[self.state]
        if depth:
            return self.places[-depth]
        return self.now.pending[0][1] if self.now.pending else end


class CanaryReply:
    """The filter of one reply. The text from place `_open` to place `_end` is pending: a secret may begin there."""

    def __init__(self, scans: list[SecretScan], block: BlockDecision, earlier: str = "") -> None:
        self._scans, self._block = scans, block
        self._pending, self._end, self._open = "", 0, 0
        for scan in scans:
            _prime(scan, f"{earlier}\n" if earlier else "")

    def feed(self, text: str) -> str:
        if not text:
            return ""
        piece = FoldedPiece.of(text, self._end)
        if any(scan.completes(piece) for scan in self._scans):
            self._stop(text)
        for scan in self._scans:
            scan.commit()
        self._end += len(text)
        ready = max(0, min(scan.pending_from(self._end) for scan in self._scans) - self._open)
        self._open += ready
        pending = self._pending + text
        self._pending = pending[ready:]
        return pending[:ready]

    def _stop(self, text: str) -> NoReturn:
        """Raise Blocked for a text that completes a secret, with the clean text before it.

        The clean text equals the output of feed() for the text character by character.
        """
        clean = ""
        if len(text) > 1:
            try:
                for character in text:
                    clean += self.feed(character)
            except Blocked as stop:
                clean += stop.clean
        raise Blocked(self._block, clean)

    def finish(self) -> str:
        end = FoldedPiece.of("", self._end)
        if any(scan.completes(end) for scan in self._scans):
            raise Blocked(self._block)
        pending, self._pending = self._pending, ""
        return pending


def _prime(scan: SecretScan, text: str) -> None:
    """Let a scan read text that is out already. The scan restarts after a secret that is out and cannot be stopped."""
    if scan.completes(FoldedPiece.of(text, -len(text))):
        if len(text) == 1:
            scan.next = (0, [], Numbering())
        else:
            for character in text:
                _prime(scan, character)
            return
    scan.commit()
