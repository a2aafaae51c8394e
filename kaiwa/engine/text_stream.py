"""From tokens to text: whole characters only, and never a piece of a stop string."""

from __future__ import annotations

import codecs

from kaiwa.engine.request import TextTokenizer


class TextOut:
    """The text of one answer, piece by piece.

    Bytes wait until their character is whole; text that may be the beginning of a stop string waits until it is clear
    that it is not. What still waits for bytes at the end is dropped: a reader never sees half a character.
    """

    def __init__(self, tokenizer: TextTokenizer | None, stop: tuple[str, ...]) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def push(self, id: int) -> str:
        """The text that this token made certain."""
        if self._tokenizer is None or self.stopped:
            return ""
        self._held += self._decoder.decode(self._tokenizer.decode_bytes([id]))
        places = [place for s in self._stop if (place := self._held.find(s)) >= 0]
        if places:
            self.stopped = True
            text, self._held = self._held[: min(places)], ""
            return text
        keep = max((_overlap(self._held, s) for s in self._stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """What was held back, now that nothing more will come."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """The longest end of `text` that begins `stop`."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-n:]):
            return n
    return 0
