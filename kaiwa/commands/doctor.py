"""kaiwa doctor: a check of a server against OpenAI's protocol."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Check a server for everything that clients rely on, with 200 checks in small requests, and print the findings.

    Exit code 0 if everything that common clients need works, 1 if something fails, 2 if no server answers.
    """

    url: Positional[Annotated[str, arg(metavar="URL")]]  # any OpenAI-compatible server: http://127.0.0.1:7860
    model: str = ""  # the model to ask (default: the first that the server lists)
    key: str = ""  # its API key (or OPENAI_API_KEY in the environment)
    json: bool = False  # print the findings as JSON


def main(words: list[str]) -> None:
    """Examine the server."""
    if not any(not word.startswith("-") for word in words) and not {"-h", "--help"} & set(words):
        raise UserError("give one URL: kaiwa doctor http://127.0.0.1:7860")
    options = read_options(Options, "kaiwa doctor", words)
    if not options.url.startswith(("http://", "https://")):
        raise UserError(f"{options.url!r} is no URL; it begins with http:// or https://")
    from kaiwa.doctor.run import doctor

    key = options.key or os.environ.get("OPENAI_API_KEY", "")
    if not doctor(options.url, options.model, key, options.json, lambda line: print(line, flush=True)):
        sys.exit(1)
