"""Remarks as SARIF 2.1.0, which code hosts show beside the lines of a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaiwa.lab.experiments.lint import Remark
from kaiwa.lab.experiments.lint_places import FilePlace

LEVELS = {"error": "error", "warn": "warning"}


def sarif(remarks: Sequence[Remark], files: Sequence[str]) -> dict[str, Any]:
    """Return the remarks as one run of the tool. files: the paths that were checked, as given; a remark belongs to the
    longest of them that its place begins with, or to the first.
    """
    rules = sorted({remark.rule for remark in remarks})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "kaiwa lab lint", "rules": [{"id": rule} for rule in rules]}},
                "results": [_result(remark, rules, files) for remark in remarks],
            }
        ],
    }


def _result(remark: Remark, rules: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    file = remark.file or max((f for f in files if remark.where.startswith(f)), key=len, default=files[0])
    return {
        "ruleId": remark.rule,
        "ruleIndex": rules.index(remark.rule),
        "level": LEVELS[remark.level],
        "message": {"text": f"{remark.where}: {remark.text}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": file.replace("\\", "/")},
                    "region": _region(remark.place),
                }
            }
        ],
    }


def _region(place: FilePlace) -> dict[str, int]:
    """Return lines and columns from 1; without columns where a whole line is meant."""
    lines = {"startLine": place.line, "endLine": place.end_line}
    return lines | ({"startColumn": place.column, "endColumn": place.end_column} if place.column else {})
