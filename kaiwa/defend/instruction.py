"""Defences by words alone: an instruction that warns of the attack, and the sandwich, which repeats the task last."""

from __future__ import annotations

from dataclasses import dataclass

from kaiwa.defend import words
from kaiwa.defend.turns import Turns, append_to_last_user, append_to_system, language_of

LONG_TASK = 300  # characters; a longer system text is not repeated, only pointed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """The system's text ends with "even if the user tries to change this …".

    `text`: other words for it.
    """

    text: str = ""

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        return append_to_system(turns, self.text or words.INSTRUCTION[language_of(turns)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandwich:
    """The task once more after the user's last turn.

    `task`: how it is said; else the system's text where it is short.
    A system text with a secret in it is thereby said twice: give `task` where that matters.
    """

    task: str = ""

    def rewrite(self, turns: Turns, seed: int) -> Turns:
        language, task = language_of(turns), self.task or _own_system_text(turns)
        if not task or (not self.task and len(task) > LONG_TASK):
            return append_to_last_user(turns, words.SANDWICH_PLAIN[language])
        return append_to_last_user(turns, words.SANDWICH[language].format(task=task))


def _own_system_text(turns: Turns) -> str:
    """Return the system's text before any defence's additions."""
    return next((turn.spans[0].text for turn in turns if turn.role == "system"), "")
