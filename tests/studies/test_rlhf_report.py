"""The RLHF study's page."""

import re
from pathlib import Path

from kaiwa.report.words import Words
from kaiwa.studies.rlhf import arm_rows, curves_of
from kaiwa.studies.rlhf_claims import judge_claims
from kaiwa.studies.rlhf_report import (
    arms_table,
    charts,
    claims_table,
    interval,
    rates_table,
    tax,
    win_forest,
    write_page,
)

from .results import results
from .test_rlhf_claims import ALL

RESULTS = results(ALL)
ABOUT = {"recipe": "tiny", "seeds": 2, "n": 8, "small": 100, "large": 800, "faults": 0.6}
STUDY = {"arms": arm_rows(RESULTS), "claims": judge_claims(RESULTS), "curves": curves_of(RESULTS), "about": ABOUT}
WORDS = Words("en")


def text(html: object) -> str:
    return re.sub(r"<[^>]+>", " ", str(html)).replace("\u00a0", " ")


def test_the_page_has_both_languages_and_every_chart(tmp_path: Path) -> None:
    page = write_page(STUDY, tmp_path)
    html = page.read_text()
    assert page.name == "study.html"
    assert html.count("<main") == 2
    assert html.count("<figure") == 2 * 4
    assert "60% of the answers" in html
    assert "study." not in text(html)
    assert "claim." not in text(html)


def test_claims_with_their_verdict_and_figures() -> None:
    html = str(claims_table(STUDY["claims"], WORDS))  # type: ignore[arg-type]
    assert html.count('class="met"') == sum(c["verdict"] == "replicated" for c in STUDY["claims"])  # type: ignore[attr-defined,index]
    assert "bits per byte, ppo_beta_small less sft: 0.200 [0.200, 0.200], n = 4" in html


def test_figures_as_text() -> None:
    assert interval({"mean": None, "low": None, "high": None, "n": 0}) == "–"
    assert interval({"mean": 0.5, "low": None, "high": None, "n": 1}) == "0.500, n = 1"
    assert interval({"mean": 0.12345, "low": 0.1, "high": 0.2, "n": 9}) == "0.123 [0.100, 0.200], n = 9"


def test_tables_name_every_arm() -> None:
    for table in (arms_table(STUDY["arms"], WORDS), rates_table(STUDY["arms"], WORDS)):  # type: ignore[arg-type]
        assert all(name in text(table) for name in ALL)
    assert "+0.200" in text(arms_table(STUDY["arms"], WORDS))  # type: ignore[arg-type]
    forest = text(win_forest(STUDY["arms"], WORDS))  # type: ignore[arg-type]
    assert " sft " not in forest, "SFT is what all are compared with"


def test_the_tax_is_drawn_on_a_scale_that_holds_it() -> None:
    html = str(tax(STUDY["arms"], WORDS))  # type: ignore[arg-type]
    assert "+0.200" in html
    assert "−0.220" in html, "the scale's ends, a tenth beyond"
    assert html.count("group1") == 1, "ptx has a colour of its own"


def test_charts_have_their_lines() -> None:
    over, size, accuracy, loss = (str(chart) for chart in charts(STUDY, WORDS))
    assert over.count("<polyline") == 2
    assert size.count("<polyline") == 1
    assert accuracy.count("<polyline") == loss.count("<polyline") == 2
    assert "√KL" in over
