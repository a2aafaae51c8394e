"""Rankings as people type them, as records hold them, and the blind order in which outputs are shown.

On the page outputs carry the letters a to i. `ba=c` ranks b best, then a and c, which are tied. As ranks (0 the best;
after n tied outputs the next rank is n further, so that equal places are the world's labellers' as well) that is
a 1, b 0, c 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng

LETTERS = "abcdefghi"
MOST_OUTPUTS = len(LETTERS)


def parse_ranking(text: str, k: int) -> tuple[int, ...]:
    """Return the ranks of k outputs from their letters, best first, `=` before a letter that is tied to the one before.

    UserError for a letter that is no output's, twice there or missing, and for `=` without a letter on both sides.
    """
    letters = LETTERS[:k]
    place = tied = 0
    ranks: dict[str, int] = {}
    after_equals = False
    for character in text.replace(" ", "").lower():
        if character == "=":
            if not ranks or after_equals:
                raise UserError(f"ranking {text!r:.40}: '=' stands between two letters", field="ranking")
            after_equals = True
            continue
        if character not in letters:
            last = letters[-1:] or "none"
            raise UserError(f"ranking {text!r:.40}: no output {character!r}; there are a to {last}", field="ranking")
        if character in ranks:
            raise UserError(f"ranking {text!r:.40}: {character!r} stands in it twice", field="ranking")
        place, tied = (place, tied + 1) if after_equals else (place + tied, 1)
        ranks[character] = place
        after_equals = False
    if after_equals:
        raise UserError(f"ranking {text!r:.40}: '=' stands between two letters", field="ranking")
    if missing := [letter for letter in letters if letter not in ranks]:
        raise UserError(f"ranking {text!r:.40}: {', '.join(missing)} not ranked; rank all {k}", field="ranking")
    return tuple(ranks[letter] for letter in letters)


def write_ranking(ranks: Sequence[int]) -> str:
    """Return ranks as letters, best first: `parse_ranking` reads them again."""
    order = sorted(range(len(ranks)), key=lambda i: (ranks[i], i))
    tied = [n > 0 and ranks[i] == ranks[order[n - 1]] for n, i in enumerate(order)]
    return "".join(("=" if tie else "") + LETTERS[i] for i, tie in zip(order, tied, strict=True))


def check_ranks(ranks: Sequence[int], k: int) -> tuple[int, ...]:
    """Return ranks of k outputs in the form of records: 0 the best, after n tied outputs the next is n further.

    Ranks that count places without a step for ties (0, 0, 1) and ranks from 1 are taken too. UserError for a gap and
    for a wrong number of ranks.
    """
    if len(ranks) != k:
        raise UserError(f"{len(ranks)} ranks for {k} outputs; give one each", field="ranks")
    if not all(type(rank) is int for rank in ranks):
        raise UserError(f"ranks {list(ranks)}: each must be a whole number, 0 the best", field="ranks")
    values = sorted(set(ranks))
    before = [sum(rank < value for rank in ranks) for value in values]
    steps = [value - values[0] for value in values] if values else []
    if values and (values[0] not in (0, 1) or steps not in (before, list(range(len(values))))):
        raise UserError(f"ranks {list(ranks)}: there is a gap; 0 is the best, equal ranks are ties", field="ranks")
    place = dict(zip(values, before, strict=True))
    return tuple(place[rank] for rank in ranks)


def shuffled(k: int, seed: int, *names: object) -> tuple[int, ...]:
    """Return the order in which k outputs are shown, drawn from a stored seed and names (the item, the labeller)."""
    order = list(range(k))
    python_rng(seed, "shown", *names).shuffle(order)
    return tuple(order)


def as_digits(values: Sequence[int]) -> str:
    """Return numbers of one digit as the database holds them."""
    return "".join(map(str, values))


def from_digits(text: str) -> tuple[int, ...]:
    return tuple(map(int, text))
