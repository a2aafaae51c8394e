"""The receipt of a build by hand, and the report that it stands in."""

import json
from pathlib import Path

import pytest

from kaiwa.core.artifact import Artifact
from kaiwa.core.errors import UserError
from kaiwa.recipes.receipt import receipt
from kaiwa.recipes.report import _peak_so_far, read_report


def base(parameters: float, tokens: float) -> Artifact:
    return Artifact(Path("base"), {"metrics": {"parameters": parameters, "tokens": tokens}})


def test_an_hour_by_hand() -> None:
    bill = receipt(3600.0, base(1e6, 1e9))
    assert bill["minutes"] == 60.0
    assert bill["kwh"] == 0.045  # 45 W for an hour
    assert bill["dollars"] == 0.0135
    # 6 x 1e15 operations: 6 seconds of a machine of one petaflop/s
    assert bill["pretraining_petaflop_days"] == pytest.approx(6 / 86_400)


def test_gpt3s_own_numbers_give_its_own_figure() -> None:
    # 175B weights, 300B tokens (Brown et al., 2020, table D.1: 3.64e3 petaflop/s-days)
    bill = receipt(60.0, base(174.6e9, 300e9))
    assert bill["pretraining_petaflop_days"] == pytest.approx(bill["gpt3_petaflop_days"], rel=0.01)
    assert bill["instructgpt_ppo_ptx_petaflop_days"] == 60.0
    assert bill["instructgpt_sft_petaflop_days"] == 4.9


def test_a_report_is_read_or_its_absence_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder; give a build's, as runs/laptop"):
        read_report(tmp_path / "none")
    with pytest.raises(UserError, match=r"no report yet \(finished stages: none\); run `kaiwa build`"):
        read_report(tmp_path)
    for stage in ("sft", "base"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "kaiwa.json").write_text("{}")
    with pytest.raises(UserError, match=r"\(finished stages: base, sft\)"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"recipe": "tiny"}')
    assert read_report(tmp_path) == {"recipe": "tiny"}


@pytest.mark.parametrize("text", ["", "{", "{}", '{"peak_memory_bytes": "many"}'])
def test_the_peak_of_an_earlier_run_is_0_where_it_cannot_be_read(text: str, tmp_path: Path) -> None:
    assert _peak_so_far(tmp_path) == 0
    (tmp_path / "report.json").write_text(text)
    assert _peak_so_far(tmp_path) == 0
    (tmp_path / "report.json").write_text(json.dumps({"peak_memory_bytes": 12}))
    assert _peak_so_far(tmp_path) == 12
