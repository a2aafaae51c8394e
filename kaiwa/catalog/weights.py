"""A model's files, whatever their format: only here are .gguf, llama2.c's .bin and folders told apart.

`open_weights` reads headers only. Weights are read by `read_decoder` (as answers are computed, perhaps 4-bit) or
`read_dense` (fp32, for training).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch

from kaiwa.catalog.entries import weights_format
from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.core.machine import has_bf16_products, has_int4_kernel
from kaiwa.engine.native import packed_model
from kaiwa.model.config import DecoderConfig
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gguf import FOUR_BIT, GgufFile
from kaiwa.model.formats.gguf_vocabulary import RawVocabulary
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_config import quantization_method, read_config, read_json
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.model.formats.llama2c import Llama2cFile
from kaiwa.model.int4 import expand
from kaiwa.tokenizer.tokenizer import Tokenizer

FULL_PRECISION_BYTES = 12  # per weight: fp32, the C++ step's copy in fp32, and as much again for everything else
SMALL = 50_000_000  # weights: below it fp32, which is exact and as fast
Say = Callable[[str], None]


class Weights(Protocol):
    """The files of a model. four_bit: whether the products of its blocks are 4-bit, from headers alone."""

    @property
    def config(self) -> DecoderConfig: ...
    @property
    def four_bit(self) -> bool: ...

    def read_decoder(self, device: str, say: Say, whole: bool = True) -> Decoder:
        """Read the decoder in the format for `device`, on the CPU. `say` gets a line about any slower path.

        whole: a single device computes all blocks; otherwise every 4-bit layer must be computable alone.
        """
        ...

    def stays_fp32(self, device: str) -> bool:
        """Return whether weights beyond SMALL are computed in fp32, although bf16 products would be quicker."""
        ...

    def read_dense(self) -> Decoder:
        """Read dense fp32 weights for training. UserError for a reward model."""
        ...

    def read_tokenizer(self) -> Tokenizer: ...

    def read_prefix(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """Return the tokens at the beginning of plain text."""
        ...

    def read_stop_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """Return the stop tokens of an answer, in order."""
        ...


def open_weights(path: Path) -> Weights:
    """Open a model's files. UserError for a damaged header; a folder's config.json is read when needed."""
    match weights_format(path):
        case "gguf":
            return GgufWeights(path)
        case "llama2.c":
            return Llama2cWeights(path)
        case _:
            return FolderWeights(path)


class FolderWeights:
    """A Hugging Face folder with dense, GPTQ or AWQ weights."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> DecoderConfig:
        return read_config(self.path)

    @cached_property
    def four_bit(self) -> bool:
        file = self.path / "config.json"
        if not file.is_file():
            raise UserError(f"{self.path}: no config.json; give a Hugging Face model folder or a .gguf file")
        return bool(read_json(file).get("quantization_config")) or (self.path / "quantize_config.json").is_file()

    def stays_fp32(self, device: str) -> bool:
        return False

    def read_decoder(self, device: str, say: Say, whole: bool = True) -> Decoder:
        if self.four_bit:
            own = quantization_method(self.path) != "awq"  # the packed file is made of GPTQ's words
            if whole and own and packed_model.applies(self.path, self.config, device):
                try:
                    return packed_model.load_packed(self.path, self.config, say)
                except packed_model.NotPackable as error:
                    say(f"{error}: read the ordinary way, which takes more memory")
            return load_int4(self.path, *four_bit(device, say), say=say)
        decoder = load_decoder(self.path, torch.float32, say).requires_grad_(False).eval()
        if decoder.config.n_parameters > SMALL and has_bf16(device):
            decoder = decoder.to(torch.bfloat16)
        return decoder

    def read_dense(self) -> Decoder:
        four = self.four_bit  # first, for its message where there is no model
        names = read_json(self.path / "config.json").get("architectures") or ()
        if any("SequenceClassification" in str(name) for name in names):
            raise UserError(f"{self.path}: is a reward model, which says nothing; give a language model")
        return expand(load_int4(self.path, torch.float32, False)) if four else load_decoder(self.path)

    def read_tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.path)

    def read_prefix(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        if (self.path / "kaiwa.json").is_file():
            return (tokenizer.document_end_id,)
        return () if tokenizer.bos_id is None else (tokenizer.bos_id,)

    def read_stop_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        return tuple(sorted({*tokenizer.stop_ids, tokenizer.document_end_id}))


class GgufWeights:
    """A .gguf file. Its 4-bit blocks stay so where the machine has the product for them."""

    def __init__(self, path: Path) -> None:
        self.file = GgufFile(path)
        self.config = self.file.config

    @property
    def four_bit(self) -> bool:
        kinds = [t.kind for name, t in self.file.tensors.items() if ".attn_" in name and len(t.shape) == 2]
        return bool(kinds) and all(kind in FOUR_BIT for kind in kinds)

    @property
    def _has_full_precision(self) -> bool:
        """Whether all matrices are F32 or F16, which bf16 would round."""
        return all(tensor.kind in ("F32", "F16") for tensor in self.file.tensors.values() if len(tensor.shape) == 2)

    def stays_fp32(self, device: str) -> bool:
        room = machine.free_memory_bytes()
        fits = self.config.n_parameters * FULL_PRECISION_BYTES <= room
        return device == "cpu" and self._has_full_precision and (self.config.n_parameters <= SMALL or fits)

    def read_decoder(self, device: str, say: Say, whole: bool = True) -> Decoder:
        if self.stays_fp32(device):
            return self.file.decoder(torch.float32, False, say)
        if self._has_full_precision and has_bf16(device):
            say(f"{self.file.path.name} has more precision than bf16, which computes the answers: fp32 does not fit")
            return self.file.decoder(torch.bfloat16, False, say)
        return self.file.decoder(*four_bit(device, say), say)

    def read_dense(self) -> Decoder:
        return expand(self.file.decoder(torch.float32, False))

    def read_tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.file.vocabulary())

    def read_prefix(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        begins = self.file.vocabulary().add_bos and tokenizer.bos_id is not None
        return (tokenizer.bos_id,) if begins and tokenizer.bos_id is not None else ()

    def read_stop_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        return tuple(sorted({*tokenizer.stop_ids, tokenizer.document_end_id}))


class Llama2cWeights:
    """A .bin file of llama2.c: dense fp32, with its tokenizer in a file beside."""

    four_bit = False

    def __init__(self, path: Path) -> None:
        self.file = Llama2cFile(path)
        self.config = self.file.config

    def stays_fp32(self, device: str) -> bool:
        return True

    def read_decoder(self, device: str, say: Say, whole: bool = True) -> Decoder:
        return self.file.decoder(torch.float32)

    def read_dense(self) -> Decoder:
        return self.file.decoder(torch.float32)

    def read_tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.file.vocabulary())

    def read_prefix(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        return () if tokenizer.bos_id is None else (tokenizer.bos_id,)

    def read_stop_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        return tuple(sorted({*tokenizer.stop_ids, tokenizer.document_end_id}))


def tokenizer_of(words: RawVocabulary) -> Tokenizer:
    """Make the tokenizer of a GGUF or llama2.c file: SentencePiece if the vocabulary has scores, else BPE."""
    if words.scores:
        return Tokenizer.from_pieces(
            words.tokens,
            words.scores,
            special_tokens=words.special,
            user_tokens=words.user,
            generation_ends=words.ends,
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
        user_tokens=words.user,
        generation_ends=words.ends,
        pre=words.pre,
        chat_template=words.chat_template,
        eos_token=words.eos,
        pad_token=words.pad,
        bos_token=words.bos,
    )


def four_bit(device: str, say: Say) -> tuple[torch.dtype, bool]:
    """Return how 4-bit weights are kept: the activations' type, and whether packed for the CPU's 4-bit product."""
    if device == "cpu" and has_int4_kernel():
        return torch.bfloat16, True
    dtype = torch.bfloat16 if has_bf16(device) else torch.float32
    lack = "this processor has no fast 4-bit product (AVX-512)" if device == "cpu" else f"{device} has no 4-bit product"
    say(f"{lack}: the weights are expanded to {str(dtype)[6:]}")
    return dtype, False


def has_bf16(device: str) -> bool:
    """Return whether bf16 products are fast on a device. On mps everything stays fp32."""
    return has_bf16_products() if device == "cpu" else device.startswith("cuda")
