"""JUnit XML, which continuous integration systems read: suites of test cases, passed, failed, skipped or in error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 cannot hold these


@dataclass(frozen=True, slots=True, kw_only=True)
class JUnitCase:
    """One test case. At most one of `failure`, `error` and `skipped` is set, to a message of one line; none: passed.

    `detail` is the failure's longer text, `output` the case's printed output.
    """

    classname: str
    name: str
    failure: str = ""
    error: str = ""
    skipped: str = ""
    detail: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JUnitSuite:
    name: str
    cases: Sequence[JUnitCase]


def junit_xml(suites: Sequence[JUnitSuite]) -> str:
    """Return the whole XML file, with the counts that readers expect on the root and on every suite."""
    cases = [case for suite in suites for case in suite.cases]
    body = "".join(
        f"<testsuite name={quoteattr(suite.name)} {_counts(suite.cases)}>{''.join(map(_case, suite.cases))}</testsuite>"
        for suite in suites
    )
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {_counts(cases)}>{body}</testsuites>\n'
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", xml)


def _counts(cases: Sequence[JUnitCase]) -> str:
    failures, errors = sum(bool(case.failure) for case in cases), sum(bool(case.error) for case in cases)
    skipped = sum(bool(case.skipped) for case in cases)
    return f'tests="{len(cases)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'


def _case(case: JUnitCase) -> str:
    body = ""
    for element in ("failure", "error", "skipped"):
        if message := getattr(case, element):
            text = escape(case.detail) if element == "failure" else ""
            body += f"<{element} message={quoteattr(message)}>{text}</{element}>"
    if case.output:
        body += f"<system-out>{escape(case.output)}</system-out>"
    return f"<testcase classname={quoteattr(case.classname)} name={quoteattr(case.name)}>{body}</testcase>"
