"""Loading of an embedding model: its encoder, its tokenizer, and how a text becomes a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
import torch

from kaiwa.catalog.entries import Entry
from kaiwa.core import machine
from kaiwa.core.errors import UserError
from kaiwa.model.encoder import TextEncoder, pool
from kaiwa.model.encoder_config import PoolingConfig
from kaiwa.model.formats.encoder_folder import load_encoder, read_pooling
from kaiwa.model.formats.hf_config import read_json

# Texts of a kind, by the names that models give them: a request's "document" is another model's "passage".
SAME_PROMPTS = ({"query", "search_query"}, {"document", "passage", "search_document", "corpus"})


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An embedding model in memory."""

    entry: Entry
    encoder: TextEncoder
    tokenizer: tokenizers.Tokenizer
    pooling: PoolingConfig

    @property
    def context(self) -> int:
        """The most tokens of a text, with the special ones."""
        return self.pooling.max_length

    def prompt(self, name: str | None, input_type: str | None = None) -> str:
        """Return the text that stands before a text. input_type: such as "query", of which the model may know nothing.

        UserError for an unknown name.
        """
        prompts = self.pooling.prompts
        if name is None:
            same = next((kinds for kinds in SAME_PROMPTS if input_type in kinds), {input_type})
            kind = next((prompts[other] for other in prompts if other in same), None)
            return prompts.get(self.pooling.default_prompt, "") if kind is None else kind
        text = prompts.get(name)
        if text is None:
            known = f"it has {', '.join(prompts)}" if prompts else "it has none; write it into the texts"
            raise UserError(f"{self.entry.name} has no prompt {name[:40]!r}: {known}", field="prompt_name")
        return text

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Return a text's token ids, by default with the tokens around it."""
        return list(self.tokenizer.encode(self._cased(text), add_special_tokens=special).ids)

    def cut(self, text: str) -> list[int]:
        """Return the token ids of as much of a text as the model reads, with the tokens around it."""
        encoding = self.tokenizer.encode(self._cased(text), add_special_tokens=False)
        encoding.truncate(self.context - self.tokenizer.num_special_tokens_to_add(False))
        return list(self.tokenizer.post_process(encoding).ids)

    def _cased(self, text: str) -> str:
        return text.lower() if self.pooling.lowercase else text

    @torch.inference_mode()
    def embed(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the vector of each list of ids: d_model numbers in fp32."""
        config, device = self.encoder.config, self.encoder.words.weight.device
        width = max(map(len, batch))
        ids = torch.full((len(batch), width), config.pad_id, dtype=torch.long)
        lengths = torch.tensor([len(row) for row in batch])
        for row, text in zip(ids, batch, strict=True):
            row[: len(text)] = torch.tensor(text)
        mask = (torch.arange(width) < lengths[:, None]).to(device)
        vectors = pool(self.encoder(ids.to(device), mask), mask, self.pooling.mode)
        if self.pooling.normalise:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        rows: list[list[float]] = vectors.tolist()
        return rows

    def memory(self) -> int:
        """Return the bytes of all weights."""
        return sum(parameter.nbytes for parameter in self.encoder.parameters())


def load_embedding_model(entry: Entry) -> LoadedEncoder:
    """Read an embedding model's folder, to the best device there is. UserError for what is not computed."""
    encoder = load_encoder(entry.path)
    pooling = read_pooling(entry.path, encoder.config)
    tokenizer = _read_tokenizer(entry.path)
    last = max(tokenizer.get_vocab().values(), default=-1)
    if last >= encoder.config.vocab_size:
        raise UserError(
            f"{entry.path.name}: the tokenizer has {last + 1:,} tokens, the weights have "
            f"{encoder.config.vocab_size:,} rows; they are of two models, copy the tokenizer's files again"
        )
    return LoadedEncoder(entry, encoder.to(machine.device()), tokenizer, pooling)


def _read_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """Read tokenizer.json, or the WordPiece vocabulary of an older folder. Texts are cut and padded here, not there."""
    file, words = folder / "tokenizer.json", folder / "vocab.txt"
    if file.is_file():
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises Exception itself
            raise UserError(f"{file}: damaged, or of a newer kind ({str(error)[:80]}); copy the file again") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    if not words.is_file():
        raise UserError(f"{folder.name}: no tokenizer.json and no vocab.txt; copy the tokenizer's files too")
    settings = folder / "tokenizer_config.json"
    lowercase = read_json(settings).get("do_lower_case", True) if settings.is_file() else True
    inner = tokenizers.BertWordPieceTokenizer(str(words), lowercase=bool(lowercase))
    return tokenizers.Tokenizer.from_str(inner.to_str())
