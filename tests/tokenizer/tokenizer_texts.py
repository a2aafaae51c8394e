"""Text to learn a small tokenizer from, and that tokenizer."""

import functools
import random

from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import train

PEOPLE = ["baker", "farmer", "teacher", "brother", "miller", "traveller", "smith", "weaver"]
THINGS = ["apples", "bread", "stones", "wool", "honey", "seeds", "iron", "cloth", "milk"]


def texts(n: int = 300, seed: int = 0) -> list[str]:
    """English, Japanese and code in turn."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        who, what, price = rng.choice(PEOPLE), rng.choice(THINGS), rng.randrange(1000)
        found.append(
            [
                f"The {who} sold the last of the {what} for {price} coins, and it wasn't enough.",
                f"パン屋は{price}円で村の{rng.choice('山川森')}の近くの人たちに食べ物を売りました。",
                f"def {who}_{what}(price):\n    return price * {price}  # {what}\n",
            ][i % 3]
        )
    return found


@functools.cache
def small(vocab_size: int = 420) -> Tokenizer:
    return train(texts(), TokenizerConfig(vocab_size=vocab_size))
