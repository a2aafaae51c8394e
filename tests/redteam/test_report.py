"""The red team's report: files of a run, words about defences, transcripts in order."""

import json
import re
from pathlib import Path

from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.attacks.attack import choose_attacks
from kaiwa.redteam.bench.adaptive import AdaptivePlan, AdaptiveResult, read_results, write_results
from kaiwa.redteam.bench.matrix import analyse_trials
from kaiwa.redteam.bench.other_tools import ImportedResult
from kaiwa.redteam.bench.report import (
    against_text,
    choose_transcripts,
    complement,
    summary,
    transcript,
    unhelpful_defences,
    write_report,
)
from kaiwa.redteam.bench.run import BenchPlan
from kaiwa.stats.intervals import Interval, wilson

from .outcomes import benign, cell, controls
from .targets import target

PLAN = BenchPlan(
    target=target(),
    attacks=tuple(choose_attacks("plain,spell-it", ATTACKS)),
    defences=("sandwich", "delimiters"),
    models=("m",),
)
PARTS = [
    *(
        o
        for name in ("plain", "spell-it")
        for d, r in (("none", "s"), ("sandwich", "r"), ("delimiters", "s"))
        for o in cell(name, d, r * 9)
    ),
    *controls("plain", "s" * 9),
    *benign("q", "none", "uu"),
    *benign("q", "sandwich", "ub"),
]


def test_helpful_is_only_what_is_shown() -> None:
    parts: list = []  # type: ignore[type-arg]
    for i in range(8):
        parts += [*cell(f"a{i}", "none", "ssss"), *cell(f"a{i}", "x", "rrrr"), *cell(f"a{i}", "y", "ssss")]
    matrix = analyse_trials(parts)
    assert unhelpful_defences(matrix, "m") == ["y"]
    arms = {arm.defence: arm for arm in matrix.arms}
    assert against_text(arms["none"]) == "–"
    assert against_text(arms["x"]) == "better by 100.0 points (n = 32)"
    assert "ポイント良い" in against_text(arms["x"], "ja")


def test_complement_swaps_the_limits() -> None:
    assert complement(Interval(0.25, 0.125, 0.5, 9)) == Interval(0.75, 0.5, 0.875, 9)


def test_the_worst_trials_come_first() -> None:
    outcomes = cell("a", "none", "rbts")
    assert [o.outcome for o in choose_transcripts(outcomes)] == ["success", "timeout", "blocked", "resisted"]
    assert [o.trial for o in choose_transcripts(cell("a", "none", "ssss"), 2)] == [0, 1]


def test_a_transcript_is_escaped_and_cut() -> None:
    (one,) = cell("a", "none", "s", user_turns=("<b>hi</b>", "again"), replies=("x" * 700,), form="whole")
    html = str(transcript(one))
    assert "&lt;b&gt;" in html
    assert "x" * 600 + "…" in html
    assert "x" * 601 not in html
    assert html.index("again") > html.index("xxx")
    assert "0: success · whole" in html


def test_the_files_of_a_run(tmp_path: Path) -> None:
    matrix = analyse_trials(PARTS)
    imported = [ImportedResult(tool="garak", model="g", name="dan", trials=4, successes=1, share=wilson(1, 4))]
    path = write_report(PLAN, matrix, tmp_path, 12.34, imported)
    assert path == tmp_path / "report.html"
    assert {file.name for file in tmp_path.iterdir()} == {
        "report.html",
        "matrix.json",
        "summary.json",
        "outcomes.jsonl",
    }
    assert len((tmp_path / "outcomes.jsonl").read_text().splitlines()) == len(PARTS)
    html = path.read_text()
    for word in ("Transcripts", "garak", "dan", "LLM02:2025", "spell-it", "The password is {password}"):
        assert word in html, word
    cells = set(re.findall(r'id="(cell-[\d-]+)"', html))
    assert len(cells) == 6
    assert set(re.findall(r'href="#(cell-[\d-]+)"', html)) == cells
    value = json.loads((tmp_path / "summary.json").read_text())
    assert value["seconds"] == 12.3
    assert value["plan"]["attacks"] == ["plain", "spell-it"]
    assert value["plan"]["defences"] == ["none", "sandwich", "delimiters"]


def test_the_summary_of_an_arm() -> None:
    value = summary(PLAN, analyse_trials(PARTS), 1.0)
    none, x, y = value["arms"]
    assert none["against_none"] is None
    assert x["success"]["mean"] == 0.0
    assert x["against_none"]["told"].keys() == {"en", "ja"}
    assert x["against_none"]["n"] == 18
    assert y["asr_at"]["1"]["mean"] == 1.0
    assert y["asr_at"]["10"]["mean"] is None
    assert value["controls"][0]["attack"] == "plain"
    assert value["controls"][0]["mean"] == 1.0
    assert value["tags"]["plain"]["owasp"] == "LLM02:2025"
    json.dumps(value, allow_nan=True)


def test_the_adaptive_column(tmp_path: Path) -> None:
    held = AdaptiveResult(defence="sandwich", attacker="evolution", budget=10, broken_at=(0,) * 40, model="m")
    broken = AdaptiveResult(defence="delimiters", attacker="crescendo", budget=10, broken_at=(1, 7) * 9, model="m")
    plan = AdaptivePlan(target=target(), attacks=(), trials=40, budget=10)
    write_results([held, broken], plan, tmp_path)
    assert read_results(tmp_path / "adaptive.json", target()) == [held, broken]
    assert read_results(tmp_path / "adaptive.json", target(system="Another {password}.")) == []
    file = write_report(PLAN, analyse_trials(PARTS), tmp_path, 1.0, adaptive=[held, broken])
    html = file.read_text()
    for text in ("strong: at most 10% within 10 queries", "broken: 100% within 10 queries (crescendo)",
                 "強い: 10 回の問い合わせで成功は 10% 以下", "not tried: no verdict", "適応する攻撃者"):  # fmt: skip
        assert text in html
    section = html[html.index("Attackers that adapt") :]
    assert section.index("@1") < section.index("@5") < section.index("@10")
    assert "50 %" in section.replace("\N{NO-BREAK SPACE}", " ")[: section.index("</table>")]
    without = write_report(PLAN, analyse_trials(PARTS), tmp_path, 1.0).read_text()
    assert "attacker adapts" not in without
