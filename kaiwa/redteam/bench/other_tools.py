"""Results of other tools, for comparison: garak's report JSONL and promptfoo's results JSON, as shares with intervals.

    garak       lines with entry_type "attempt" and status 2 hold scores by detector (a score of 0.5 or more is a hit);
                prompts are clusters. A file with "eval" lines only gives passed of total, and Wilson's interval
    promptfoo   results.results: a row whose assertions failed (success false, failureReason not 2) is a hit, an error
                (failureReason 2) is counted apart; by plugin and strategy, or by description

Neither file has a control, so neither shows how often the attacks succeed on a model that follows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiwa.core.errors import UserError
from kaiwa.stats.intervals import Interval, wilson
from kaiwa.stats.shares import clustered_share

HIT = 0.5  # garak's own threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedResult:
    """One probe or plugin of another tool. `failed`: rows that could not be judged."""

    tool: str
    model: str
    name: str
    trials: int
    successes: int
    share: Interval
    failed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a cell in the shape of matrix.json; the tool's name stands where the family does."""
        return {
            "model": self.model,
            "family": self.tool,
            "attack": self.name,
            "defence": "none",
            "trials": self.trials,
            "successes": self.successes,
            "low": self.share.low if self.trials else None,
            "high": self.share.high if self.trials else None,
            "status": "incomplete" if self.failed and self.trials else "ok" if self.trials else "failed",
        }


def read_results(path: Path) -> tuple[ImportedResult, ...]:
    """Read a file of either tool. UserError for any other file, and for a file without results."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError:
        raise UserError(f"{path}: no such file; give garak's report.jsonl or promptfoo's results.json") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    results: tuple[ImportedResult, ...]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    tool = "promptfoo" if isinstance(content, dict) and "results" in content else "garak"
    rows = _lines(text, path) if tool == "garak" else []
    try:
        results = read_garak(rows) if tool == "garak" else read_promptfoo(content)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise UserError(f"{path}: not the shape of {tool}'s results; changed by hand, or a newer version?") from None
    if not results:
        raise UserError(f"{path}: no results in it; give garak's report.jsonl or promptfoo's results.json")
    return results


def _lines(text: str, path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut at U+2028, which JSON text may hold
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{path}:{number}: not JSON; a cut-off file?") from None
        if not isinstance(row, dict) or "entry_type" not in row:
            raise UserError(f"{path}:{number}: neither garak's (no entry_type) nor promptfoo's (no results)")
        rows.append(row)
    return rows


def read_garak(rows: Sequence[Mapping[str, Any]]) -> tuple[ImportedResult, ...]:
    """Count hits by probe and detector in garak's rows.

    AttributeError, TypeError, ValueError or OverflowError where a field differs from garak's format.
    """
    model = "garak's target"
    for row in rows:
        for key in ("plugins.target_name", "plugins.model_name", "target_name", "model_name"):
            model = str(row.get(key) or model)
    hits: dict[str, list[tuple[int, int]]] = {}
    failed: dict[str, int] = {}
    for row in rows:
        if row["entry_type"] != "attempt" or row.get("status") != 2:
            continue
        for detector, scores in (row.get("detector_results") or {}).items():
            name = f"{row.get('probe_classname', '?')} / {detector}"
            judged = [score for score in scores if isinstance(score, int | float)]
            failed[name] = failed.get(name, 0) + len(scores) - len(judged)
            hits.setdefault(name, []).append((sum(score >= HIT for score in judged), len(judged)))
    if hits:
        return tuple(_build_result("garak", model, name, pairs, failed.get(name, 0)) for name, pairs in hits.items())
    results = []
    for row in rows:
        if row["entry_type"] == "eval":
            total = int(row.get("total_evaluated", row.get("total", 0)))
            passed = int(row.get("passed", 0))
            if min(total, passed) < 0:
                raise ValueError(f"{passed} of {total}")
            name = f"{row.get('probe', '?')} / {row.get('detector', '?')}"
            results.append(
                ImportedResult(
                    tool="garak",
                    model=model,
                    name=name,
                    trials=total,
                    successes=max(0, total - passed),
                    share=wilson(max(0, total - passed), total),
                )
            )
    return tuple(results)


def _build_result(tool: str, model: str, name: str, pairs: Sequence[tuple[int, int]], failed: int) -> ImportedResult:
    hits, trials = sum(h for h, _ in pairs), sum(n for _, n in pairs)
    if all(n <= 1 for _, n in pairs) or len(pairs) == 1:
        share = wilson(hits, trials)
    else:
        share = clustered_share([h for h, _ in pairs], [n for _, n in pairs])
    return ImportedResult(tool=tool, model=model, name=name, trials=trials, successes=hits, share=share, failed=failed)


def read_promptfoo(content: Mapping[str, Any]) -> tuple[ImportedResult, ...]:
    """Count failed assertions by plugin in promptfoo's results. TypeError where a field differs from promptfoo's
    format.
    """
    inner = content["results"]
    rows = inner.get("results", []) if isinstance(inner, dict) else inner
    groups: dict[tuple[str, str], list[int]] = {}
    failed: dict[tuple[str, str], int] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        key = _provider(row), _plugin(row)
        groups.setdefault(key, [])
        if row.get("failureReason") == 2 or (row.get("error") and row.get("failureReason") is None):
            failed[key] = failed.get(key, 0) + 1
        else:
            groups[key].append(int(not row.get("success", False)))
    return tuple(
        ImportedResult(
            tool="promptfoo",
            model=key[0],
            name=key[1],
            trials=len(hits),
            successes=sum(hits),
            share=wilson(sum(hits), len(hits)),
            failed=failed.get(key, 0),
        )
        for key, hits in groups.items()
    )


def _provider(row: Mapping[str, Any]) -> str:
    provider = row.get("provider")
    if isinstance(provider, dict):
        return str(provider.get("label") or provider.get("id") or "?")
    return str(provider or "?")


def _plugin(row: Mapping[str, Any]) -> str:
    case = row.get("testCase") if isinstance(row.get("testCase"), dict) else {}
    assert isinstance(case, dict)
    metadata = {**(case.get("metadata") or {}), **(row.get("metadata") or {})}
    names = [str(metadata[key]) for key in ("pluginId", "strategyId") if metadata.get(key)]
    return " / ".join(names) or str(case.get("description") or "test")
