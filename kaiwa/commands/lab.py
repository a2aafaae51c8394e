"""lab: compare and the other parts of the prompt lab."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from kaiwa.commands import lab_ladder, lab_more, lab_run
from kaiwa.commands.talk import read_words
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

USAGE = """usage: kaiwa lab COMMAND [options]

  compare     two logs of the same items: kaiwa lab compare A.jsonl B.jsonl
  run         an experiment: kaiwa lab run FILE.toml [--out DIR]
  plan        what an experiment will ask, and the differences that it can find
  ladder      zero-shot, few-shot, soft prompt, fine-tune: what each gains and costs
  search      which of several prompts is best: chosen on dev items, graded on others
  judge       two arms of a finished run before a model as judge, in both orders
  lint        what is known to go wrong in a prompt or an experiment
  assignment  all techniques with controls on a small model: "do prompt engineering and confirm its effect"
  selftest    the harness on answers whose truth is known
  tasks       the built-in tasks and techniques
"""
COMPARE_USAGE = """usage: kaiwa lab compare A.jsonl B.jsonl [--json] [--gate TEXT] [--junit FILE]
                         [--margin POINTS] [--cluster FIELD]

Compares two logs ({"id","correct"} or {"id","score"}, one object a line, ids in any order). Always B - A.
--gate      "B not worse than A by 3 points", "B better than A": exit 1 where that is not shown
--junit     writes the gate's result as JUnit XML
--margin    differences up to so many points do not matter (default 3)
--cluster   records that share this field's value are not independent (one passage, many questions)
"""


def lab(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    commands: dict[str, Callable[[list[str]], None]] = {
        "compare": compare,
        "run": lab_run.run_file,
        "plan": lab_run.plan_file,
        "ladder": lab_ladder.ladder,
        "search": lab_more.search,
        "judge": lab_more.judge,
        "lint": lab_more.lint,
        "assignment": lab_run.assignment,
        "selftest": lab_run.selftest,
        "tasks": lab_run.tasks,
    }
    if words[0] not in commands:
        raise UserError(f"no command 'lab {words[0]}'{did_you_mean(words[0], commands)}")
    commands[words[0]](words[1:])


def compare(words: list[str]) -> None:
    """Exit code 1 where a gate does not hold."""
    if any(word in ("-h", "--help") for word in words):
        print(COMPARE_USAGE, end="")
        return
    kinds = {"gate": str, "junit": str, "margin": float, "cluster": str}
    rest, options = read_words(words, kinds, ("json",))
    if len(rest) != 2:
        raise UserError(f"two logs are needed, got {len(rest)}; kaiwa lab compare A.jsonl B.jsonl")
    if "junit" in options and "gate" not in options:
        raise UserError("--junit reports a gate; give --gate too")
    from kaiwa.lab.experiments.verdicts import comparison_json
    from kaiwa.lab.reports.gate import check_gate, gate_junit, parse_gate
    from kaiwa.lab.reports.logs import match, read_log

    gate = parse_gate(options["gate"]) if "gate" in options else None
    cluster = options.get("cluster", "")
    pair = match(read_log(Path(rest[0]), cluster), read_log(Path(rest[1]), cluster))
    found = pair.compare(options.get("margin", 3.0) / 100)
    told = comparison_text(pair, found)
    judged = check_gate(gate, pair.a, pair.b, pair.clusters) if gate is not None else None
    if "json" in options:
        value = comparison_json(found, pair.unmatched)
        if judged is not None:
            value["gate"] = {"text": judged.text, "passed": judged.passed, "low": judged.low}
        print(json.dumps(value, ensure_ascii=False))
    else:
        print(told)
    if judged is None:
        return
    if "junit" in options:
        Path(options["junit"]).write_text(gate_junit(judged, told), encoding="utf-8")
    print(f"gate {'passed' if judged.passed else 'FAILED'}: {judged.sentence}", file=sys.stderr)
    if not judged.passed:
        sys.exit(1)


def comparison_text(pair: object, found: object) -> str:
    """A comparison of logs for the terminal."""
    from kaiwa.lab.experiments.verdicts import points_text, verdict_text
    from kaiwa.lab.reports.logs import LogPair
    from kaiwa.stats.comparison import PairedComparison

    assert isinstance(pair, LogPair)
    assert isinstance(found, PairedComparison)
    d = found.difference
    lines = [
        f"{found.n} items in both; A {found.mean_a:.3f}, B {found.mean_b:.3f}",
        f"B - A  {points_text(d.mean)} points [{points_text(d.low)}, {points_text(d.high)}], p = {found.p:.3g}",
        f"B lost {found.lost} and won {found.won} items; exact McNemar p = {found.mcnemar_p:.3g}",
        f"verdict: {verdict_text(found)}",
    ]
    for name, ids in (("only in A", pair.only_a), ("only in B", pair.only_b), ("failed", pair.failed)):
        if ids:
            more = ", …" if len(ids) > 10 else ""
            lines.append(f"{name}: {len(ids)} ({', '.join(ids[:10])}{more})")
    return "\n".join(lines)
