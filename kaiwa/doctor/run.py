"""All checks against one server, and what came out as lines or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from kaiwa.doctor import checks_chat, checks_completions, checks_errors, checks_models, checks_more, checks_stream
from kaiwa.doctor.target import Absent, Check, Fault, Target

GROUPS = (checks_models, checks_chat, checks_stream, checks_completions, checks_more, checks_errors)
WORDS = {"ok": "ok", "fault": "FAULT", "absent": "absent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found. `must`: common clients break without it. outcome: ok, fault, absent."""

    group: str
    check: str
    must: bool
    outcome: str
    said: str = ""
    seconds: float = 0.0


def checks() -> list[tuple[str, bool, Check]]:
    """(group, must, check), in the order they run."""
    return [(group.GROUP, check in group.MUST, check) for group in GROUPS for check in (*group.MAY, *group.MUST)]


def examine(target: Target) -> Iterator[Finding]:
    """Runs every check, one after the other."""
    for group, must, check in checks():
        begun = time.monotonic()
        outcome, said = _outcome(check, target)
        seconds = round(time.monotonic() - begun, 3)
        text = (check.__doc__ or check.__name__).strip()
        yield Finding(group=group, check=text, must=must, outcome=outcome, said=said, seconds=seconds)


def _outcome(check: Check, target: Target) -> tuple[str, str]:
    try:
        check(target)
    except Absent as absent:
        return "absent", str(absent)
    except Fault as fault:
        return "fault", str(fault)
    except httpx.HTTPError as error:
        return "fault", f"no answer ({type(error).__name__})"
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return "fault", f"the answer has another shape ({type(error).__name__}: {str(error)[:60]})"
    return "ok", ""


def doctor(url: str, model: str, key: str, as_json: bool, say: Callable[[str], None]) -> bool:
    """Examines and tells. -> whether all that clients must have is there. UserError where no server answers."""
    target = Target(url, model=model, key=key)
    findings = []
    group = ""
    for finding in examine(target):
        findings.append(finding)
        if as_json:
            continue
        if finding.group != group:
            group = finding.group
            say(f"\n{group}")
        say(line(finding))
    healthy = not any(finding.must and finding.outcome != "ok" for finding in findings)
    counts = summary(findings)
    if as_json:
        whole: dict[str, Any] = {"url": target.root, "model": target.model, "healthy": healthy, **counts}
        say(json.dumps(whole | {"checks": [asdict(finding) for finding in findings]}, ensure_ascii=False, indent=1))
    else:
        say(
            f"\n{target.root}, {target.model}: {counts['ok']} of {len(findings)} good, {counts['absent']} absent, "
            f"{counts['faults']} faults, {counts['grave']} of them break common clients"
        )
    return healthy


def line(finding: Finding) -> str:
    word = WORDS[finding.outcome]
    grave = " !" if finding.must and finding.outcome != "ok" else ""
    return f"  {word:<7}{finding.check}" + (f"  ({finding.said})" if finding.said else "") + grave


def summary(findings: Sequence[Finding]) -> dict[str, int]:
    return {
        "ok": sum(finding.outcome == "ok" for finding in findings),
        "absent": sum(finding.outcome == "absent" for finding in findings),
        "faults": sum(finding.outcome == "fault" for finding in findings),
        "grave": sum(finding.must and finding.outcome != "ok" for finding in findings),
    }
