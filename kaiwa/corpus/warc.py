"""WARC and WET files (ISO 28500): `response` records with HTML, `conversion` records with plain text.

warcio reads the records (chunked and compressed HTTP bodies, gzip members). Common Crawl files are often cut off by
interrupted downloads: the complete records are kept, and the cut is reported as one problem.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.corpus.problems import Problems

HTML_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    html: bool
    url: str


def read_warc(path: Path, problems: Problems) -> Iterator[Page]:
    """Yield the pages of a .warc, .wet or .warc.wet file, gzipped or not, in file order."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    name = str(path)
    n = 0
    with open(path, "rb") as f:
        try:
            for record in ArchiveIterator(f):
                body = record.content_stream().read()
                missing = int(record.raw_stream.limit)  # bytes announced in the header but not in the file
                if missing > 0:
                    problems.report("truncated_warc", name, name, f"record {n + 1} lacks its last {missing} bytes")
                    return
                n += 1
                page = _page(record, body, n)
                if page is not None:
                    yield page
        except (ArchiveLoadFailed, EOFError, zlib.error, OSError) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
            problems.report("truncated_warc", name, name, f"not readable after record {n} ({why})")
            return
    if not _ends_whole(path):  # cut within a record's header, which warcio takes for the end of the file
        problems.report("truncated_warc", name, name, f"the file is cut off after record {n}")


def _page(record: Any, body: bytes, n: int) -> Page | None:
    """Return the page of a record, None unless the record is converted text or a successful response of text."""
    url = record.rec_headers.get_header("WARC-Target-URI") or f"record {n}"
    if record.rec_type == "conversion":
        return Page(body, False, url)
    if record.rec_type != "response" or record.http_headers is None or record.http_headers.get_statuscode() != "200":
        return None
    kind = (record.http_headers.get_header("Content-Type") or "").split(";")[0].strip().lower()
    return Page(body, kind in HTML_TYPES, url) if kind in (*HTML_TYPES, "text/plain") else None


def _ends_whole(path: Path) -> bool:
    """Return whether the last gzip member of a file is complete; True for a file that is not gzipped."""
    with open(path, "rb") as f:
        if f.read(2) != b"\x1f\x8b":
            return True
        f.seek(0)
        inflate = zlib.decompressobj(wbits=31)
        started = False
        while chunk := f.read(1 << 16):
            while chunk:
                inflate.decompress(chunk)
                started, chunk = not inflate.eof, inflate.unused_data
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)
        return not started
