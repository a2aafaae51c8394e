"""The flags of the paper's interface (Ouyang et al. 2022, tables 3 and 7), each with the key that sets it.

a to i rank outputs on the page's second pane; flags belong to the first, where digits rate, and u, x, h are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kaiwa.core.errors import UserError

OUTPUT_FLAGS: Mapping[str, str] = {
    "f": "fails_instruction",
    "c": "inappropriate_for_customer_assistant",
    "m": "hallucination",
    "e": "satisfies_constraint",
    "s": "sexual_content",
    "v": "violent_content",
    "g": "encourages_violence_or_self_harm",
    "d": "denigrates_protected_class",
    "a": "harmful_advice",
    "o": "expresses_opinion",
    "j": "expresses_moral_judgement",
}
PROMPT_FLAGS: Mapping[str, str] = {
    "q": "ambiguous",
    "n": "sensitive",
    "b": "closed_domain",
    "k": "explicit_constraint",
}
SKIP_REASONS = ("not_understood", "offensive", "broken", "other")


def check_flags(letters: str, known: Mapping[str, str]) -> str:
    """Return flags' letters in order, each once. UserError for a letter that is no flag."""
    unknown = next((letter for letter in letters if letter not in known), None)
    if unknown is not None:
        raise UserError(f"no flag {unknown!r}; there are {', '.join(known)}", field="flags")
    return "".join(letter for letter in known if letter in letters)


def flag_names(letters: str, known: Mapping[str, str]) -> list[str]:
    return [known[letter] for letter in letters if letter in known]


def flag_letters(names: Iterable[str], known: Mapping[str, str]) -> str:
    """Return the letters of flags by their names; unknown names are left out."""
    chosen = set(names)
    return "".join(letter for letter, name in known.items() if name in chosen)


def join_flags(flags: Sequence[str]) -> str:
    """Return the flags of all outputs as the database holds them, "" where no output has any."""
    return ",".join(flags) if any(flags) else ""


def split_flags(text: str, k: int) -> list[str]:
    return text.split(",") if text else [""] * k
