"""Decoding of tokens to text: whole characters only, and never a piece of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from kaiwa.engine.request import TextTokenizer


class TextStream:
    """The text of an answer, piece by piece.

    Bytes wait until their character is whole; a possible beginning of a stop string waits until later text rules out
    the stop string. An unfinished character at the end is dropped: a reader never sees half a character.
    """

    def __init__(
        self, tokenizer: TextTokenizer | None, stop: tuple[str, ...], specials: Mapping[int, str] | None = None
    ) -> None:
        """Prepare an empty text. specials: special tokens with a text; the others have none."""
        self._tokenizer, self._stop, self._specials = tokenizer, stop, specials or {}
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self.stopped = False
        self.stop_string = ""  # the one that ended the text

    def push(self, id: int) -> str:
        """Append a token and return the newly released text."""
        if self._tokenizer is None or self.stopped:
            return ""
        self._pending += self._specials.get(id) or self._decoder.decode(self._tokenizer.decode_bytes([id]))
        ends = [(at, s) for s in self._stop if (at := self._pending.find(s)) >= 0]
        if ends:
            at, self.stop_string = min(ends)
            self.stopped = True
            text, self._pending = self._pending[:at], ""
            return text
        keep = max((_overlap(self._pending, s) for s in self._stop), default=0)
        cut = len(self._pending) - keep
        text, self._pending = self._pending[:cut], self._pending[cut:]
        return text

    def finish(self) -> str:
        """Return the waiting text at the answer's end."""
        text, self._pending = self._pending, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` begin `stop`."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-n:]):
            return n
    return 0
