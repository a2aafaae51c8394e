"""From a catalog entry to something that generates: decoder, tokenizer, how to begin a text and where to stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_bf16_products, has_int4_kernel
from kaiwa.engine.native import packed_model, step
from kaiwa.engine.rows.cpu_offload import place
from kaiwa.model.adapter import Adapter, read_adapter
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gguf import GgufFile, Vocabulary
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_config import read_config, read_json
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.model.formats.llama2c import Llama2cFile
from kaiwa.text.records import Conversation
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer

SMALL = 50_000_000  # weights: below it fp32, which is exact and as fast


@dataclass(frozen=True, slots=True)
class Loaded:
    """`prefix`: tokens that plain text begins with. `stop_ids`: tokens that end an answer. `adapter`: the decoder is
    its base's, and requests name it."""

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
        """Bytes of the adapter, and of what the C++ step keeps beside it."""
        if self.adapter is None:
            return 0
        return self.adapter.bytes + step.adapter_memory(self.decoder, self.adapter)

    def chat_ids(self, conversation: Conversation) -> list[int]:
        """A conversation, ready to be answered. UserError for a model that only continues text."""
        if not self.entry.chat or self.tokenizer.chat_template is None:
            raise UserError(
                f"{self.entry.name} continues text and has not learnt to chat; send it a prompt (/v1/completions)"
            )
        return render(self.tokenizer, conversation, add_generation_prompt=True).ids

    def text_ids(self, text: str) -> list[int]:
        return [*self.prefix, *self.tokenizer.encode(text)]

    def memory(self) -> int:
        """Bytes of all weights and buffers, shared ones once, and of what the C++ step keeps beside them."""
        tensors = [*self.decoder.parameters(), *self.decoder.buffers()]
        own = sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())
        return own + step.memory(self.decoder)


def load(
    entry: Entry, say: Callable[[str], None] = lambda line: None, device: str = "cpu", n_there: int | None = None
) -> Loaded:
    """Reads weights and tokenizer. `say` is told in one line where a slower path is taken, and in one what computes the
    answers. n_there: how many blocks go to the device, the others staying on the CPU (split.py); None: all."""
    base = with_weights(entry)
    if n_there is not None:
        loaded = _read(base, say, "cpu", whole=False)
        if loaded.decoder.config.n_parameters > SMALL and _has_bf16(device):
            loaded.decoder.to(torch.bfloat16)  # one type on both sides: the card's
        place(loaded.decoder, device, n_there)
        say(f"{n_there} of {loaded.decoder.config.n_layer} blocks are on {device}, the others on the CPU")
    else:
        loaded = _read(base, say, device)
        step.prepare(loaded.decoder, say)
    if base is entry or entry.adapter is None:
        return loaded
    return with_adapter(loaded, entry, entry.adapter)


def with_weights(entry: Entry) -> Entry:
    """The entry whose weights are read: the base's for an adapter that has none of its own."""
    return entry if entry.base is None or (entry.path / "config.json").is_file() else entry.base


def with_adapter(base: Loaded, entry: Entry, folder: Path) -> Loaded:
    """The same weights, and an adapter for them. UserError for one that does not fit."""
    return replace(base, entry=entry, adapter=read_adapter(folder, base.decoder.config))


def _read(entry: Entry, say: Callable[[str], None], device: str, whole: bool = True) -> Loaded:
    """whole: one device computes all of it; otherwise 4-bit layers must be computable one by one."""
    if entry.path.suffix == ".gguf":
        return _load_file(entry, GgufFile(entry.path), say, device)
    if entry.path.suffix == ".bin":
        return _load_file(entry, Llama2cFile(entry.path), say, device)
    config = entry.path / "config.json"
    if not config.is_file():
        raise UserError(f"{entry.path}: no config.json; give a Hugging Face model folder or a .gguf file")
    if read_json(config).get("quantization_config") or (entry.path / "quantize_config.json").is_file():
        decoder = _load_four_bit(entry.path, say, device, whole)
    else:
        decoder = load_decoder(entry.path, torch.float32).requires_grad_(False).eval()
        if decoder.config.n_parameters > SMALL and _has_bf16(device):
            decoder = decoder.to(torch.bfloat16)
    tokenizer = Tokenizer.load(entry.path)
    ours = (entry.path / "kaiwa.json").is_file()
    prefix = (tokenizer.document_end_id,) if ours else () if tokenizer.bos_id is None else (tokenizer.bos_id,)
    stop_ids = {tokenizer.eos_id, tokenizer.document_end_id, *_generation_ends(entry.path)}
    return Loaded(entry, decoder.to(device), tokenizer, prefix, tuple(sorted(stop_ids)))


def _load_four_bit(folder: Path, say: Callable[[str], None], device: str, whole: bool) -> Decoder:
    shape = read_config(folder)
    if whole and packed_model.applies(folder, shape, device):
        try:
            return packed_model.load_packed(folder, shape, say)
        except packed_model.NotPackable as error:
            say(f"{error}: read the ordinary way, which takes more memory")
    return load_int4(folder, *four_bit(device, say), say=say)


def _load_file(entry: Entry, file: GgufFile | Llama2cFile, say: Callable[[str], None], device: str) -> Loaded:
    words = file.vocabulary()
    tokenizer = tokenizer_of(words)
    prefix = (tokenizer.bos_id,) if words.add_bos and tokenizer.bos_id is not None else ()
    stop_ids = {tokenizer.eos_id, tokenizer.document_end_id}
    held = four_bit(device, say) if isinstance(file, GgufFile) else (torch.float32, False)
    return Loaded(entry, file.decoder(*held).to(device), tokenizer, prefix, tuple(sorted(stop_ids)))


def tokenizer_of(words: Vocabulary) -> Tokenizer:
    if words.scores:
        return Tokenizer.from_pieces(
            words.tokens,
            words.scores,
            special_tokens=words.special,
            chat_template=words.chat_template,
            eos_token=words.eos,
            pad_token=words.pad,
            bos_token=words.bos,
            add_space=words.add_space,
        )
    return Tokenizer.from_vocab_merges(
        words.tokens,
        words.merges,
        special_tokens=words.special,
        pre=words.pre,
        chat_template=words.chat_template,
        eos_token=words.eos,
        pad_token=words.pad,
        bos_token=words.bos,
    )


def four_bit(device: str, say: Callable[[str], None]) -> tuple[torch.dtype, bool]:
    """How 4-bit weights are held: the type of the activations, and whether packed (the kernel is the CPU's)."""
    if device == "cpu" and has_int4_kernel():
        return torch.bfloat16, True
    dtype = torch.bfloat16 if _has_bf16(device) else torch.float32
    lack = "this processor has no fast 4-bit product (AVX-512)" if device == "cpu" else f"{device} has no 4-bit product"
    say(f"{lack}: the weights are expanded to {str(dtype)[6:]}")
    return dtype, False


def _has_bf16(device: str) -> bool:
    """Whether bf16 products are fast there. On mps everything stays fp32."""
    return has_bf16_products() if device == "cpu" else device.startswith("cuda")


def _generation_ends(folder: Path) -> set[int]:
    """More end tokens, which some models name in generation_config.json."""
    file = folder / "generation_config.json"
    if not file.is_file():
        return set()
    ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    return set(ends) if isinstance(ends, list) else {ends} if isinstance(ends, int) else set()
