"""The table of stages that the recipe, the pages and the reports read."""

from itertools import pairwise

import pytest

from kaiwa.core.stages import STAGES, main_stages, model_names, stage_named, stage_names, usual_seconds

NAMES = [stage.name for stage in STAGES]


def test_names_are_distinct_and_found() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [stage_named(name) for name in NAMES] == list(STAGES)
    assert stage_named("ppo_ptxx") is None
    assert stage_named("") is None


def test_the_order_is_that_of_making() -> None:
    def before(first: str, second: str) -> bool:
        return NAMES.index(first) < NAMES.index(second)

    road = ["village", "corpus", "tokenizer", "base", "sft", "comparisons", "reward", "ppo_ptx", "ppo_ptx_int4",
            "evaluation", "report"]  # fmt: skip
    assert all(before(a, b) for a, b in pairwise(road))
    assert NAMES[-1] == "report"
    assert before("reward", "dialogue")
    assert before("dialogue", "dialogue_int4")
    assert [stage.name for stage in main_stages()] == road[:-1]


def test_all_but_the_report_publish_an_artifact() -> None:
    assert [stage.name for stage in STAGES if not stage.kind] == ["report"]
    assert stage_names("any") == tuple(NAMES[:-1])
    talk = ("village", "sft", "comparisons", "reward", "dialogue", "dialogue_int4", "evaluation")
    assert stage_names("dialogue") == talk
    assert set(NAMES) - set(usual_seconds()) == {"dialogue", "dialogue_int4"}
    assert list(usual_seconds("dialogue")) == [*talk, "report"]
    assert all(seconds > 0 for seconds in usual_seconds("any").values())


def test_models_are_described_in_both_languages_and_nothing_else_is() -> None:
    assert model_names() == ("base", "sft", "sft_good", "ppo", "ppo_ptx", "ppo_ptx_int4")
    assert model_names("dialogue") == ("sft", "dialogue", "dialogue_int4")
    for stage in STAGES:
        assert stage.is_model == bool(stage.model_text("en")) == bool(stage.model_text("ja"))
        assert stage.text("en")
        assert stage.text("ja")
        assert stage.text("fr") == stage.text("en")  # what is not Japanese is English
    for text in ("en", "ja", "model_en", "model_ja"):
        texts = [getattr(stage, text) for stage in STAGES if getattr(stage, text)]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_what_a_page_shows_of_a_stage_is_there(stage) -> None:  # type: ignore[no-untyped-def]
    if stage.lapse:
        assert stage.samples  # the time-lapse is made of samples
    if stage.samples:
        assert stage.is_model
        assert stage.curves
