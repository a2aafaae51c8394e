"""kaiwa up: the web app and OpenAI's protocol on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Open the web app at http://127.0.0.1:7860, and OpenAI's protocol under /v1.

    KAIWA_DEVICE in the environment: cuda, mps or cpu (default: the best there is). KAIWA_MAX_MEMORY: what a model's
    weights may take: 8GB, or gpu=6GiB,cpu=16GiB (default: what is free).
    """

    build: str | None = None  # build a recipe beside it: tiny, laptop, laptop-ja, or a Python file
    model: str | None = None  # a name from `kaiwa models`, a model's folder, or a .gguf file
    port: int = 7860
    no_browser: bool = False  # do not open the browser
    listen: bool = False  # let other machines in your network come too; needs --api-key
    api_key: str = ""  # a key that every request must carry (or KAIWA_API_KEY, which `ps` does not show)
    # one more, for loading, building and training (or KAIWA_ADMIN_KEY; default: a fresh one each start)
    admin_key: str = ""
    # answers that one key may have under way at once (default 96; without keys: one address)
    per_key: int | None = None
    defence: Path | None = None  # a TOML file: what every answer goes through (docs/defend.md)


def main(words: list[str]) -> None:
    """Serve until Ctrl-C."""
    options = read_options(Options, "kaiwa up", words)
    from kaiwa.commands.web_app import up
    from kaiwa.serve.http.network import Access

    access = Access(
        listen=options.listen,
        api_key=options.api_key or os.environ.get("KAIWA_API_KEY", ""),
        admin_key=options.admin_key or os.environ.get("KAIWA_ADMIN_KEY", ""),
    )
    if options.per_key is not None and options.per_key < 1:
        raise UserError(f"--per-key {options.per_key}: at least 1")
    up(
        options.build,
        options.model,
        options.port,
        browser=not options.no_browser,
        access=access,
        defence=options.defence,
        per_key=options.per_key,
    )
