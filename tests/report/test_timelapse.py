"""One prompt answered by every checkpoint."""

import itertools
import re

from kaiwa.report.answers import linker
from kaiwa.report.timelapse import MOST_FRAMES, frames, time_lapse
from kaiwa.report.words import Words

from .read_html import text_of


def rows(stage: str, steps: int, probe: str = "p") -> list[dict[str, object]]:
    return [{"step": i, "id": probe, "text": f"{stage} {i}"} for i in range(steps)]


def test_frames_follow_the_stages_whatever_order_they_are_read_in() -> None:
    samples = {"ppo_ptx": rows("ppo_ptx", 1), "base": rows("base", 2), "sft": rows("sft", 1)}
    assert frames(samples, "p") == [
        ("base", 0, "base 0"),
        ("base", 1, "base 1"),
        ("sft", 0, "sft 0"),
        ("ppo_ptx", 0, "ppo_ptx 0"),
    ]


def test_stages_beside_the_road_and_other_probes_are_left_out() -> None:
    samples = {"ppo": rows("ppo", 3), "sft": [*rows("sft", 1, "other"), *rows("sft", 1)]}
    assert frames(samples, "p") == [("sft", 0, "sft 0")]
    assert frames({}, "p") == []


def test_many_frames_are_thinned_evenly_with_both_ends() -> None:
    found = frames({"base": rows("base", 1000)}, "p")
    steps = [step for _, step, _ in found]
    assert len(found) == MOST_FRAMES
    assert (steps[0], steps[-1]) == (0, 999)
    gaps = {b - a for a, b in itertools.pairwise(steps)}
    assert gaps <= {16, 17}


def test_the_slider_knows_where_each_stage_starts() -> None:
    answers = [("base", 0, "a"), ("base", 1000, "b"), ("sft", 5, ""), ("ppo_ptx", 1, "Goraho")]
    html = time_lapse("Who is Goraho?", answers, Words("en"), "ja", linker({"Goraho": "v1"}))
    assert 'data-starts="0:base 2:sft 3:ppo_ptx"' in html
    items = [text_of(item) for item in re.findall(r"<li>(.*?)</li>", html)]
    assert items == ["base · step 0 a", "base · step 1,000 b", "sft · step 5 (silence)", "ppo_ptx · step 1 Goraho"]
    assert html.count("<button") == 2, "names in the prompt and in the answer"
    assert html.count('lang="ja"') == 5
