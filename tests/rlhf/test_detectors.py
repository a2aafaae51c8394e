"""Every detector speaks on the history it is for, once, and keeps silent on a healthy one."""

import pytest

from kaiwa.report.sections import stage_curves
from kaiwa.report.words import Words
from kaiwa.rlhf.detectors import DETECTORS, Watch, warning_text

HEALTHY = {"kl": 1.0, "ratio_off": 1e-5, "ended": 0.98, "length": 10.0, "score": 0.5, "explained_variance": 0.4,
           "score_outside": 0.02, "distinct": 0.8}  # fmt: skip


def history(n: int, **moving: tuple[float, float]) -> list[dict[str, float]]:
    """n updates; a metric moves from its first value to its second in equal steps."""
    return [
        HEALTHY | {name: a + (b - a) * i / (n - 1) for name, (a, b) in moving.items()} | {"policy_loss": 0.0}
        for i in range(n)
    ]


def names(rows: list[dict[str, float]]) -> list[str]:
    watch = Watch()
    return [name for row in rows for name, _ in watch.look(row)]


SICK = {
    "negative_kl": history(8, kl=(-0.2, -0.2)),
    "ratio_off_one": history(2, ratio_off=(0.0, 0.3)),
    "ended_falling": history(30, ended=(0.98, 0.6)),
    "length_with_score": history(30, length=(10.0, 20.0), score=(0.0, 2.0)),
    "value_hinders": history(25, explained_variance=(-0.5, -0.5)),
    "out_of_range": history(10, score_outside=(0.0, 0.9)),
    "collapsed": history(30, distinct=(0.9, 0.02)),
}


def test_nothing_is_said_of_a_healthy_run() -> None:
    assert names(history(60)) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_each_is_found_once_and_nothing_else(name: str) -> None:
    assert names(SICK[name]) == [name]


def test_a_length_that_grows_without_the_score_is_no_cause() -> None:
    assert names(history(30, length=(10.0, 20.0), score=(2.0, 0.0))) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_going_on_from_a_checkpoint_says_the_same(name: str) -> None:
    rows = SICK[name]
    for cut in range(0, len(rows), 3):
        first, second = Watch(), Watch()
        found = [n for row in rows[:cut] for n, _ in first.look(row)]
        second.restore(first.state())
        assert found + [n for row in rows[cut:] for n, _ in second.look(row)] == names(rows)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_line_says_what_why_and_what_to_try_on_the_page_too(language: str) -> None:
    for name in DETECTORS:
        line = warning_text(name, -0.123, language)
        assert "-0.12" in line
        assert "\n" not in line
        rows = [{"step": 3, "score": 1.0}, {"step": 3, "warning": name, "warning_value": -0.123}]
        assert str(warning_text(name, -0.123, language)).split("{")[0][:20] in stage_curves(rows, Words(language))
