"""Files and folders to raw documents: plain text, Markdown, HTML, JSONL, Parquet, WARC, WET; a Hugging Face data set.

Reading is sequential and cheap; `process` does the expensive work (extraction, filters, signatures) in batches. The
order is fixed: files by their path within the source, records in file order.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.corpus.hugging_face import read_dataset
from kaiwa.corpus.problems import Problems
from kaiwa.corpus.raw import Raw
from kaiwa.corpus.warc import read_warc
from kaiwa.text.records import conversation

TEXT = (".txt", ".text", ".md", ".markdown", ".rst")
CODE = (".py", ".c", ".h", ".js", ".ts", ".java", ".go", ".rs", ".rb", ".sh", ".cpp", ".hpp")
HTML = (".html", ".htm", ".xhtml")
SUFFIXES = (*TEXT, *CODE, *HTML, ".jsonl", ".ndjson", ".parquet", ".warc", ".wet")
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
BROKEN_LIMIT = 0.01  # largest share of replaced bytes; with more, the file is taken for another encoding


def read_source(source: Source, config: CorpusConfig, problems: Problems) -> Iterator[Raw]:
    """Yield the documents of a source, except the built-in sources, which `builtin` reads."""
    scheme, _, rest = source.path.partition(":")
    if scheme == "hf":
        yield from read_dataset(source, rest)
    elif scheme == "records":
        yield from read_jsonl_file(Path(rest), source, problems, Path(rest).name)
    else:
        root = Path(source.path)
        for file in list_files(source):
            name = file.relative_to(root).as_posix() if root.is_dir() else file.name
            yield from read_file(file, source, config, problems, name)
            problems.finish_file(str(file))


def list_files(source: Source) -> list[Path]:
    """Return the readable files of a source, sorted by path.

    UserError for a missing path, a folder without readable files, or an unknown suffix.
    """
    root = Path(source.path.removeprefix("records:"))
    where = f"source {source.name}: {root}"
    if not root.exists():
        raise UserError(f"{where} does not exist; give a file or a folder")
    if root.is_file():
        if suffix_of(root) not in SUFFIXES:
            near = did_you_mean(suffix_of(root), SUFFIXES)
            raise UserError(f"{where}: files ending in {suffix_of(root)!r} cannot be read{near}")
        return [root]
    files = [
        p for p in root.rglob("*") if p.is_file() and not any(x.startswith(".") for x in p.relative_to(root).parts)
    ]
    readable = sorted((p for p in files if suffix_of(p) in SUFFIXES), key=lambda p: p.relative_to(root).as_posix())
    if not readable:
        what = f"none of its {len(files)} files can be read" if files else "the folder is empty"
        raise UserError(f"{where}: {what}; there must be files ending in {' '.join(SUFFIXES)}")
    return readable


def suffix_of(path: Path) -> str:
    """Return the suffix of the file format, without .gz: .warc for page.warc.gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_file(file: Path, source: Source, config: CorpusConfig, problems: Problems, name: str) -> Iterator[Raw]:
    """Yield the documents of one file."""
    suffix = suffix_of(file)
    prefix = f"{source.name}/{name}"
    if suffix in (".warc", ".wet"):
        for n, page in enumerate(read_warc(file, problems)):
            body: str | bytes = page.body if page.html else decode(page.body, f"{file} ({page.url})", problems)
            yield Raw(body, "html" if page.html else "text", f"{prefix}#{n}", meta={"url": page.url})
    elif suffix in (".jsonl", ".ndjson"):
        yield from read_jsonl_file(file, source, problems, prefix)
    elif suffix == ".parquet":
        yield from read_parquet(file, source, prefix)
    else:
        data = _read_bytes(file, problems)
        if suffix in HTML:
            yield Raw(data, "html", prefix)
            return
        text = decode(data, str(file), problems)
        if suffix in (".md", ".markdown"):
            text = FRONT_MATTER.sub("", text)
        pieces = [text] if source.kind == "code" else split_text(text, config.split_chars)
        for n, piece in enumerate(pieces):
            yield Raw(piece, "text", prefix if len(pieces) == 1 else f"{prefix}#{n}")


def _read_bytes(file: Path, problems: Problems) -> bytes:
    if file.suffix.lower() != ".gz":
        return file.read_bytes()
    whole = []
    try:
        with gzip.open(file, "rb") as f:
            while chunk := f.read(1 << 20):
                whole.append(chunk)
    except (EOFError, OSError) as error:
        problems.report("truncated_gzip", str(file), str(file), f"not readable to its end ({error})")
    return b"".join(whole)


def decode(data: bytes, where: str, problems: Problems) -> str:
    """Decode bytes: by the byte order mark, else as UTF-8 with a few broken bytes replaced, else by a guess.

    Replacements and guesses are reported as problems.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace").lstrip("\ufeff")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    repaired = data.decode("utf-8", errors="replace")
    broken = repaired.count("\ufffd")
    if broken > max(8, BROKEN_LIMIT * len(data)):
        from charset_normalizer import from_bytes

        guess = from_bytes(data[: 1 << 18]).best()
        if guess is not None and guess.encoding not in ("utf_8", "ascii"):
            problems.report("other_encoding", where, where, f"is not UTF-8, read as {guess.encoding}")
            return data.decode(guess.encoding, errors="replace")
    problems.report("broken_utf8", where, where, f"{broken} places are not UTF-8 and became �")
    return repaired


def split_text(text: str, size: int) -> list[str]:
    """Cut a text of more than 2 * size characters at paragraph ends into pieces of about `size` characters.

    A text without paragraphs is cut at line ends.
    """
    if len(text) <= 2 * size:
        return [text]
    parts = re.split(r"(?<=\n)(?=\s*\n)", text)
    if max(map(len, parts)) > 2 * size:
        parts = [line for part in parts for line in (part.splitlines(keepends=True) if len(part) > size else [part])]
    pieces, current, length = [], [], 0
    for part in parts:
        current.append(part)
        length += len(part)
        if length >= size:
            pieces.append("".join(current))
            current, length = [], 0
    return [*pieces, "".join(current)] if current else pieces


def read_jsonl_file(file: Path, source: Source, problems: Problems, prefix: str) -> Iterator[Raw]:
    """Yield one Raw per line; a line that is not a JSON object with the text field is reported as a problem."""
    if not file.is_file():
        raise UserError(f"source {source.name}: {file} does not exist; give a JSONL file of records")
    name = str(file)
    for number, line in enumerate(_read_bytes(file, problems).split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(decode(line, where, problems) if not line.isascii() else line)
        except (json.JSONDecodeError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            problems.report("bad_json_line", name, where, f"not JSON ({why})")
            continue
        if not isinstance(row, dict) or not isinstance(row.get(source.text_field), str):
            hint = did_you_mean(source.text_field, row) if isinstance(row, dict) and row else ""
            problems.report("bad_json_line", name, where, f"no text in field {source.text_field!r}{hint}")
            continue
        meta = row.get("meta") if isinstance(row.get("meta"), dict) else {}
        if meta and "messages" in meta:
            try:
                conversation(meta["messages"])
            except UserError as error:
                problems.report("bad_messages", name, where, str(error))
                continue
        language = str(row.get("language") or "")
        yield Raw(row[source.text_field], "text", str(row.get("id") or f"{prefix}#{number}"), language, meta or {})


def read_parquet(file: Path, source: Source, prefix: str) -> Iterator[Raw]:
    """Yield one Raw per row of the text column."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file}: not a Parquet file ({str(error).splitlines()[0][:100]})") from None
    with table:
        if source.text_field not in table.schema_arrow.names:
            near = did_you_mean(source.text_field, table.schema_arrow.names)
            raise UserError(f"{file}: no column {source.text_field!r}{near}; set the source's text_field")
        n = 0
        for batch in table.iter_batches(batch_size=1024, columns=[source.text_field]):
            for text in batch.column(0).to_pylist():
                if isinstance(text, str):
                    yield Raw(text, "text", f"{prefix}#{n}")
                n += 1
