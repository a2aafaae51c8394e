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
from pathlib import Path

from kaiwa.defend.parse import JUDGES, names, parse
from kaiwa.serve.defence.shield import Shield, generate
from kaiwa.serve.openai.chat_turn import ChatTurn
from kaiwa.serve.worker.wire import ChatPrompt, Generate, ModelAddress, Reply, Started, Tokens

PIECES = ("The ", "boat ", "left ", "at ", "nine", ", and ", "nobody ", "saw ", "it ", "again", ". ")
TEXTS = {
    "en": ("You help travellers. Keep the code to yourself.", "When does the next boat leave, and where can I eat? "),
    "ja": ("あなたは旅行者を助けます。暗号は秘密です。", "次の船はいつ出ますか。それまでどこで食事ができますか。"),
}  # fmt: skip


class Engine:
    async def generate(self, *requests: Generate) -> AsyncGenerator[tuple[int, Reply], None]:
        yield 0, Started(prompt_tokens=1)
        for i in range(128):
            yield 0, Tokens(text=PIECES[i % len(PIECES)], n=1, finish="length" if i == 127 else None)


def make_request(language: str) -> Generate:
    system, user = TEXTS[language]
    text = user * (3 if language == "en" else 8)
    roles = ("user", "assistant", "user", "assistant", "user")
    turns: list[ChatTurn] = [{"role": "system", "content": system}]
    turns += [{"role": role, "content": text} for role in roles]
    return Generate(model=ModelAddress(name="stub", path=Path("stub")), prompt=ChatPrompt(tuple(turns)))


async def measure(shield: Shield, request: Generate) -> float:
    """Return the milliseconds that the defence takes for one request and its answer."""
    before = shield.seconds
    async for _ in generate(Engine(), shield, [request]):  # type: ignore[arg-type]
        pass
    return 1000 * (shield.seconds - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    n = parser.parse_args().requests
    everything = "+".join(name for name in names() if name not in ("none", "encoding", *JUDGES))
    print(f"{'defence':<18} {'':<3} {'median ms':>10} {'p95 ms':>8} {'worst':>8}")
    for name in [name for name in names() if name not in JUDGES] + [everything]:
        for language in TEXTS:
            shield = Shield(defence=parse(name), secrets=("open-sesame-4217",) if "canary" in name else ())
            asyncio.run(measure(shield, make_request(language)))  # automata and indices are built once
            spent = sorted(asyncio.run(measure(shield, make_request(language))) for _ in range(n))
            label = "all of these" if name == everything else name
            figures = f"{statistics.median(spent):>10.3f} {spent[int(0.95 * n)]:>8.3f} {spent[-1]:>8.3f}"
            print(f"{label:<18} {language:<3} {figures}")


if __name__ == "__main__":
    main()
