"""The text of a quantization: rows to calibrate GPTQ with, and held-out rows to measure with, in the model's tokens.

Three sources: an artifact of `kaiwa tokenizer` (the recipes'), a text file of one's own, or the model itself, which
writes what it would write anyway (sampled at temperature 1 from the beginning of a text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, seed_for
from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Decoder
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.text.files import read_rows
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.rows import Rows, pack, packed_rows
from kaiwa.train.shards import Shards

PLAIN = (".txt", ".md")
PARTS = 4  # times that a model is asked for more text
OWN = "own"  # the source's name of text that the model wrote


@dataclass(frozen=True, slots=True)
class QuantizeText:
    """Rows for calibration, and held-out rows by source."""

    calibration: Rows
    held_out: dict[str, Rows]


def rows_of_tokens(
    config: QuantizeConfig, tokens: Artifact, tokenizer: Tokenizer, model: Artifact, *, width: int, seed: int
) -> QuantizeText:
    """Return rows of a tokenizer artifact's sources. UserError where another tokenizer encoded it."""
    shards = Shards.of_model(tokens.path, tokenizer, model.path)
    held_out = {name: shards.held_out(name, width, config.evaluate_rows) for name in shards.sources}
    return QuantizeText(shards.mixture(width, seed).next(config.calibration_rows), held_out)


def rows_of_file(
    config: QuantizeConfig, file: Path, tokenizer: Tokenizer, prefix: Sequence[int], *, width: int, seed: int
) -> QuantizeText:
    """Return rows of a text file (.txt, .md: the whole; otherwise rows with `text`), in pieces of `width` tokens, in
    an order drawn from the seed. UserError for less text than rows asked for."""
    pieces = []
    for text in read_texts(file):
        ids = tokenizer.encode(text)
        size = max(1, width - len(prefix))
        pieces += [[*prefix, *ids[at : at + size]] for at in range(0, len(ids), size)]
    order = numpy_rng(seed, "quantize-text").permutation(len(pieces))
    return _split(config, [pieces[i] for i in order], width, str(file), file.stem)


def read_texts(file: Path) -> list[str]:
    """Return the texts of a file. UserError for a file without text."""
    if file.suffix.lower() in PLAIN:
        try:
            return [file.read_text(encoding="utf-8-sig")]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read as UTF-8 text ({error})") from None
    rows = [row.value for row in read_rows(file) if not row.fault]
    texts = [row["text"] for row in rows if isinstance(row, dict) and isinstance(row.get("text"), str)]
    if not texts:
        raise UserError(f'{file}: no row has a field `text`; give a .txt file, or JSONL rows like {{"text": "…"}}')
    return texts


def rows_by_model(
    config: QuantizeConfig,
    decoder: Decoder,
    prefix: Sequence[int],
    stop_ids: Sequence[int],
    ctx: Context,
    *,
    width: int,
) -> QuantizeText:
    """Return rows that the model writes itself, after `prefix` (the beginning of a text)."""
    rows = config.evaluate_rows + config.calibration_rows
    ctx.say(f"the model writes its own text for calibration: {rows} rows of up to {width} tokens")
    engine, pieces = Engine(decoder), list[list[int]]()
    for part in range(PARTS):  # a model that ends its texts early writes more of them
        sampling = Sampling(max_tokens=width - len(prefix), seed=seed_for(ctx.seed, f"quantize-text-{part}"))
        answers = engine.generate([list(prefix)] * rows, sampling, stop_ids=stop_ids)
        pieces += [[*prefix, *answer.ids] for answer in answers]
        if sum(map(len, pieces)) >= rows * width:
            break
    return _split(config, pieces, width, "the model's own text", OWN)


def _split(config: QuantizeConfig, pieces: list[list[int]], width: int, what: str, source: str) -> QuantizeText:
    """Pack pieces into rows: the first ones are held out, the others calibrate."""
    bins = pack(pieces, width)
    n = min(config.evaluate_rows, len(bins) // 4)
    if n < 1:
        total = sum(map(len, pieces))
        raise UserError(f"{what} has {total:,} tokens; at least {4 * width:,} are needed for calibration and measure")

    def rows(members: list[list[int]]) -> Rows:
        return packed_rows(pieces, [[1.0] * len(piece) for piece in pieces], members, width, 0)

    return QuantizeText(rows(bins[n : n + config.calibration_rows]), {source: rows(bins[:n])})
