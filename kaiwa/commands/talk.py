"""up, chat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

UP_USAGE = """usage: kaiwa up [--build RECIPE] [--model MODEL] [--port N] [--no-browser]
                [--listen] [--api-key KEY] [--admin-key KEY] [--per-key N]
                [--defence FILE]

Opens the web app at http://127.0.0.1:7860 (and OpenAI's protocol under /v1).
--build       build a recipe beside it: tiny, laptop, laptop-ja, or a Python file; goes on where it stopped
--model       a name from `kaiwa models`, a model's folder, or a .gguf file
--listen      let other machines in your network come too; needs --api-key
--api-key     a key that every request must carry (or KAIWA_API_KEY in the environment, which `ps` does not show)
--admin-key   one more, for loading, building and training (or KAIWA_ADMIN_KEY; default: a fresh one each start)
--per-key     answers that one key may have under way at once (default 96; without keys: one address)
--defence     a TOML file: what every answer goes through (docs/defend.md)
KAIWA_DEVICE  in the environment: cuda, mps or cpu (default: the best there is)
KAIWA_MAX_MEMORY  what a model's weights may take: 8GB, or gpu=6GiB,cpu=16GiB (default: what is free)
"""
CHAT_USAGE = """usage: kaiwa chat [MODEL] [-p TEXT] [--system TEXT] [--max-tokens N] [--temperature T] [--seed S]
                  [--top-k N] [--top-p P] [--min-p P] [--repetition-penalty R] [--presence-penalty A]
                  [--frequency-penalty A] [--plan] [--max-memory SIZE]

MODEL         a name from `kaiwa models` (default: smollm2-135m-instruct), a model's folder, or a .gguf file
-p TEXT       one answer to stdout; without it a conversation
--temperature 0 always takes the likeliest token (default 0.7)
--plan        print which weights go where, bytes and expected tokens/s, and load nothing
--max-memory  what the weights may take: 8GB, or gpu=6GiB,cpu=16GiB for a model split between a card and the CPU
KAIWA_DEVICE  in the environment: cuda, mps or cpu (default: the best there is)
"""


def up(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(UP_USAGE, end="")
        return
    kinds = {"build": str, "model": str, "port": int, "api-key": str, "admin-key": str, "defence": str, "per-key": int}
    rest, options = read_words(words, kinds, ("no-browser", "listen"))
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa up --help")
    from kaiwa.commands.up import up as run
    from kaiwa.serve.http.network import Access
    from kaiwa.serve.http.rate_limit import MOST

    access = Access(
        listen="listen" in options,
        api_key=options.get("api-key", os.environ.get("KAIWA_API_KEY", "")),
        admin_key=options.get("admin-key", os.environ.get("KAIWA_ADMIN_KEY", "")),
    )
    browser, file = "no-browser" not in options, Path(options["defence"]) if "defence" in options else None
    if (per_key := options.get("per-key", MOST)) < 1:
        raise UserError(f"--per-key {per_key}: at least 1")
    run(options.get("build"), options.get("model"), options.get("port", 7860), browser, access, file, per_key)


def chat(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(CHAT_USAGE, end="")
        return
    from kaiwa.text.sampling import NUMBERS

    sampled = {name.replace("_", "-"): kind for name, kind in NUMBERS.items()}
    kinds = {"p": str, "prompt": str, "system": str, "max-memory": str}
    rest, options = read_words(words, kinds | sampled, ("plan",))
    if len(rest) > 1:
        raise UserError(f"unexpected {rest[1]!r}; a message goes after -p, in quotes")
    from kaiwa.catalog.entries import SMOLLM2
    from kaiwa.catalog.open_model import rest_idle_threads
    from kaiwa.commands.chat_terminal import SAMPLING
    from kaiwa.commands.chat_terminal import chat as run

    rest_idle_threads()
    model = rest[0] if rest else SMOLLM2
    if "plan" in options:
        from kaiwa.catalog.entries import find
        from kaiwa.catalog.memory_plan import ALL, plan
        from kaiwa.engine.rows.cpu_offload import parse_limits

        print(plan(find(model), limits=parse_limits(options["max-memory"]) if "max-memory" in options else ALL).told())
        return
    run(
        model,
        options.get("p", options.get("prompt")),
        options.get("system"),
        replace(SAMPLING, **{name.replace("-", "_"): options[name] for name in sampled if name in options}),
        options.get("seed"),
        options.get("max-memory", ""),
    )


def read_words(
    words: Sequence[str], kinds: dict[str, type], flags: tuple[str, ...]
) -> tuple[list[str], dict[str, Any]]:
    """Positional words, and options by name: --name VALUE, --name=VALUE, -p VALUE, and flags."""
    rest: list[str] = []
    options: dict[str, Any] = {}
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in flags:
            options[name] = ""
            continue
        if name not in kinds:
            raise UserError(f"no option {word!r}{did_you_mean(name, [*kinds, *flags])}")
        if not equals:
            if not todo:
                raise UserError(f"{word} needs a value")
            value = todo.pop(0)
        try:
            options[name] = kinds[name](value)
        except ValueError:
            raise UserError(f"{word}: {value!r} is not a number") from None
    return rest, options
