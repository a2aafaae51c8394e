"""kaiwa up: the web app and the server for OpenAI's protocol."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Open the web app at http://127.0.0.1:7860, and serve OpenAI's protocol under /v1.

    KAIWA_DEVICE in the environment: cuda, mps or cpu (default: the best device). KAIWA_MAX_MEMORY: the memory limit of
    a model's weights: 8GB, or gpu=6GiB,cpu=16GiB (default: the free memory).
    """

    build: str | None = None  # also build a recipe: tiny, laptop, laptop-ja, or a Python file
    model: str | None = None  # a name from `kaiwa models`, a model's folder, or a .gguf file
    port: int = 7860
    no_browser: bool = False  # do not open the browser
    listen: bool = False  # accept other machines in your network; needs --api-key
    api_key: str | None = None  # key that every request must carry (or KAIWA_API_KEY, which `ps` does not show)
    # second key, for loading, building and training (or KAIWA_ADMIN_KEY; default: a new key at each start)
    admin_key: str | None = None
    # largest number of simultaneous answers per key (default 96), without keys per address
    per_key: int | None = None
    allow_host: tuple[str, ...] = ()  # further names under which the server may be reached, on any port
    allow_origin: tuple[str, ...] = ()  # web sites whose pages may use the server, such as https://app.example.org
    root_path: str = ""  # path under which a proxy has the server, such as /kaiwa
    trust_proxy: tuple[str, ...] = ()  # addresses of proxies whose X-Forwarded-For and -Proto are believed
    defence: Path | None = None  # TOML file of a defence for every answer (docs/defend.md)


def main(words: list[str]) -> None:
    """Serve until Ctrl-C."""
    options = read_options(Options, "kaiwa up", words)
    from kaiwa.commands.web_app import up
    from kaiwa.core.home import home
    from kaiwa.serve.http.keys import FILE, NamedKeys
    from kaiwa.serve.http.network import Access

    access = Access(
        listen=options.listen,
        api_key=os.environ.get("KAIWA_API_KEY", "") if options.api_key is None else options.api_key,
        admin_key=os.environ.get("KAIWA_ADMIN_KEY", "") if options.admin_key is None else options.admin_key,
        hosts=options.allow_host,
        origins=options.allow_origin,
        root_path=options.root_path,
        proxies=options.trust_proxy,
        named_keys=bool(NamedKeys(home() / FILE).all()),
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
