"""The split of records into training and held-out ones, by prompt: a prompt's records are all on one side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def by_prompt(items: Sequence[T], prompts: Sequence[Hashable], n: int) -> tuple[list[T], list[T]]:
    """Return training and held-out items, both in order: the first prompts with `n` items together are held out.

    prompts: one a item. With distinct prompts these are the first n items. At least one prompt stays for training.
    """
    sizes = Counter(prompts)
    chosen: set[Hashable] = set()
    n_chosen = 0
    for prompt in dict.fromkeys(prompts):
        if n_chosen >= n or len(chosen) == len(sizes) - 1:
            break
        chosen.add(prompt)
        n_chosen += sizes[prompt]
    sides: tuple[list[T], list[T]] = ([], [])
    for item, prompt in zip(items, prompts, strict=True):
        sides[prompt in chosen].append(item)
    return sides
