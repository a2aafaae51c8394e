"""redteam targets, attacks, defences, play, import, selftest: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path

from kaiwa.commands.console import report_checks, table
from kaiwa.commands.lab_run import MODEL_OPTIONS
from kaiwa.commands.talk import read_words
from kaiwa.core.errors import UserError

HELP = ("h", "help")


def _helped(words: list[str], usage: str) -> bool:
    if any(word in ("-h", "--help") for word in words):
        print(usage)
        return True
    return False


def targets(words: list[str]) -> None:
    if _helped(words, "usage: kaiwa redteam targets [NAME]        (kaiwa redteam targets keeper.en > mine.toml)"):
        return
    from kaiwa.core.config import did_you_mean
    from kaiwa.redteam.targets.target import example_text, list_examples, read_target

    if not words:
        rows = [["name", "language", "secrets", "rules", "facts", "documents", "tools", "system prompt"]]
        for name in list_examples():
            t = read_target(name)
            counts = [str(len(x)) for x in (t.secrets, t.rules, t.facts, t.documents, t.tools)]
            rows.append([name, t.language, *counts, t.system[:48] + "…"])
        print(table(rows, lambda i: "<"))
        return
    if words[0] not in list_examples():
        raise UserError(f"no example {words[0]!r}{did_you_mean(words[0], list_examples())}")
    print(example_text(words[0]), end="")


def attacks(words: list[str]) -> None:
    if _helped(words, "usage: kaiwa redteam attacks [NAME]        (with a name: its words in both languages)"):
        return
    from kaiwa.redteam.attacks.all import ATTACKS
    from kaiwa.redteam.attacks.attack import choose_attacks
    from kaiwa.redteam.attacks.transforms import TRANSFORMS

    if words:
        for attack in choose_attacks(words[0], ATTACKS):
            print(f"{attack.name} ({attack.family}, {attack.owasp}, {attack.atlas}): {attack.idea}")
            for language, turns in attack.wording.items():
                for turn in turns:
                    print(f"  {language}: " + turn.replace("\n", "\n      "))
        return
    rows = [["name", "family", "aims at", "turns", "OWASP", "ATLAS", "idea"]]
    for attack in ATTACKS:
        goals = " ".join(attack.goals)
        rows.append([attack.name, attack.family, goals, str(attack.turns), attack.owasp, attack.atlas, attack.idea])
    print(table(rows, lambda i: "<"))
    print(f"{len(ATTACKS)} attacks, in English and Japanese; behind a +: {', '.join(TRANSFORMS)}")


def defences(words: list[str]) -> None:
    if _helped(words, "usage: kaiwa redteam defences"):
        return
    from kaiwa.defend.parse import names

    print(" ".join(names()))
    print("stacked with +, options in brackets: delimiters+canary_filter(partial=6); see docs/defend.md")


def lessons(words: list[str]) -> None:
    usage = (
        "usage: kaiwa redteam lessons --out FILE.jsonl [--language en|ja] [--n N] [--seed S] [--mix FILE.jsonl]\n\n"
        "Dialogues that teach a small model to use its system prompt, as demonstrations:\n"
        "kaiwa sft --base MODEL --demonstrations FILE.jsonl\n"
        "--n     how many (default 24000)\n"
        "--mix   the model's own demonstrations, so that it keeps what it knows"
    )
    kinds: dict[str, type] = {"out": str, "language": str, "n": int, "seed": int, "mix": str}
    if _helped(words, usage):
        return
    names, options = read_words(words, kinds, ())
    language, n = options.get("language", "en"), options.get("n", 24000)
    if names or "out" not in options:
        raise UserError(usage)
    from kaiwa.core.artifact import write_atomic
    from kaiwa.redteam.lessons import WORDINGS, generate_lessons
    from kaiwa.text.records import read_jsonl

    if language not in WORDINGS or n < 1:
        raise UserError(f"--language {language} --n {n}: give one of {', '.join(WORDINGS)}, and at least 1")
    mix = [row for row in read_jsonl(Path(options["mix"])) if "messages" in row] if "mix" in options else []
    rows = (json.dumps(row, ensure_ascii=False) for row in generate_lessons(n, options.get("seed", 0), language, mix))
    write_atomic(Path(options["out"]), "\n".join(rows) + "\n")
    print(f"{n} dialogues: {options['out']}")


def import_file(words: list[str]) -> None:
    usage = (
        "usage: kaiwa redteam import FILE [--out FILE.json]\n\ngarak's report.jsonl or promptfoo's results.json, as"
        " shares with intervals; --out writes them in the shape of matrix.json.\nkaiwa redteam run … --compare FILE"
        " puts them beside a run's own in its report."
    )
    if not words or _helped(words, usage):
        if not words:
            print(usage)
        return
    rest, options = read_words(words, {"out": str}, ())
    if len(rest) != 1:
        raise UserError(f"one file is needed, got {len(rest)}; kaiwa redteam import FILE")
    from kaiwa.redteam.bench.other_tools import read_results

    found = read_results(Path(rest[0]))
    rows = [["tool", "model", "attack", "hits", "share", "95 %", "failed"]]
    for one in found:
        share = [f"{one.share.mean:.1%}", f"{one.share.low:.1%} to {one.share.high:.1%}"] if one.trials else ["–", "–"]
        rows.append([one.tool, one.model, one.name, f"{one.successes} of {one.trials}", *share, str(one.failed)])
    print(table(rows, lambda i: "<" if i < 3 else ">"))
    if "out" in options:
        value = {"cells": [one.to_json() for one in found], "benign": []}
        Path(options["out"]).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def selftest(words: list[str]) -> None:
    """Exit code 1 where a check fails."""
    rest, options = read_words(words, {"trials": int, "seed": int}, HELP)
    if rest or "h" in options or "help" in options:
        print("usage: kaiwa redteam selftest [--trials N] [--seed S]")
        return
    trials = options.get("trials", 1000)
    if trials < 100:
        raise UserError(f"--trials {trials}: at least 100 are needed to tell anything")
    from kaiwa.redteam.bench.selftest import selftest as run

    checks = run(trials, options.get("seed", 0))
    report_checks(checks)


PLAY_USAGE = """usage: kaiwa redteam play [LEVEL] [--language en|ja] [--model MODEL] [--url URL]

The password game: a keeper with a secret, and more defences from level to level. Say what brings the secret out, then
guess it with /guess SECRET. /hint says why the last try failed, /level N goes to a level, /quit leaves.
"""


def play(words: list[str]) -> None:
    if _helped(words, PLAY_USAGE):
        return
    rest, options = read_words(words, MODEL_OPTIONS | {"language": str}, ())
    level = rest[0] if rest else "1"
    if not level.isdecimal() or len(rest) > 1:
        raise UserError(f"level {level!r} is not a whole number; kaiwa redteam play 2")
    from kaiwa.commands.lab_run import open_model
    from kaiwa.commands.redteam_run import wanted
    from kaiwa.redteam.game import Game, play_in_terminal

    game = Game(int(level), options.get("language", "en"))
    opened = open_model(wanted(options.get("model", ""), options.get("url", ""), options), options)
    play_in_terminal(game, opened.model)
