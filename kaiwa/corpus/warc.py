"""WARC and WET files (ISO 28500): `response` records with HTML, `conversion` records with plain text.

Reading is warcio's (chunked and compressed HTTP bodies, gzip members). Common Crawl files are cut off in practice
(interrupted downloads): what was whole is kept, the cut is one reported problem.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kaiwa.corpus.problems import Problems

HTML_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Page:
    body: bytes
    html: bool
    url: str


def read_warc(path: Path, problems: Problems) -> Iterator[Page]:
    """The pages of a .warc, .wet or .warc.wet file, gzipped or not, in file order."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    name = str(path)
    n = 0
    with open(path, "rb") as f:
        try:
            for record in ArchiveIterator(f):
                n += 1
                url = record.rec_headers.get_header("WARC-Target-URI") or f"record {n}"
                if record.rec_type == "conversion":
                    body, html = record.content_stream().read(), False
                elif record.rec_type == "response" and record.http_headers is not None:
                    kind = (record.http_headers.get_header("Content-Type") or "").split(";")[0].strip().lower()
                    status = record.http_headers.get_statuscode()
                    if kind not in (*HTML_TYPES, "text/plain") or status != "200":
                        continue
                    body, html = record.content_stream().read(), kind in HTML_TYPES
                else:
                    continue
                if record.raw_stream.limit > 0:
                    missing = record.raw_stream.limit
                    problems.report("truncated_warc", name, name, f"record {n} is cut off ({missing} bytes missing)")
                    return
                yield Page(body, html, url)
        except (ArchiveLoadFailed, EOFError, zlib.error, OSError) as error:
            problems.report("truncated_warc", name, name, f"not readable after record {n} ({_short(error)})")
            return


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]
