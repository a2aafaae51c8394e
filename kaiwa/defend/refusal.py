"""Refusal rewriter: a reply that begins as a refusal is replaced by one fixed sentence.

A refusal may reveal the very secret ("I can't tell you that the password begins with …"), and different refusals for
right and wrong guesses are an oracle. The first sentence waits until known to refuse or not; the rest of a refusal is
never shown. Refusals are recognised by rules, not by a judge: docs/defend.md has the rules' rates on marked replies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kaiwa.defend import words
from kaiwa.defend.defence import ReplyFilter

FIRST = 160  # characters: a longer first sentence is judged by so many
END = re.compile(r"[.!?](?=\s)|[。！？\n]")  # a full stop counts once something follows: "3.5" goes on
ENGLISH = re.compile(
    r"\b(?:i|we)(?:['’]m| am|['’]re| are)?\b[^.!?。]{0,40}?"
    r"(?:\bcan(?:['’]?t|not| not)\b(?! (?:wait|help but|stop))|\bw(?:on['’]t|ill not)\b|\bunable to\b"
    r"|\bnot (?:able|allowed|permitted|going) to\b|\b(?:must|may|should) not\b|\bhave to (?:refuse|decline)\b"
    r"|\brefuse to\b|\bdecline to\b)"
    r"|^\W*(?:i['’]?m (?:so |very |really )?sorry|(?:so |very )?sorry|i apologi[sz]e|my apologies)\b[,.]? (?:but|i )"
    r"|\b(?:that|this|it) is (?:confidential|not something i)\b",
    re.IGNORECASE,
)
JAPANESE = re.compile(
    r"(?:答え|応え|教え|伝え|明か|開示|話し|話す|言え|言う|対応|協力|手伝|提供|申し上げ|従う|従え|応じ|見せ|公開)"
    r"[^。！？\n]{0,14}(?:できません|できかね|いたしかね|致しかね|かねます|わけには|られません|ません|ない(?:んだ|よ|です|。|$))"
    r"|^\W*(?:大変|誠に)?(?:申し訳|すみません|ごめん)[^。！？\n]{0,60}(?:できません|できない|かね|いけません|ません(?!が))"
    r"|(?:それ|これ)は(?:秘密|内緒|機密)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRewriter:
    """A reply that refuses becomes one fixed sentence.

    `reply`: the sentence; else a standard one in the conversation's language.
    """

    reply: str = ""

    def output(self, secrets: tuple[str, ...], language: str, earlier: str = "") -> ReplyFilter | None:
        return RefusalReply(self.reply or words.REFUSED[language])


def refuses(text: str) -> bool:
    """Return whether the first sentence of a reply refuses."""
    first = _first_sentence(text) or text[:FIRST]
    return bool(ENGLISH.search(first) or JAPANESE.search(first))


def _first_sentence(text: str) -> str:
    """Return the first sentence once ended, "" before its end."""
    lead = len(text) - len(text.lstrip())
    end = END.search(text, lead)
    if end is not None and end.end() <= FIRST:
        return text[: end.end()]
    return text[:FIRST] if len(text) >= FIRST else ""


class RefusalReply:
    """The filter of one reply."""

    def __init__(self, reply: str) -> None:
        self._reply = reply
        self._pending, self._refused, self._passes = "", False, False

    def feed(self, text: str) -> str:
        if self._passes or self._refused:
            return text if self._passes else ""
        self._pending += text
        return self._decide() if _first_sentence(self._pending) else ""

    def finish(self) -> str:
        return "" if self._passes or self._refused else self._decide()

    def _decide(self) -> str:
        self._refused = refuses(self._pending)
        self._passes = not self._refused
        return self._reply if self._refused else self._pending
