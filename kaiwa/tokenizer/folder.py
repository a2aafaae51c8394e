"""The tokenizer's files and special tokens in a model's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.tokenizer.tokenizer import Tokenizer

FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
    *("tokenizer.model", "added_tokens.json", "vocab.json", "merges.txt"),
)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files, so that the model's folder is complete."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return config.json's fields about special tokens."""
    ids = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    return ids | ({"bos_token_id": tokenizer.bos_id} if tokenizer.bos_id is not None else {})


def check_tokens(tokenizer: Tokenizer, model: Path, tokens: Path) -> None:
    """Raise UserError unless the ids of a tokenizer artifact are those of a model's tokenizer (which may have more)."""
    theirs = Tokenizer.load(tokens)
    if not theirs.inner.get_vocab().items() <= tokenizer.inner.get_vocab().items():
        raise UserError(
            f"{tokens}: its text was encoded by another tokenizer than {model}'s ({theirs.vocab_size} tokens against "
            f"{tokenizer.vocab_size}); give the tokenizer artifact from which this model comes, or none"
        )


def same_tokens(ours: Tokenizer, theirs: Tokenizer, policy: Path, reward: Path) -> None:
    """Raise UserError unless two models have the same tokens.

    Policy and reward model may differ in size (InstructGPT: one reward model of 6B for all), but not in tokens.
    """
    if ours.inner.get_vocab() != theirs.inner.get_vocab():
        raise UserError(
            f"{reward}: other tokens than {policy}'s ({theirs.vocab_size} against {ours.vocab_size}); "
            "train the reward model from a model with the policy's tokenizer (of any size)"
        )
