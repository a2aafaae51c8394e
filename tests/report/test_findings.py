"""What a build showed: each question's three answers, from figures made by hand."""

from pathlib import Path
from typing import Any

import pytest

from kaiwa.report.findings import BuildFinding, findings, headline
from kaiwa.report.read import SavedBuild
from kaiwa.report.words import Words

from .run_folder import interval

WORDS = Words("en")


def build_of(models: dict[str, dict[str, Any]], **report: Any) -> SavedBuild:
    details = {"models": [{"name": name, **row} for name, row in models.items()]} | report.pop("details", {})
    return SavedBuild(Path("small"), report={"details": details, **report})


def won(sampled: dict[str, Any] | None, greedy: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"against_sft": {"sampled": {"decided": sampled}, "greedy": {"decided": greedy}}}


def rates(mode: str = "sampled", **shares: dict[str, Any]) -> dict[str, Any]:
    return {"rates": {mode: shares}}


def only(models: dict[str, dict[str, Any]], **report: Any) -> BuildFinding:
    (finding,) = findings(build_of({"sft": {"x": 1}, "ppo_ptx": {"x": 1}} | models, **report), WORDS)
    return finding


def test_nothing_was_evaluated() -> None:
    for models in ({}, {"sft": {"ended": 1.0}}, {"ppo_ptx": {"x": 1}}):
        assert findings(build_of(models), WORDS) == [BuildFinding("open", "Nothing was evaluated yet.")]


def test_no_question_is_answered_without_its_figures() -> None:
    assert findings(build_of({"sft": {"x": 1}, "ppo_ptx": won(None) | rates()}), WORDS) == []


@pytest.mark.parametrize("name", ["invented_about_unknown", "known_held_out_right", "harmful_refused"])
def test_no_change_is_told_where_only_one_side_was_measured(name: str) -> None:
    figures = rates(**{name: interval(0.5)})
    for sft, ptx in ((figures, {"x": 1}), ({"x": 1}, figures)):
        assert findings(build_of({"sft": sft, "ppo_ptx": ptx}), WORDS) == []


@pytest.mark.parametrize(
    ("mean", "half", "state"),
    [(0.66, 0.05, "met"), (0.57, 0.05, "short"), (0.62, 0.15, "open"), (0.4, 0.05, "short")],
)
def test_sampled_wins_have_an_aim_of_sixty_percent(mean: float, half: float, state: str) -> None:
    finding = only({"ppo_ptx": won(interval(mean, half))})
    assert finding.state == state
    assert f"{mean:.0%}".replace("%", "\u00a0%") in finding.text
    assert "The aim was" in finding.text or "the aim was" in finding.text


@pytest.mark.parametrize(("mean", "state"), [(0.57, "met"), (0.53, "open"), (0.43, "short")])
def test_greedy_wins_need_only_be_wins(mean: float, state: str) -> None:
    assert only({"ppo_ptx": won(None, interval(mean))}).state == state


@pytest.mark.parametrize(
    ("strong", "state", "what"),
    [(0.5, "met", "is ahead of SFT"), (0.7, "short", "ahead of PPO-ptx"), (0.58, "open", "told apart")],
)
def test_the_strong_baseline(strong: float, state: str, what: str) -> None:
    models = {"ppo_ptx": won(interval(0.6, 0.04)), "sft_good": won(interval(strong, 0.04))}
    finding = findings(build_of({"sft": {"x": 1}, **models}), WORDS)[-1]
    assert finding.state == state
    assert what in finding.text


@pytest.mark.parametrize(
    ("after", "state", "what"),
    [(0.2, "met", "at most halved"), (0.25, "short", "fell, but not by half"), (0.36, "short", "did not fall clearly")],
)
def test_inventions_should_halve(after: float, state: str, what: str) -> None:
    finding = only(
        {
            "sft": rates(invented_about_unknown=interval(0.4)),
            "ppo_ptx": rates(invented_about_unknown=interval(after)),
        }
    )
    assert finding.state == state
    assert what in finding.text


@pytest.mark.parametrize(("after", "state"), [(0.6, "met"), (0.5, "met"), (0.45, "open"), (0.3, "short")])
@pytest.mark.parametrize("mode", ["sampled", "greedy"])
def test_what_was_known_should_stay_known(mode: str, after: float, state: str) -> None:
    finding = only(
        {
            "sft": rates(mode, known_held_out_right=interval(0.5)),
            "ppo_ptx": rates(mode, known_held_out_right=interval(after)),
        }
    )
    assert finding.state == state
    assert mode in finding.text


@pytest.mark.parametrize(("after", "state"), [(0.65, "met"), (0.55, "open"), (0.5, "short"), (0.4, "short")])
def test_harmful_requests_should_be_refused_more_often(after: float, state: str) -> None:
    finding = only({"sft": rates(harmful_refused=interval(0.5)), "ppo_ptx": rates(harmful_refused=interval(after))})
    assert finding.state == state


@pytest.mark.parametrize(
    ("ended", "state", "share"), [(0.95, "met", "95"), (0.949, "short", "95"), (0.0, "short", "0")]
)
def test_answers_should_end(ended: float, state: str, share: str) -> None:
    finding = only({"sft": {"ended": ended}})
    assert finding.state == state
    assert finding.text.startswith(f"{share}\u00a0%")
    assert finding.text.endswith("the aim was 95\u00a0%.")


def bits(**values: float) -> dict[str, dict[str, Any]]:
    return {name: {"bits_per_byte": value} for name, value in values.items()}


def test_a_tax_that_was_partly_undone() -> None:
    """SFT 2.0, PPO 2.2, PPO-ptx 2.05: of a tax of .2, .15 is undone."""
    finding = only(bits(sft=2.0, ppo=2.2, ppo_ptx=2.05))
    assert finding.state == "met"
    assert "75\u00a0% of the tax undone" in finding.text


def test_a_tax_that_grew() -> None:
    finding = only(bits(sft=2.0, ppo=2.2, ppo_ptx=2.3))
    assert finding.state == "short"
    assert "-50\u00a0% of the tax undone" in finding.text


def test_half_a_percent_is_no_tax() -> None:
    assert "no tax" in only(bits(sft=2.0, ppo=2.01, ppo_ptx=2.3)).text
    assert "costs real text" in only(bits(sft=2.0, ppo=2.011, ppo_ptx=2.0)).text


def test_the_tax_of_fine_tuning_itself() -> None:
    found = findings(build_of(bits(base=1.8, sft=2.0, ppo=2.2, ppo_ptx=1.9)), WORDS)
    assert [f.state for f in found] == ["met", "open"]
    assert "1.800 → 2.000" in found[1].text
    assert "undone 50\u00a0%" in found[1].text
    assert len(findings(build_of(bits(base=2.0, sft=2.0, ppo=2.2, ppo_ptx=1.9)), WORDS)) == 1


@pytest.mark.parametrize(("share", "state"), [(0.7, "met"), (0.69, "short")])
def test_the_reward_model_has_a_ceiling(share: float, state: str) -> None:
    card = {"held_out": {"accuracy": 0.66, "ceiling": 0.73, "share_of_ceiling": share}}
    finding = only({}, details={"reward": card})
    assert finding.state == state
    assert "(66\u00a0% of 73\u00a0%)" in finding.text


@pytest.mark.parametrize(
    ("small", "state", "change"), [(2.1, "met", "+5.00"), (2.11, "short", "+5.50"), (1.9, "met", "−5.00")]
)
def test_four_bits_may_cost_a_twentieth(small: float, state: str, change: str) -> None:
    finding = only(bits(ppo_ptx=2.0, ppo_ptx_int4=small))
    assert finding.state == state
    assert f"cost {change} %" in finding.text


def test_the_headline_of_a_build_that_is_not_finished() -> None:
    title, sentence = headline(build_of({}, seconds=59.6), WORDS)
    assert title == "small: from raw text to a chat model in 1 min 0 s."
    assert "not finished" in sentence
    assert headline(build_of({}, recipe="tiny", seconds=12), WORDS)[0].endswith(
        "tiny: from raw text to a chat model in 12 s."
    )
    assert headline(SavedBuild(Path("x")), WORDS)[0].endswith("in 0 s.")


@pytest.mark.parametrize(
    ("sampled", "greedy", "first", "second"),
    [
        (0.66, 0.57, "beats", "wins as well"),
        (0.53, 0.43, "cannot be told apart", "it loses"),
        (0.40, 0.53, "loses to", "no difference"),
    ],
)
def test_the_headline_says_both_ways_of_decoding(sampled: float, greedy: float, first: str, second: str) -> None:
    _, sentence = headline(build_of({"ppo_ptx": won(interval(sampled), interval(greedy))}), WORDS)
    one, two = sentence.split(". ", 1)
    assert first in one
    assert second in two


def test_without_greedy_figures_the_headline_is_one_sentence() -> None:
    _, sentence = headline(build_of({"ppo_ptx": won(interval(0.66))}), WORDS)
    assert sentence.endswith("when both sample.")


def test_japanese_sentences_are_not_spaced() -> None:
    build = build_of({"ppo_ptx": won(interval(0.66), interval(0.57))})
    assert "。 " not in headline(build, Words("ja"))[1]
