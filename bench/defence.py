"""What each rule-based defence costs the server: milliseconds a request, its own time in request and reply.

    python bench/defence.py [--requests 300]

The engine is a stub that answers at once, so that only the defence is measured: a chat of four turns (about 900
characters) and an answer of 128 tokens, in pieces as a stream has them. The secret stands in no answer, so every
character of it is read.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

from kaiwa.defend.parse import JUDGES, names, parse
from kaiwa.serve.defence import shield as defending
from kaiwa.serve.defence.shield import Shield

PIECES = ("The ", "boat ", "left ", "at ", "nine", ", and ", "nobody ", "saw ", "it ", "again", ". ")
TEXTS = {
    "en": ("You help travellers. Keep the code to yourself.", "When does the next boat leave, and where can I eat? "),
    "ja": ("あなたは旅行者を助けます。暗号は秘密です。", "次の船はいつ出ますか。それまでどこで食事ができますか。"),
}  # fmt: skip


class Engine:
    async def generate(self, *requests: dict[str, Any]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        yield 0, {"kind": "start", "prompt_tokens": 1, "cached": 0, "prompt": []}
        for i in range(128):
            finish = "length" if i == 127 else None
            yield 0, {"kind": "tokens", "text": PIECES[i % len(PIECES)], "n": 1, "tokens": [], "finish": finish}


def chat(language: str) -> list[dict[str, str]]:
    system, user = TEXTS[language]
    said = user * (3 if language == "en" else 8)
    turns = [
        ("system", system),
        ("user", said),
        ("assistant", said),
        ("user", said),
        ("assistant", said),
        ("user", said),
    ]
    return [{"role": role, "content": content} for role, content in turns]


async def one(services: Any, messages: list[dict[str, str]]) -> float:
    before = services.shield.seconds
    async for _ in defending.generate(services, {"messages": messages, "seed": 0}):
        pass
    return 1000 * float(services.shield.seconds - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    n = parser.parse_args().requests
    everything = "+".join(name for name in names() if name not in ("none", "encoding", *JUDGES))
    print(f"{'defence':<18} {'':<3} {'median ms':>10} {'p95 ms':>8} {'worst':>8}")
    for name in [name for name in names() if name not in JUDGES] + [everything]:
        for language in TEXTS:
            shield = Shield(defence=parse(name), secrets=("open-sesame-4217",) if "canary" in name else ())
            services = SimpleNamespace(shield=shield, engine=Engine())
            asyncio.run(one(services, chat(language)))  # automata and indices are built once
            spent = sorted(asyncio.run(one(services, chat(language))) for _ in range(n))
            label = "all of these" if name == everything else name
            told = f"{statistics.median(spent):>10.3f} {spent[int(0.95 * n)]:>8.3f} {spent[-1]:>8.3f}"
            print(f"{label:<18} {language:<3} {told}")


if __name__ == "__main__":
    main()
