"""kaiwa keys list: the server's keys and what each has used."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kaiwa.commands.options import read_options


@dataclass(kw_only=True)
class Options:
    """List the keys by name, with the day each was made, its requests and tokens. The keys themselves are not kept."""


def main(words: list[str]) -> None:
    """Print a line for each key."""
    read_options(Options, "kaiwa keys list", words)
    from kaiwa.core.home import home
    from kaiwa.serve.http.keys import FILE, USAGE_FILE, KeyUsage, NamedKeys

    keys, usage = NamedKeys(home() / FILE).all(), KeyUsage(home() / USAGE_FILE)
    if not keys:
        print("there are no keys with names; make one with kaiwa keys add NAME")
        return
    print(f"{'name':<20} {'made':<11} {'requests':>9} {'prompt tokens':>14} {'answer tokens':>14}  trains")
    for key in keys:
        counts = usage.counts.get(key.name, {})
        day = time.strftime("%Y-%m-%d", time.localtime(key.created))
        figures = [counts.get(name, 0) for name in ("requests", "prompt_tokens", "answer_tokens")]
        trains = "yes" if key.trains else "no"
        print(f"{key.name:<20} {day:<11} {figures[0]:>9,} {figures[1]:>14,} {figures[2]:>14,}  {trains}")
