"""The heat map: shades for what was tested, words for what was not, and the costs below."""

import re

from kaiwa.redteam.bench.heat import BenignCost, HeatCell, attack_heat_map
from kaiwa.report.words import Words

SHARE = {"mean": 0.5, "low": 0.3, "high": 0.7, "n": 20}
WORDS = Words("en", "kaiwa.redteam")


def rows(cells: dict[tuple[str, str], HeatCell], costs: dict[str, BenignCost]) -> list[list[str]]:
    html = attack_heat_map(cells, costs, WORDS, lambda attack, defence: f"#{attack}-{defence}")
    body = str(html).split("<tbody>")[1]
    return [re.findall(r"<t[hd].*?</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", body)]


def test_cells_and_costs() -> None:
    cells = {
        ("plain", "none"): HeatCell(share=SHARE, status="ok"),
        ("plain", "x"): HeatCell(share={**SHARE, "mean": 0.0}, status="not_testable"),
        ("story", "none"): HeatCell(share={**SHARE, "mean": 1.0}, status="incomplete"),
    }
    costs = {"none": BenignCost(refused={**SHARE, "mean": 0.0}, useless=SHARE)}
    plain, story, refused, useless = rows(cells, costs)
    assert "50\u00a0%" in plain[1]
    assert 'class="figures shade4"' in plain[1]
    assert 'href="#plain-none"' in plain[1]
    assert "untested" in plain[2]
    assert WORDS("redteam.status.not_testable") in plain[2]
    assert 'href="#plain-x"' in plain[2], "a cell that was not testable has transcripts too"
    assert "shade8" in story[1]
    assert "–" in story[2]
    assert "href" not in story[2], "a cell that was not run leads nowhere"
    assert WORDS("redteam.cost.refused") in refused[0]
    assert "shade0" in refused[1]
    assert "href" not in refused[1]
    assert "50" in useless[1]
    assert "untested" in useless[2]


def test_a_cost_that_was_not_measured_is_untested() -> None:
    cells = {("plain", "none"): HeatCell(share=SHARE, status="ok")}
    _, refused, useless = rows(cells, {"none": BenignCost(refused=None, useless=None)})
    assert "untested" in refused[1]
    assert "untested" in useless[1]
