"""Gates for continuous integration: a sentence that must be shown by paired data, or the build fails.

    B not worse than A by 3 points      one-sided 95 % lower limit of B - A above -0.03   (non-inferiority)
    B better than A                     one-sided 95 % lower limit of B - A above 0
    B better than A by 2 points         ... above 0.02

A point is 0.01. "Not shown" fails the gate: too few items are no proof that nothing got worse. Items that failed under
either are counted against the claim. The red team's gates
(redteam/bench/gate.py) use the same sentence about two defences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kaiwa.core.errors import UserError
from kaiwa.report.junit import JUnitCase, JUnitSuite, junit_xml
from kaiwa.stats.comparison import fewest_clusters, lower_bound
from kaiwa.stats.failures import add_failures

FEWEST_CLUSTERS = fewest_clusters(0.05)
SENTENCE = re.compile(
    r"(?P<first>\S+) (?:is )?(?P<kind>not worse|better) than (?P<second>\S+)"
    r"(?: by (?:at (?:most|least) )?(?P<points>\d+(?:\.\d+)?) points?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`first` minus `second` must be above `bound` (a share: 3 points are 0.03)."""

    text: str
    first: str
    second: str
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Whether the gate with this `text` holds. `low`: the measured limit, as a share. `sentence`: both in words."""

    text: str
    passed: bool
    sentence: str
    low: float = float("nan")


def parse_pair_gate(text: str, example: str) -> Gate | None:
    """Read "X better than Y" or "X not worse than Y by N points"; None for any other sentence.

    `example` is shown where "not worse" comes without points (UserError).
    """
    match = SENTENCE.fullmatch(" ".join(text.split()).rstrip("."))
    if match is None:
        return None
    points = float(match["points"] or 0)
    not_worse = match["kind"].lower() == "not worse"
    if not_worse and points == 0:
        raise UserError(f"gate {text!r}: say by how much, as in {example!r}; no test shows 'by 0'")
    bound = (-points if not_worse else points) / 100
    return Gate(text=text, first=match["first"], second=match["second"], bound=bound)


def parse_gate(text: str) -> Gate:
    """Read a gate about two logs, which are called A and B. UserError for any other sentence."""
    gate = parse_pair_gate(text, "B not worse than A by 3 points")
    if gate is None or {gate.first.upper(), gate.second.upper()} != {"A", "B"}:
        raise UserError(f"gate {text!r} is not understood; write 'B not worse than A by 3 points' or 'B better than A'")
    return Gate(text=text, first=gate.first.upper(), second=gate.second.upper(), bound=gate.bound)


def check_gate(
    gate: Gate,
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[object] | None = None,
    *,
    n_failed: int = 0,
    n_unmatched: int = 0,
) -> GateResult:
    """Judge a gate by the scores `a`, `b` [n] of the same items under A and B; `clusters` [n]: one id per item.

    n_failed: items that failed under A or B, which count as lost by the gate's first. n_unmatched: items of one log
    only, which the sentence names.
    """
    first, second = (b, a) if gate.first == "B" else (a, b)
    x, y, ids = add_failures(second, first, n_failed, b_loses=True, clusters=clusters)
    low = lower_bound(x, y, clusters=ids)
    n_clusters = len(set(clusters)) if clusters is not None else FEWEST_CLUSTERS
    limit = f"{gate.first} - {gate.second} is above {low * 100:+.2f} points (one-sided 95 %), {len(a)} items"
    limit += f" and {n_failed} failed, counted against it" if n_failed else ""
    limit += f"; {n_unmatched} items are in one log only" if n_unmatched else ""
    sentence = f"{limit}; the gate needs above {gate.bound * 100:+.2f}"
    if n_clusters < FEWEST_CLUSTERS:
        sentence += f" and at least {FEWEST_CLUSTERS} clusters, there are {n_clusters}"
    passed = low > gate.bound and n_clusters >= FEWEST_CLUSTERS
    return GateResult(text=gate.text, passed=passed, low=low, sentence=sentence)


def gate_junit(result: GateResult, detail: str) -> str:
    """Return JUnit XML with the gate as the only test case; `detail` is the comparison in words."""
    failure = "" if result.passed else result.sentence
    case = JUnitCase(classname="kaiwa.lab", name=result.text, failure=failure, detail=detail, output=detail)
    return junit_xml([JUnitSuite(name="kaiwa lab compare", cases=[case])])
