"""The configuration of the corpus stage: sources, and every limit that a document can fail, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kaiwa.core.errors import UserError

BUILTINS = ("builtin:docs", "builtin:code")
Kind = Literal["prose", "code"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of text.

    path        a file or folder, or "builtin:docs" (Python's documentation), "builtin:code" (the standard library),
                "records:FILE" (a JSONL of Document records), "hf:DATASET" or "hf:DATASET:CONFIG:SPLIT"
    weight      share of the training mix relative to the other sources; 0 for all sources: in proportion to their size
    language    language of all documents; "" to identify the language of each document
    kind        filter rules to use: prose or code
    trusted     the text is clean: only exact duplicates are removed, without repair, filters and near-duplicate search
    max_bytes   bytes of clean text after which reading stops (0: no limit)
    text_field  the field or column that holds the text in JSONL and Parquet
    """

    name: str
    path: str
    weight: float = 0.0
    language: str = ""
    kind: Kind = "prose"
    trusted: bool = False
    max_bytes: int = 0
    text_field: str = "text"

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise UserError(f"source name {self.name!r}: it becomes a file name; use letters, digits, '-' and '_'")
        if self.weight < 0:
            raise UserError(f"source {self.name}: weight {self.weight} is below 0; give a share such as 0.3")
        if self.path.startswith("builtin:") and self.path not in BUILTINS:
            raise UserError(f"source {self.name}: {self.path!r} is unknown; there is {' and '.join(BUILTINS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Limits of the heuristic filters (sources: docs/corpus.md). A ratio is between 0 and 1."""

    min_chars: int = 60
    min_chars_ja: int = 25
    max_chars: int = 1_000_000
    mean_word: tuple[float, ...] = (2.5, 12.0)  # characters, for languages with spaces
    max_symbol_ratio: float = 0.3
    max_repeated_lines: float = 0.3
    max_repeated_ngrams: float = 0.2
    min_stop_words: int = 2  # of English, in documents of at least 50 words
    min_kana_ratio: float = 0.05  # of Japanese
    max_code_line: int = 1000
    max_code_mean_line: int = 100
    min_code_alnum: float = 0.25

    def __post_init__(self) -> None:
        if len(self.mean_word) != 2 or self.mean_word[0] >= self.mean_word[1]:
            raise UserError(f"filters.mean_word: {self.mean_word} must be two numbers, the smaller first")
        for name in ("max_symbol_ratio", "max_repeated_lines", "max_repeated_ngrams", "min_kana_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"filters.{name}: {getattr(self, name)} is not a ratio between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedup:
    """MinHash with `bands` × `rows` hashes (FineWeb's 14 × 8); candidates are verified by their exact Jaccard."""

    near: bool = True
    bands: int = 14
    rows: int = 8
    threshold: float = 0.7
    words: int = 5  # n of the word n-grams
    chars: int = 8  # n of the character n-grams, for languages without spaces

    def __post_init__(self) -> None:
        for name in ("bands", "rows", "words", "chars"):
            if getattr(self, name) < 1:
                raise UserError(f"dedup.{name}: {getattr(self, name)} is below 1")
        if not 0 < self.threshold <= 1:
            raise UserError(f"dedup.threshold: {self.threshold} is no similarity between 0 and 1; 0.7 is usual")


DEFAULT_SOURCES = (
    Source(name="docs", path="builtin:docs", language="en"),
    Source(name="code", path="builtin:code", language="code", kind="code", max_bytes=2_000_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    sources: tuple[Source, ...] = DEFAULT_SOURCES
    languages: tuple[str, ...] = ("en", "ja")  # others are dropped; () keeps all
    filters: Filters = field(default_factory=Filters)
    dedup: Dedup = field(default_factory=Dedup)
    split_chars: int = 8000  # plain text longer than twice this number is cut into documents at paragraph ends
    validation_share: float = 0.05
    min_train_bytes: int = 10_000
    workers: int = 0  # processes; 0: one per core. The result is the same for any number
    strict: bool = False  # stop at the first unreadable line or record instead of counting it

    def __post_init__(self) -> None:
        names = [s.name for s in self.sources]
        if not names:
            raise UserError("sources: none given; use --source PATH or the built-in ones")
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise UserError(f"sources: {twice!r} is named twice; give each source its own name")
        weighted = [s.weight > 0 for s in self.sources]
        if any(weighted) and not all(weighted):
            bare = next(s.name for s in self.sources if s.weight == 0)
            raise UserError(f"sources: {bare} has no weight but others have; give a weight to all sources or to none")
        if not 0 < self.validation_share < 0.5:
            raise UserError(f"validation_share: {self.validation_share} must be above 0 and below 0.5; 0.05 is usual")
        if self.workers < 0:
            raise UserError(f"workers: {self.workers} is below 0; use 0 for all cores")
        if self.split_chars < 200:
            raise UserError(f"split_chars: {self.split_chars} is below 200; 8000 is usual")


def from_paths(paths: tuple[str, ...]) -> tuple[Source, ...]:
    """Return one source per path, named after the file, for `kaiwa corpus --source PATH…`."""
    sources: list[Source] = []
    for path in paths:
        stem = path.split(":", 1)[1] if ":" in path and not path.startswith(("/", ".")) else path
        base = stem.rstrip("/").rsplit("/", 1)[-1].split(".")[0].split(":")[0] or "source"
        used_names = {s.name for s in sources}
        name = next(n for n in (base, *(f"{base}-{i}" for i in range(2, len(paths) + 2))) if n not in used_names)
        code = path == "builtin:code"
        language = {"builtin:docs": "en", "builtin:code": "code"}.get(path, "")
        sources.append(Source(name=name, path=path, kind="code" if code else "prose", language=language))
    return tuple(sources)
