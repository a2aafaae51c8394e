"""Small texts that pass every filter."""

import random


def prose(seed: int, sentences: int = 6) -> str:
    """A few different English sentences."""
    rng = random.Random(seed)
    who = ["The baker", "A farmer", "The teacher", "Her brother", "The old miller", "A traveller"]
    what = ["walked to the market with", "sold the last of", "was asking about", "found a basket of", "has no need for"]
    which = ["red apples", "warm bread", "the river stones", "wool from the hills", "honey and wax", "seeds for spring"]
    return " ".join(
        f"{rng.choice(who)} {rng.choice(what)} {rng.choice(which)} on day {rng.randrange(9999)} of the year."
        for _ in range(sentences)
    )
