"""Tables, forests and curves of a build, from figures made by hand."""

import re
from typing import Any

import pytest

from kaiwa.report.html import tag
from kaiwa.report.sections import (
    explain,
    model_table,
    rate_tables,
    reward_card,
    stage_curves,
    stage_table,
    warnings,
    win_forests,
)
from kaiwa.report.words import Words

from .read_html import cells_of, lines_of, text_of
from .run_folder import interval

WORDS = Words("en")


def curve(metric: str, *values: float, **more: Any) -> list[dict[str, Any]]:
    return [{"step": i, "time": 0.0, metric: value, **more} for i, value in enumerate(values)]


def titles(html: str) -> list[str]:
    return [text_of(title) for title in re.findall(r"<figcaption>(.*?)</figcaption>", html)]


def test_a_stage_tells_its_own_figures_in_its_order() -> None:
    stages = [
        {"name": "base", "seconds": 75.0, "metrics": {"loss": 1.5512, "extra": 1, "parameters": 4_200_000}},
        {"name": "corpus", "seconds": None, "metrics": {"documents": {"a": 28_000, "b": 1563}}},
    ]
    head, base, corpus = cells_of(stage_table(stages, WORDS))
    assert head == ["stage", "what it does", "time", "what it did"]
    assert base[0] == "base"
    assert base[2] == "1:15"
    assert "4,200,000" in base[3]
    assert "1.55" in base[3]
    assert "extra" not in base[3]
    assert corpus[2] == "–"
    assert "documents 29,563" in corpus[3], "sources are summed"


def test_an_unknown_stage_tells_its_first_three_figures() -> None:
    metrics = {"a": 1, "b": "text", "c": 2.5, "d": 4}
    (_, row) = cells_of(stage_table([{"name": "mine", "seconds": 3, "metrics": metrics}], WORDS))
    assert row == ["mine", "mine", "3.0 s", "a 1 c 2.5"]


def test_models_against_all_that_was_measured() -> None:
    models = [
        {
            "name": "sft", "win_rate_vs_sft": None, "helpful": interval(0.4), "truthful": interval(0.6),
            "harmless": interval(0.9), "ended": 0.97, "mean_tokens": 18.234, "kl_to_sft": 0.0, "bits_per_byte": 2.6304,
        },
        {"name": "other"},
    ]  # fmt: skip
    head, sft, other = cells_of(model_table(models, WORDS))
    assert head[:2] == ["model", "wins vs SFT"]
    assert len(head) == len(sft) == len(other) == 9
    assert sft[1:] == ["–", "40 % 35–45 %", "60 % 55–65 %", "90 % 85–95 %", "97 %", "18.2", "0.00", "2.630"]
    assert other[1:] == ["–"] * 8


def test_a_link_is_one_more_column() -> None:
    html = model_table([{"name": "sft"}], WORDS, lambda name: tag("a", "chat", href=f"/{name}"))
    assert cells_of(html)[1][-1] == "chat"
    assert 'href="/sft"' in html
    assert len(cells_of(html)[0]) == 10


def test_forests_of_wins_leave_out_the_yardstick() -> None:
    against = {
        "sampled": {"decided": interval(0.7), "all": interval(0.6), "utility_difference": interval(0.4, 0.1)},
        "greedy": {"decided": interval(0.5), "all": interval(0.5)},
    }
    models = [{"name": "sft", "against_sft": against}, {"name": "ppo", "against_sft": against}]
    decided, all_, utility = re.findall(r"<table.*?</table>", win_forests({"models": models}, WORDS), re.S)
    assert [row[0] for row in cells_of(decided)] == ["ppo · sampled", "ppo · greedy", ""]
    assert cells_of(decided)[0][2] == "70 % [65 %, 75 %]"
    assert cells_of(all_)[0][2] == "60 % [55 %, 65 %]"
    assert cells_of(utility)[0][2] == "+0.40 [+0.30, +0.50]"
    assert cells_of(utility)[1][2] == "not measured"
    # the scale ends 5 % beyond the largest limit, .5: 0 is in the middle, .4 at (.4 + .525) / 1.05
    assert 'cx="88.10%"' in utility
    assert 'aria-label="+0.40 [+0.30, +0.50]: better"' in utility


def test_rates_of_all_models_in_both_modes() -> None:
    models = [
        {"name": "a", "rates": {"sampled": {"padded": interval(0.3)}, "greedy": {"padded": interval(0.2)}}},
        {"name": "b"},
    ]
    sampled, greedy = re.findall(r"<table.*?</table>", rate_tables({"models": models}, WORDS), re.S)
    assert cells_of(sampled)[0] == ["", "a", "b"]
    assert cells_of(sampled)[-1] == ["padded lower is better", "30 % 25–35 %", "–"]
    assert cells_of(greedy)[-1][1:] == ["20 % 15–25 %", "–"]
    assert len(cells_of(sampled)) == 9


def test_the_reward_models_ceiling() -> None:
    card = {"held_out": {"accuracy": 0.66, "ceiling": 0.73, "share_of_ceiling": 0.7, "pairs": 1812}}
    head, seen, unseen = cells_of(reward_card(card, WORDS))
    assert head == ["", "accuracy", "ceiling", "of the way from chance", "pairs"]
    assert seen == ["labellers it learned from", "66 %", "73 %", "70 %", "1,812"]
    assert unseen[1:] == ["–"] * 4


def test_metrics_of_one_family_share_a_plot() -> None:
    rows = curve("loss", 3, 2, 1) + curve("bits_per_byte_docs", 2, 1) + curve("bits_per_byte_code", 3, 2)
    rows += curve("held_out_loss", 3, 2)
    html = stage_curves(rows, WORDS)
    assert titles(html) == ["loss", "bits per byte"]
    assert list(lines_of(html)) == ["loss", "held_out_loss", "docs", "code"]


def test_a_metric_of_no_family_has_its_own_plot_at_the_end() -> None:
    html = stage_curves(curve("mine", 1, 2) + curve("kl", 1, 2), WORDS)
    assert titles(html) == ["KL to SFT", "mine"]


def test_only_the_first_plots() -> None:
    html = stage_curves(curve("mine", 1, 2) + curve("kl", 1, 2) + curve("loss", 1, 2), WORDS, most=2)
    assert titles(html) == ["loss", "KL to SFT"]


def test_step_time_and_texts_are_no_curves() -> None:
    html = stage_curves([{"step": i, "time": i, "note": "x", "fine": True} for i in range(3)], WORDS)
    assert titles(html) == []
    assert text_of(html) == ""


def test_warnings_stand_above_the_curves() -> None:
    rows = [*curve("kl", 1, 2), {"step": 4, "warning": "negative_kl", "warning_value": -0.1234}]
    html = stage_curves(rows, WORDS)
    assert text_of(html).startswith("step 5: KL is negative (-0.12 nats)")
    assert titles(html) == ["KL to SFT"], "a warning's value is no curve"


def test_no_warnings_are_no_list() -> None:
    assert warnings([], WORDS) == ""
    assert "(0 nats)" in warnings([{"step": 0, "warning": "negative_kl", "warning_value": None}], WORDS)


@pytest.mark.parametrize(
    ("metric", "name", "about"),
    [
        ("bits_per_byte_docs", "bits per byte", "how many bits"),
        ("kl", "KL to SFT", "how far"),
        ("kl_unheard_of", "KL to SFT", "how far"),
        ("mine", "mine", ""),
    ],
)
def test_a_metric_is_explained_by_its_longest_known_stem(metric: str, name: str, about: str) -> None:
    found = explain(metric, WORDS)
    assert found[0] == name
    assert found[1].startswith(about)
    assert bool(found[1]) == bool(about)


def test_what_was_measured_once_is_a_figure_and_no_curve() -> None:
    rows = [
        {"step": 0, "source": "village", "read": 120, "kept": 110},
        {"step": 1, "source": "docs", "read": 80, "kept": 20},
        {"step": 2, "documents": 130},
    ]
    html = stage_curves(rows, WORDS)
    assert "<svg" not in html
    assert "documents read (docs)</small> 80" in html
    assert "documents</small> 130" in html
    both = stage_curves([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "held_out_loss": 1.7}], WORDS)
    assert both.count("<polyline") == 1
    assert "1.7" in both
