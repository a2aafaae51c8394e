"""Learning of the merges, and the tokenizer's files in Hugging Face's format.

Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019) with the `tokenizers` library. The vocabulary
contains all 256 bytes from the start, so that every text can be encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.text.template import CHATML, END, END_OF_TEXT, PAD, START
from kaiwa.tokenizer.alphabet import byte_of_char
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.pre_tokenizers import pre_tokenizer
from kaiwa.tokenizer.tokenizer import Tokenizer

SPECIALS = (END_OF_TEXT, START, END, PAD)  # ids 0 to 3
assert PAD not in (END, END_OF_TEXT), "PAD is EOS: the loss mask of padding would also hide the end of turn"


def train(texts: Sequence[str], config: TokenizerConfig) -> Tokenizer:
    """Train a tokenizer of exactly vocab_size tokens. UserError if the texts do not have enough frequent pairs."""
    import tokenizers
    from tokenizers import decoders, models, trainers

    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizer(config.split)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(byte_of_char()),
        show_progress=False,
    )
    inner.train_from_iterator(_batches(texts), trainer=trainer, length=len(texts))
    size = inner.get_vocab_size(with_added_tokens=True)
    if size < config.vocab_size:
        total = sum(len(t.encode("utf-8")) for t in texts)
        raise UserError(
            f"vocab_size: {config.vocab_size:,} is more than this text supports; its {total:,} bytes give at most "
            f"{size:,} tokens (pairs that occur {config.min_frequency} times); set it to {size} or less, or add text"
        )
    tokenizer = Tokenizer(inner, chat_template=CHATML, eos_token=END, pad_token=PAD)
    assert tokenizer.pad_id not in (tokenizer.eos_id, tokenizer.document_end_id)
    assert len({tokenizer.decode_bytes([i]) for i in range(size)} & {bytes([b]) for b in range(256)}) == 256
    return tokenizer


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), 1000):
        yield list(texts[start : start + 1000])


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the Hugging Face files, which `transformers` loads as PreTrainedTokenizerFast."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.inner.save(str(folder / "tokenizer.json"), pretty=False)
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1 << 20,
        "add_bos_token": False,
        "chat_template": tokenizer.chat_template,
        "additional_special_tokens": [
            s for s in tokenizer.specials if s not in (tokenizer.eos_token, tokenizer.pad_token)
        ],
    }
    if tokenizer.bos_token:
        settings["bos_token"] = tokenizer.bos_token
    if tokenizer.chat_template is None:
        del settings["chat_template"]
    _write(folder / "tokenizer_config.json", settings)
    names = {"eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token}
    _write(
        folder / "special_tokens_map.json", names | ({"bos_token": tokenizer.bos_token} if tokenizer.bos_token else {})
    )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
