"""Loading of a catalog entry: decoder, tokenizer, the tokens to begin a text with and the tokens to stop at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kaiwa.catalog.entries import Entry, check_writes
from kaiwa.catalog.weights import SMALL, has_bf16, open_weights
from kaiwa.core.errors import UserError
from kaiwa.engine.native import step
from kaiwa.engine.rows.cpu_offload import place_blocks
from kaiwa.model.adapter import Adapter, read_adapter
from kaiwa.model.decoder import Decoder
from kaiwa.text.records import Conversation
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to generate. `prefix`: tokens at the beginning of plain text. `stop_ids`: tokens to stop at.
    `adapter`: if set, the decoder is the base's, and requests name the adapter."""

    entry: Entry
    decoder: Decoder
    tokenizer: Tokenizer
    prefix: tuple[int, ...]
    stop_ids: tuple[int, ...]
    adapter: Adapter | None = None

    @property
    def context(self) -> int:
        """Tokens of prompt and answer; a soft prompt takes its part of the model's."""
        return self.decoder.config.max_length - (0 if self.adapter is None else self.adapter.n_soft)

    def adapter_memory(self) -> int:
        """Return the bytes of the adapter, with the C++ step's packed copies."""
        if self.adapter is None:
            return 0
        return self.adapter.bytes + step.adapter_memory(self.decoder, self.adapter)

    def chat_ids(self, conversation: Conversation) -> list[int]:
        """Return a conversation's token ids, ready to be answered. UserError for a text-continuation model."""
        if not self.entry.chat or self.tokenizer.chat_template is None:
            raise UserError(
                f"{self.entry.name} continues text and has not learnt to chat; send it a prompt (/v1/completions)"
            )
        return render(self.tokenizer, conversation, add_generation_prompt=True).ids

    def text_ids(self, text: str) -> list[int]:
        """Return the token ids of plain text, with the prefix."""
        return [*self.prefix, *self.tokenizer.encode(text)]

    def memory(self) -> int:
        """Return the bytes of all weights and buffers, shared weights once, and of the C++ step's packed copies."""
        tensors = [*self.decoder.parameters(), *self.decoder.buffers()]
        own = sum({t.data_ptr(): t.nbytes for t in tensors}.values())
        return own + step.memory(self.decoder)


def load(
    entry: Entry, say: Callable[[str], None] = lambda line: None, device: str = "cpu", n_on_device: int | None = None
) -> LoadedModel:
    """Read weights and tokenizer.

    `say` gets a line about any slower path, and a line about the way answers are computed. n_on_device: number of
    blocks on the device, the others staying on the CPU (cpu_offload.py); None: all.
    """
    base = with_weights(entry)
    if n_on_device is not None:
        loaded = _read(base, say, "cpu", whole=False)
        if loaded.decoder.config.n_parameters > SMALL and has_bf16(device):
            loaded.decoder.to(torch.bfloat16)  # one type on both sides: the card's
        place_blocks(loaded.decoder, device, n_on_device)
        say(f"{n_on_device} of {loaded.decoder.config.n_layer} blocks are on {device}, the others on the CPU")
    else:
        loaded = _read(base, say, device)
        step.prepare(loaded.decoder, say)
    if base is entry or entry.adapter is None:
        return loaded
    return with_adapter(loaded, entry, entry.adapter)


def with_weights(entry: Entry) -> Entry:
    """Return the entry whose weights are read: the base's for an adapter without weights of its own.

    UserError for an embedding model, which is loaded otherwise (catalog/encoder.py).
    """
    check_writes(entry)
    return entry if entry.base is None or (entry.path / "config.json").is_file() else entry.base


def with_adapter(base: LoadedModel, entry: Entry, folder: Path) -> LoadedModel:
    """Return the same weights with an adapter for them. UserError for an adapter of another shape."""
    return replace(base, entry=entry, adapter=read_adapter(folder, base.decoder.config))


def _read(entry: Entry, say: Callable[[str], None], device: str, whole: bool = True) -> LoadedModel:
    """Read weights and tokenizer. whole: a single device computes all blocks (see `Weights.read_decoder`)."""
    weights = open_weights(entry.path)
    decoder = weights.read_decoder(device, say, whole).to(device)
    tokenizer = weights.read_tokenizer()
    check_rows(tokenizer, decoder.config.vocab_size, say)
    return LoadedModel(entry, decoder, tokenizer, weights.read_prefix(tokenizer), weights.read_stop_ids(tokenizer))


def check_rows(tokenizer: Tokenizer, rows: int, say: Callable[[str], None]) -> None:
    """Raise UserError if tokens of ordinary text have no row in the embedding; say it of added tokens alone."""
    last = max(tokenizer.inner.get_vocab(with_added_tokens=False).values(), default=-1)
    added = sorted(t.content for i, t in tokenizer.inner.get_added_tokens_decoder().items() if i >= max(rows, last + 1))
    if last >= rows:
        raise UserError(
            f"the tokenizer has {last + 1:,} tokens, the weights have {rows:,} rows; they are of two models, "
            "copy the tokenizer's files again"
        )
    if added:
        say(f"{len(added)} added tokens have no weights and cannot be used ({', '.join(added[:3])})")
