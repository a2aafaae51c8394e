"""The one rule for a history that is too long: it loses its oldest whole turns.

A turn is a person's message with all that follows before the person's next one: answers, tool calls and their results.
System messages always stay where they are, and so does the newest turn. A prompt that does not fit even then comes back
so, and the caller reports it as too long. Training data, rollouts, evaluation, the server and the chat page all call
`fit_turns`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from kaiwa.text.records import Conversation

T = TypeVar("T")


class FittedHistory(NamedTuple):
    """n_turns: turns before anything was dropped; n_dropped: of these, the oldest that are no longer there."""

    n_turns: int
    n_dropped: int


def fit_turns(
    messages: Sequence[T], role_of: Callable[[T], str], fits: Callable[[Sequence[T]], bool]
) -> tuple[Sequence[T], FittedHistory]:
    """Return the messages without the fewest oldest turns for which they fit, and how many turns were dropped.

    fits: must hold for a shorter history where it holds for a longer one. It is called O(log turns) times.
    """
    turn_of, n = _turn_numbers([role_of(message) for message in messages])
    if n < 2 or fits(messages):
        return messages, FittedHistory(n, 0)

    def without(dropped: int) -> list[T]:
        return [m for m, turn in zip(messages, turn_of, strict=True) if turn is None or turn >= dropped]

    low, high = 1, n - 1  # the newest turn stays
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(without(middle)) else (middle + 1, high)
    return without(low), FittedHistory(n, low)


def _turn_numbers(roles: Sequence[str]) -> tuple[list[int | None], int]:
    """Return each message's turn (None for system messages), and the number of turns.

    What stands before the first message of a person, such as a greeting by the assistant, is a turn of its own.
    """
    numbers: list[int | None] = []
    turn = -1
    for role in roles:
        if role != "system" and (role == "user" or turn < 0):
            turn += 1
        numbers.append(None if role == "system" else turn)
    return numbers, turn + 1


def fit_conversation(conversation: Conversation, size_of: Callable[[Conversation], int], room: int) -> Conversation:
    """Return the conversation without the oldest turns that leave it more than `room` tokens, as `size_of` counts."""
    messages, _ = fit_turns(conversation, lambda m: m.role, lambda part: size_of(tuple(part)) <= room)
    return tuple(messages)
