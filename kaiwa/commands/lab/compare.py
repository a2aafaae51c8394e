"""kaiwa lab compare: comparison of two logs of the same items."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kaiwa.commands.options import Positional, arg, read_options
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.lab.reports.logs import LogPair
    from kaiwa.stats.comparison import PairedComparison


@dataclass(kw_only=True)
class Options:
    """Compare two logs: {"id","correct"} or {"id","score"}, one object per line, ids in any order. Always B - A."""

    logs: Positional[Annotated[tuple[Path, ...], arg(metavar="A.jsonl B.jsonl")]] = ()
    json: bool = False  # print the result as JSON
    gate: str = ""  # "B not worse than A by 3 points", "B better than A": exit 1 if the logs do not show this
    junit: Path | None = None  # write the gate's result as JUnit XML
    margin: float = 3.0  # largest difference in points that does not matter
    cluster: str = ""  # field whose equal values mark dependent records (many questions about one passage)


def main(words: list[str]) -> None:
    """Compare the logs. Exit code 1 where a gate does not hold."""
    options = read_options(Options, "kaiwa lab compare", words)
    if len(options.logs) != 2:
        raise UserError(f"two logs are needed, got {len(options.logs)}; kaiwa lab compare A.jsonl B.jsonl")
    if options.junit is not None and not options.gate:
        raise UserError("--junit reports a gate; give --gate too")
    from kaiwa.lab.experiments.verdicts import comparison_json
    from kaiwa.lab.reports.gate import check_gate, gate_junit, parse_gate
    from kaiwa.lab.reports.logs import match, read_log

    gate = parse_gate(options.gate) if options.gate else None
    pair = match(read_log(options.logs[0], options.cluster), read_log(options.logs[1], options.cluster))
    comparison = pair.compare(options.margin / 100)
    text = comparison_text(pair, comparison)
    judged = None
    if gate is not None:
        judged = check_gate(
            gate, pair.a, pair.b, pair.clusters, n_failed=len(pair.failed), n_unmatched=len(pair.ids_of_one)
        )
    if options.json:
        value = comparison_json(comparison, pair.ids_of_one)
        if judged is not None:
            value["gate"] = {"text": judged.text, "passed": judged.passed, "low": judged.low}
        print(json.dumps(value, ensure_ascii=False))
    else:
        print(text)
    if judged is None:
        return
    if options.junit is not None:
        options.junit.write_text(gate_junit(judged, text), encoding="utf-8")
    print(f"gate {'passed' if judged.passed else 'FAILED'}: {judged.sentence}", file=sys.stderr)
    if not judged.passed:
        sys.exit(1)


def comparison_text(pair: LogPair, comparison: PairedComparison) -> str:
    """Return a comparison of logs for the terminal."""
    from kaiwa.lab.experiments.verdicts import points_text, verdict_text

    d = comparison.difference
    lines = [
        f"{comparison.n} items in both; A {comparison.mean_a:.3f}, B {comparison.mean_b:.3f}",
        f"B - A  {points_text(d.mean)} points [{points_text(d.low)}, {points_text(d.high)}], p = {comparison.p:.3g}",
        f"B lost {comparison.lost} and won {comparison.won} items; exact McNemar p = {comparison.mcnemar_p:.3g}",
        f"verdict: {verdict_text(comparison)}",
    ]
    for name, ids in (("only in A", pair.only_a), ("only in B", pair.only_b), ("failed", pair.failed)):
        if ids:
            more = ", …" if len(ids) > 10 else ""
            lines.append(f"{name}: {len(ids)} ({', '.join(ids[:10])}{more})")
    return "\n".join(lines)
