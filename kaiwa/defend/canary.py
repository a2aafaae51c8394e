"""Output canary filter: a reply stops before a secret is out, in any disguise that a program can undo (readings.py).

The filter is exact, not a judgement: in the adaptive study of arXiv 2604.23887 only deterministic filters of the output
held. What a program cannot undo passes: a translation, a rhyme, a hint (docs/defend.md lists it).

    text:     The password is  o p e n - s e s a m e
    folded:   thepasswordis    openses…                ->  held back from the first letter where a secret may begin

The reply is read every STEP characters: the last NEAR characters in every way, and every FAR characters all of it. Text
goes out when it has been read and no secret may begin in it, so that the visible text does not depend on how the reply
was cut. The assistant's earlier turns are read first: a secret given away one letter per turn stops at the last letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kaiwa.core.errors import UserError
from kaiwa.defend import words
from kaiwa.defend.defence import BlockDecision, Blocked, ReplyFilter
from kaiwa.defend.fold import fold_character
from kaiwa.defend.readings import PARTIAL, SHORTEST, SecretForms, TextReading, read_every_way, secret_forms

PAST = 4096  # characters of earlier turns and of the reply that are read together
STEP = 32  # characters of a reply between two readings
NEAR = 400  # characters that each of them reads
FAR = 16  # steps between two readings of everything
BEGUN = 3  # signs of a secret at the end of a reading that hold the text back; of plain text one is enough


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryFilter:
    """A reply stops before a secret is out.

    `encodings`: also what is encoded, spelt or disguised, two levels deep. `partial`: also any so many neighbouring
    signs of a longer secret (0: none).
    """

    encodings: bool = True
    partial: int = PARTIAL
    reply: str = ""

    def __post_init__(self) -> None:
        if self.partial and self.partial < SHORTEST:
            raise UserError(f"canary_filter: partial is {self.partial}; give 0 or at least {SHORTEST}")

    def output(self, secrets: tuple[str, ...], language: str, earlier: str = "") -> ReplyFilter | None:
        """Return a filter for one reply, None without secrets. UserError for a secret that any text would contain."""
        if not secrets:
            return None
        block = BlockDecision(reason="a secret was on its way out", reply=self.reply or words.WITHHELD[language])
        try:
            forms = [secret_forms(secret, self.partial) for secret in secrets]
        except UserError as error:
            raise UserError(f"canary_filter: {error}") from None
        reader = ReplyReader(forms, self.encodings)
        past = f"{earlier[-PAST:]}\n" if earlier else ""
        if past:
            reader.read_past(past)
        return CanaryReply(reader, block, past)


@dataclass(slots=True)
class ReplyReader:
    """The secrets to look for. out: those that earlier turns gave away, which are looked for in the reply
    alone; parts_out: whether parts were."""

    secrets: Sequence[SecretForms]
    encodings: bool
    out: tuple[SecretForms, ...] = field(default=(), init=False)
    parts_out: bool = field(default=False, init=False)
    starts: bool = field(default=False, init=False)  # whether a reading ended in the beginning of a secret

    def read_past(self, past: str) -> None:
        """Note which secrets, or parts of them, earlier turns have given away: those cannot be stopped any more."""
        if self.completes(past):
            self.parts_out = True
            self.out = tuple(form for form in self.secrets if self.completes(past, [form], parts=False))
            self.completes_all(past)

    def completes_all(self, text: str) -> bool:
        """Return whether a text of earlier turns and the reply completes a secret that is not out yet."""
        within = [secret for secret in self.secrets if secret not in self.out]
        return self.completes(text, within, parts=not self.parts_out)

    def completes(self, text: str, secrets: Sequence[SecretForms] | None = None, parts: bool = True) -> bool:
        """Return whether a secret (default: any) is complete in a text, and note whether one has begun at its end."""
        secrets = self.secrets if secrets is None else secrets
        self.starts = False
        for reading in read_every_way(text, self.encodings) if secrets else ():
            for secret in secrets:
                if secret.is_in(reading) or (parts and secret.has_part(reading)):
                    return True
                self.starts = self.starts or self._begins(secret, reading)
        return False

    def _begins(self, secret: SecretForms, reading: TextReading) -> bool:
        automaton = secret.whole
        state = automaton.run(0, reading.text[1 - automaton.longest :])
        return state > 0 and automaton.depth[state] >= BEGUN


class CanaryReply:
    """The filter of one reply. The text from place `_shown` on is pending."""

    def __init__(self, reader: ReplyReader, block: BlockDecision, past: str = "") -> None:
        self._reader, self._block, self._past = reader, block, past
        self._text, self._read, self._shown, self._steps = "", 0, 0, 0
        self._started = False  # a secret has begun in a reading of the last characters
        self._watch = reader.starts  # a secret has begun in a reading of everything: read everything at each step

    def feed(self, text: str) -> str:
        self._text += text
        start = self._shown
        while self._read + STEP <= len(self._text):
            self._advance(self._read + STEP, start)
        return self._text[start : self._shown]

    def finish(self) -> str:
        start = self._shown
        if self._read < len(self._text):
            self._steps = -1  # everything is read at the end
            self._advance(len(self._text), start)
        self._shown = len(self._text)
        return self._text[start:]

    def _advance(self, end: int, start: int) -> None:
        """Read the reply up to `end`; show what may be shown. Raises Blocked with the clean text from `start` on."""
        self._steps += 1
        self._read = end
        hold = min(self._plain_start(end), end)
        near = self._text[max(0, end - NEAR) : end]
        if self._reader.completes(near):
            raise Blocked(self._block, self._text[start : max(self._shown, self._clean_end(end))])
        if self._reader.starts:  # where it started is looked for once; while it goes on nothing more is shown
            going_on = self._started and end - self._shown <= NEAR
            hold = self._shown if going_on else min(hold, self._starting_place(end))
        self._started = self._reader.starts
        if (self._past or end > NEAR) and (self._watch or self._steps % FAR == 0):
            everything = (self._past + self._text[:end])[-PAST:]
            if self._reader.completes_all(everything):
                raise Blocked(self._block, self._text[start : max(self._shown, min(hold, self._clean_end(end)))])
            self._watch = self._reader.starts
        self._shown = max(self._shown, hold)

    def _plain_start(self, end: int) -> int:
        """Return the place in the reply where a secret may begin in the plain text, or `end`."""
        longest = max(secret.pieces.longest for secret in self._reader.secrets)
        places: list[int] = []
        signs: list[str] = []
        for place in range(end - 1, -1, -1):
            for sign in reversed(fold_character(self._text[place])):
                signs.append(sign)
                places.append(place)
            if len(signs) >= longest or end - place > NEAR:
                break
        tail = "".join(reversed(signs))
        first = end
        for secret in self._reader.secrets:
            state = secret.pieces.run(0, tail)
            if state > 0:
                first = min(first, places[secret.pieces.depth[state] - 1])
        return first

    def _starting_place(self, end: int) -> int:
        """Return the last place from which on the reading that has begun is still begun."""
        low, high = max(0, end - NEAR), end
        while high - low > 1:
            middle = (low + high) // 2
            starting = not self._reader.completes(self._text[middle:end]) and self._reader.starts
            low, high = (middle, high) if starting else (low, middle)
        return low

    def _clean_end(self, end: int) -> int:
        """Return the place before which nothing of the secret stands: where what is first complete begins."""
        first = max(0, end - NEAR)
        low, high = max(first, end - STEP), end  # complete at `high`, not at `low`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reader.completes(self._text[first:middle]) else (middle, high)
        end, low = high, first
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._reader.completes(self._text[middle:end]) else (low, middle)
        return low
