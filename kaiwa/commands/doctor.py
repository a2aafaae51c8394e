"""doctor: does a server keep to OpenAI's protocol?"""

from __future__ import annotations

import os
import sys

from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa doctor URL [--model MODEL] [--key KEY] [--json]

Asks a server everything that clients rely on, about 90 small requests, and prints what it found.
URL      for instance http://127.0.0.1:7860 (any server that speaks OpenAI's protocol)
--model  the model to ask (default: the first that the server lists)
--key    its API key (or OPENAI_API_KEY in the environment)
--json   the findings as JSON
Exit code 0 when all that common clients need is there, 1 when something of it is not, 2 when no server answers.
"""


def doctor(words: list[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    rest, options = read_words(words, {"model": str, "key": str}, ("json",))
    if len(rest) != 1:
        raise UserError("give one URL: kaiwa doctor http://127.0.0.1:7860")
    if not rest[0].startswith(("http://", "https://")):
        raise UserError(f"{rest[0]!r} is no URL; it begins with http:// or https://")
    from kaiwa.doctor.run import doctor as run

    key = options.get("key", os.environ.get("OPENAI_API_KEY", ""))
    if not run(rest[0], options.get("model", ""), key, "json" in options, lambda line: print(line, flush=True)):
        sys.exit(1)
