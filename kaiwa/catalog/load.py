"""From a catalog entry to something that generates: decoder, tokenizer, how to begin a text and where to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kaiwa.catalog.entries import Entry
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
    """A model that is ready to generate. `prefix`: tokens that plain text begins with. `stop_ids`: tokens that end an
    answer. `adapter`: the decoder is its base's, and requests name it."""

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
        """Return the bytes of the adapter, and of what the C++ step keeps beside it."""
        if self.adapter is None:
            return 0
        return self.adapter.bytes + step.adapter_memory(self.decoder, self.adapter)

    def chat_ids(self, conversation: Conversation) -> list[int]:
        """Return a conversation's token ids, ready to be answered. UserError for a model that only continues text."""
        if not self.entry.chat or self.tokenizer.chat_template is None:
            raise UserError(
                f"{self.entry.name} continues text and has not learnt to chat; send it a prompt (/v1/completions)"
            )
        return render(self.tokenizer, conversation, add_generation_prompt=True).ids

    def text_ids(self, text: str) -> list[int]:
        """Return the token ids of plain text, with the prefix."""
        return [*self.prefix, *self.tokenizer.encode(text)]

    def memory(self) -> int:
        """Return the bytes of all weights and buffers, shared ones once, and of what the C++ step keeps beside them."""
        tensors = [*self.decoder.parameters(), *self.decoder.buffers()]
        own = sum({t.data_ptr(): t.nbytes for t in tensors}.values())
        return own + step.memory(self.decoder)


def load(
    entry: Entry, say: Callable[[str], None] = lambda line: None, device: str = "cpu", n_on_device: int | None = None
) -> LoadedModel:
    """Read weights and tokenizer.

    `say` gets a line where a slower path is taken, and one that says what computes the answers. n_on_device: how many
    blocks go to the device, the others staying on the CPU (cpu_offload.py); None: all.
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
    """Return the entry whose weights are read: the base's for an adapter that has none of its own."""
    return entry if entry.base is None or (entry.path / "config.json").is_file() else entry.base


def with_adapter(base: LoadedModel, entry: Entry, folder: Path) -> LoadedModel:
    """Return the same weights with an adapter for them. UserError for one that does not fit."""
    return replace(base, entry=entry, adapter=read_adapter(folder, base.decoder.config))


def _read(entry: Entry, say: Callable[[str], None], device: str, whole: bool = True) -> LoadedModel:
    """Read weights and tokenizer. whole: one device computes all of it (see `Weights.read_decoder`)."""
    weights = open_weights(entry.path)
    decoder = weights.read_decoder(device, say, whole).to(device)
    tokenizer = weights.read_tokenizer()
    return LoadedModel(entry, decoder, tokenizer, weights.read_prefix(tokenizer), weights.read_stop_ids(tokenizer))
