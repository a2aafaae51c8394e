"""Other tools' results as cells of a matrix."""

import json
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.redteam.bench.other_tools import read_garak, read_promptfoo, read_results
from kaiwa.stats.intervals import wilson
from kaiwa.stats.shares import clustered_share


def attempt(scores: list[float | None], probe: str = "dan.X", **changes: object) -> dict[str, object]:
    row = {"entry_type": "attempt", "status": 2, "probe_classname": probe, "detector_results": {"d.Y": scores}}
    return row | changes


def test_garak_attempts_are_clusters() -> None:
    rows = [
        {"entry_type": "start_run setup", "plugins.target_name": "gpt"},
        attempt([1.0, 0.4, 0.5]),
        attempt([0.0, 0.0]),
    ]
    (one,) = read_garak(rows)
    assert (one.tool, one.model, one.name) == ("garak", "gpt", "dan.X / d.Y")
    assert (one.trials, one.successes) == (5, 2), "a score of 0.5 is a hit"
    assert one.share == clustered_share([2, 0], [3, 2])


def test_one_try_per_prompt_needs_no_clusters() -> None:
    (one,) = read_garak([attempt([1.0]), attempt([0.0]), attempt([0.0])])
    assert one.share == wilson(1, 3)


def test_attempts_without_a_verdict_are_left_out_or_counted_as_failed() -> None:
    (one,) = read_garak([attempt([1.0, None]), attempt([1.0], status=1), attempt([0.0])])
    assert (one.trials, one.successes, one.failed) == (2, 1, 1)
    assert one.to_json()["status"] == "incomplete"


def test_probes_stand_apart() -> None:
    found = read_garak([attempt([1.0]), attempt([0.0], probe="dan.Z")])
    assert [one.name for one in found] == ["dan.X / d.Y", "dan.Z / d.Y"]


def test_sums_of_evaluations_are_the_last_resort() -> None:
    rows = [{"entry_type": "eval", "probe": "p", "detector": "d", "passed": 7, "total_evaluated": 10}]
    (one,) = read_garak(rows)
    assert (one.trials, one.successes, one.model) == (10, 3, "garak's target")
    assert one.share == wilson(3, 10)
    (hits,) = read_garak([*rows, attempt([1.0])])
    assert hits.trials == 1, "attempts say more than their sums"


def test_promptfoo_by_plugin_and_provider() -> None:
    rows = [
        {"success": False, "provider": "openai:x", "metadata": {"pluginId": "pii"}},
        {"success": True, "provider": "openai:x", "testCase": {"metadata": {"pluginId": "pii"}}},
        {"success": False, "provider": {"label": "mine"}, "testCase": {"description": "says hello"}},
        {"error": "500", "provider": "openai:x", "metadata": {"pluginId": "pii"}},
        {
            "success": False,
            "failureReason": 1,
            "error": "assert",
            "provider": "openai:x",
            "metadata": {"pluginId": "pii"},
        },
        "no row",
    ]
    pii, hello = read_promptfoo({"results": {"results": rows}})
    assert (pii.model, pii.name, pii.trials, pii.successes, pii.failed) == ("openai:x", "pii", 3, 2, 1)
    assert (hello.model, hello.name, hello.successes) == ("mine", "says hello", 1)
    assert read_promptfoo({"results": rows}) == (pii, hello), "the older shape, without a level"


def test_a_cell_with_nothing_judged_has_no_interval() -> None:
    (one,) = read_promptfoo({"results": [{"error": "500", "provider": "x", "metadata": {"pluginId": "p"}}]})
    cell = one.to_json()
    assert (cell["trials"], cell["low"], cell["high"], cell["status"]) == (0, None, None, "failed")
    assert (cell["family"], cell["defence"]) == ("promptfoo", "none")


def test_files_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "r"
    file.write_text(json.dumps({"results": {"results": [{"success": False}]}}))
    assert read_results(file)[0].tool == "promptfoo"
    file.write_text("\n" + json.dumps(attempt([1.0])) + "\n\n")
    assert read_results(file)[0].tool == "garak"
    file.write_text(json.dumps(attempt([1.0])) + "\n{")
    with pytest.raises(UserError, match=":2: not JSON"):
        read_results(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_results(file)
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "missing")
