"""Many patterns in one pass over a stream: the automaton of Aho and Corasick (1975).

After each character the state's depth is the length of the longest ending of the text that begins a pattern. Exactly
this ending must wait: nothing before can still become a pattern.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Automaton:
    """Built once for a set of patterns; states are numbers, 0 the start."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.next: list[dict[str, int]] = [{}]
        self.depth = [0]
        self.ends = [False]  # whether a pattern ends in this state
        self.fail = [0]
        for pattern in sorted(set(patterns)):
            assert pattern, "an empty pattern is everywhere"
            self._add(pattern)
        self._link()
        self.longest = max(self.depth)
        self.alphabet = frozenset(c for row in self.next for c in row)
        self.moves: list[dict[str, int]] = [{} for _ in self.next]  # steps that were taken before

    def _add(self, pattern: str) -> None:
        state = 0
        for character in pattern:
            if character not in self.next[state]:
                self.next.append({})
                self.depth.append(self.depth[state] + 1)
                self.ends.append(False)
                self.fail.append(0)
                self.next[state][character] = len(self.next) - 1
            state = self.next[state][character]
        self.ends[state] = True

    def _link(self) -> None:
        """Set each state's failure link: the longest proper ending of the state's text that also begins a pattern."""
        queue = deque(self.next[0].values())
        while queue:
            state = queue.popleft()
            for character, child in self.next[state].items():
                self.fail[child] = self.step(self.fail[state], character)
                self.ends[child] = self.ends[child] or self.ends[self.fail[child]]
                queue.append(child)

    def step(self, state: int, character: str) -> int:
        """Return the state after one more character."""
        while state and character not in self.next[state]:
            state = self.fail[state]
        return self.next[state].get(character, 0)

    def run(self, state: int, text: str) -> int:
        """Return the state after the text, or -1 if a pattern ends in the text. Steps are cached."""
        moves, alphabet, ends = self.moves, self.alphabet, self.ends
        for character in text:
            if character not in alphabet:
                state = 0
                continue
            after = moves[state].get(character)
            if after is None:
                after = moves[state][character] = self.step(state, character)
            if ends[after]:
                return -1
            state = after
        return state
