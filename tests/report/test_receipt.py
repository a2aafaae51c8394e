"""The receipt of a build."""

import pytest

from kaiwa.report.receipt import receipt
from kaiwa.report.words import Words

from .read_html import cells_of, text_of

VALUE = {
    "minutes": 14.3, "kwh": 0.0107, "dollars": 0.0032, "assumed_watts": 45.0, "assumed_dollars_per_kwh": 0.3,
    "pretraining_petaflop_days": 7.2e-6, "gpt3_petaflop_days": 3640.0, "instructgpt_sft_petaflop_days": 4.9,
    "instructgpt_ppo_ptx_petaflop_days": 60.0,
}  # fmt: skip


def test_ours_beside_theirs() -> None:
    head, *rows = cells_of(receipt(VALUE, 17_204, Words("en")))
    assert head == ["", "this build", "theirs"]
    assert rows == [
        ["time", "14.3 minutes", ""],
        ["energy", "0.0107 kWh", ""],
        ["money", "$0.0032", ""],
        ["pretraining", "7.20e-06 petaflop/s-days", "3,640 petaflop/s-days (GPT-3 175B)"],
        ["fine-tuning", "", "4.9 (SFT) and 60 (PPO-ptx) petaflop/s-days (InstructGPT 175B)"],
        ["labels", "17,204 pairs, ranked by programs", "about 40 contractors"],
    ]


@pytest.mark.parametrize(
    ("ours", "ratio"),
    [(7.2e-6, "510,000,000"), (3.64, "1,000"), (364.0, "10"), (1000.0, "4"), (1.0, "3,600"), (36.6, "99")],
)
def test_the_ratio_has_two_leading_digits(ours: float, ratio: str) -> None:
    """3640 / 7.2e-6 = 505,555,555 and so on."""
    text = text_of(receipt(VALUE | {"pretraining_petaflop_days": ours}, None, Words("en")))
    assert text.startswith(f"GPT-3's pretraining took about {ratio} times as many")


def test_the_assumptions_are_said() -> None:
    assert "a processor at 45 W; money $0.3 a kWh" in text_of(receipt(VALUE, None, Words("en")))


def test_what_is_not_known_is_a_dash_and_makes_no_ratio() -> None:
    html = receipt({}, None, Words("en"))
    rows = cells_of(html)
    assert rows[1] == ["time", "– minutes", ""]
    assert rows[-1][1] == "–"
    assert "times as many" not in html
    assert "times as many" not in receipt(VALUE | {"pretraining_petaflop_days": 0.0}, None, Words("en"))
