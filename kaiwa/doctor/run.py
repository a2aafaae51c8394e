"""All checks against a server, and their results as lines or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx

from kaiwa.doctor import (
    checks_chat,
    checks_completions,
    checks_dialects,
    checks_errors,
    checks_models,
    checks_more,
    checks_schemas,
    checks_stream,
    checks_tools,
)
from kaiwa.doctor.server import Absent, Fault, ServerCheck, ServerUnderTest

GROUPS = (
    checks_models,
    checks_chat,
    checks_stream,
    checks_completions,
    checks_more,
    checks_schemas,
    checks_tools,
    checks_dialects,
    checks_errors,
)
WORDS = {"ok": "ok", "fault": "FAULT", "absent": "absent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of a check. must: common clients break without the feature. outcome: ok, fault, absent."""

    group: str
    label: str
    must: bool
    outcome: str
    message: str = ""
    seconds: float = 0.0

    @property
    def is_grave(self) -> bool:
        """Whether common clients break."""
        return self.must and self.outcome != "ok"

    def to_json(self) -> dict[str, object]:
        return {
            "group": self.group,
            "check": self.label,
            "must": self.must,
            "outcome": self.outcome,
            "said": self.message,
            "seconds": self.seconds,
        }


def checks() -> list[tuple[str, ServerCheck]]:
    """Return (group, check) in running order."""
    return [(group.GROUP, check) for group in GROUPS for check in group.CHECKS]


def examine(server: ServerUnderTest) -> Iterator[CheckResult]:
    """Run every check in turn, and yield its result."""
    for group, check in checks():
        start = time.monotonic()
        outcome, message = _outcome(check, server)
        seconds = round(time.monotonic() - start, 3)
        yield CheckResult(
            group=group, label=check.label, must=check.must, outcome=outcome, message=message, seconds=seconds
        )


def _outcome(check: ServerCheck, server: ServerUnderTest) -> tuple[str, str]:
    try:
        check.run(server)
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
    """Examine a server, print the results with `say`, and return whether common clients can use the server.

    UserError where no server answers.
    """
    server = ServerUnderTest(url, model=model, key=key)
    results = []
    group = ""
    for result in examine(server):
        results.append(result)
        if as_json:
            continue
        if result.group != group:
            group = result.group
            say(f"\n{group}")
        say(line(result))
    healthy = not any(result.is_grave for result in results)
    counts = summary(results)
    if as_json:
        head = {"url": server.root, "model": server.model, "healthy": healthy, **counts}
        say(json.dumps(head | {"checks": [result.to_json() for result in results]}, ensure_ascii=False, indent=1))
    else:
        say(
            f"\n{server.root}, {server.model}: {counts['ok']} of {len(results)} good, {counts['absent']} absent, "
            f"{counts['faults']} faults, {counts['grave']} of them break common clients"
        )
    return healthy


def line(result: CheckResult) -> str:
    """Return a result as a line of the table."""
    word = WORDS[result.outcome]
    return f"  {word:<7}{result.label}" + (f"  ({result.message})" if result.message else "") + " !" * result.is_grave


def summary(results: Sequence[CheckResult]) -> dict[str, int]:
    """Return how many results are ok, absent, faults, and grave."""
    return {
        "ok": sum(result.outcome == "ok" for result in results),
        "absent": sum(result.outcome == "absent" for result in results),
        "faults": sum(result.outcome == "fault" for result in results),
        "grave": sum(result.is_grave for result in results),
    }
