"""Gates for continuous integration: a sentence that must hold, its judgement, and JUnit XML of it.

    B not worse than A by 3 points      one-sided 95 % lower limit of B - A above -0.03   (non-inferiority)
    B better than A                     one-sided 95 % lower limit of B - A above 0
    B better than A by 2 points         ... above 0.02

A point is 0.01. "Not shown" fails the gate: too few items are no proof that nothing got worse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from kaiwa.core.errors import UserError
from kaiwa.stats.comparison import lower_bound

SENTENCE = re.compile(
    r"(?P<x>[AB]) (?:is )?(?P<what>not worse|better) than (?P<y>[AB])"
    r"(?: by (?:at (?:most|least) )?(?P<points>\d+(?:\.\d+)?) points?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`first` minus the other must be above `bound` (a share, not points)."""

    text: str
    first: str
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    gate: Gate
    passed: bool
    low: float
    told: str


def parse_gate(text: str) -> Gate:
    found = SENTENCE.fullmatch(" ".join(text.split()).rstrip("."))
    if found is None or found["x"].upper() == found["y"].upper():
        raise UserError(f"gate {text!r} is not understood; write 'B not worse than A by 3 points' or 'B better than A'")
    points = float(found["points"] or 0)
    worse = found["what"].lower() == "not worse"
    if worse and points == 0:
        raise UserError(f"gate {text!r}: say by how much, as in 'B not worse than A by 3 points'; no test shows 'by 0'")
    return Gate(text=text, first=found["x"].upper(), bound=(-points if worse else points) / 100)


def judge(gate: Gate, a: Sequence[float], b: Sequence[float], clusters: Sequence[object] | None = None) -> Judged:
    """a, b [n]: the same items under A and B."""
    first, second = (b, a) if gate.first == "B" else (a, b)
    low = lower_bound(second, first, clusters=clusters)
    passed = low > gate.bound
    other = "A" if gate.first == "B" else "B"
    limit = f"{gate.first} - {other} is above {low * 100:+.2f} points (one-sided 95 %), {len(a)} items"
    told = f"{limit}; the gate needs above {gate.bound * 100:+.2f}"
    return Judged(gate=gate, passed=passed, low=low, told=told)


def junit(judged: Judged, detail: str) -> str:
    """One test case: what CI systems read."""
    body = ""
    if not judged.passed:
        body = f"<failure message={quoteattr(judged.told)}>{escape(detail)}</failure>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites tests="1" failures="{int(not judged.passed)}">'
        f'<testsuite name="kaiwa lab compare" tests="1" failures="{int(not judged.passed)}" errors="0">'
        f'<testcase classname="kaiwa.lab" name={quoteattr(judged.gate.text)}>{body}'
        f"<system-out>{escape(detail)}</system-out></testcase></testsuite></testsuites>\n"
    )
