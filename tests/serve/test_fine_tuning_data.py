"""Fine-tuning files line by line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.catalog.entries import Entry
from kaiwa.core.errors import UserError
from kaiwa.serve.tuning.job_plan import TuningRequest, make_plan
from kaiwa.serve.tuning.training_data import comparison_record, convert, demonstration_record
from kaiwa.text.records import comparison, demonstration

USER, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def test_openais_shapes_become_ours() -> None:
    parts = {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]}
    found = demonstration_record({"messages": [parts, USER, SAID]})
    assert found["messages"][0] == {"role": "system", "content": "be brief"}
    preference = {"input": {"messages": [USER]}, "preferred_output": [SAID], "non_preferred_output": [SAID]}
    assert comparison_record(preference) == {"prompt": [USER], "chosen": "b", "rejected": "b"}
    ranked = {"prompt": "q", "completions": ["x", "y", "z"], "ranks": [0, 1, 1]}
    assert comparison(comparison_record(ranked)).ranks == (0, 1, 1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"messages": []}, "messages: a list"),
        ({"messages": [USER]}, "the assistant's answer must end it"),
        ({"messages": [USER, {"role": "robot", "content": "x"}]}, r"messages\[1\].role: 'robot'"),
        ({"messages": [{"role": "user", "content": 3}, SAID]}, r"messages\[0\].content: a text"),
        ({"messages": [USER, SAID | {"weight": 0}]}, r"messages\[1\].weight"),
        ({"messages": [USER, SAID], "tools": [{}]}, "tools"),
    ],
)
def test_a_wrong_field_is_named(value: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        demonstration_record(value)
    good = json.dumps({"messages": [USER, SAID]})
    (tmp_path / "f").write_text(f"{good}\n\n{good}\n{json.dumps(value)}\n")
    with pytest.raises(UserError, match=r"^line 4: "):
        convert(tmp_path / "f", tmp_path / "out", "supervised")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "input",
                    "preferred_output",
                    "prompt",
                    "chosen",
                    "rejected",
                    "ranks",
                    "type",
                ]
            ),
            inner | st.sampled_from(["user", "assistant", "text"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_record_or_an_error_in_words(value: Any) -> None:
    if not isinstance(value, dict):
        return
    for read, check in ((demonstration_record, demonstration), (comparison_record, comparison)):
        try:
            found = read(value)
        except UserError:
            continue
        check(found)


def test_half_a_character_is_named(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, SAID]})
    (tmp_path / "f").write_text(good + "\n" + good.replace('"b"', '"\\ud800"'))
    with pytest.raises(UserError, match="line 2: half of a character"):
        convert(tmp_path / "f", tmp_path / "out", "supervised")
    with pytest.raises(ValueError, match="metadata"):
        TuningRequest(model="m", training_file="f", metadata={"a": "\ud800"})


def test_auto_is_decided_by_the_data_and_the_base() -> None:
    small = Entry(name="own", path=Path("x"), parameters=1_000_000, bits=32)
    large = Entry(name="big", path=Path("x.gguf"), kind="gguf", bits=4)
    ask = TuningRequest(model="m", training_file="f")
    assert make_plan(ask, small, 10).hyperparameters["n_epochs"] == 10
    assert make_plan(ask, small, 1000).hyperparameters == {
        "n_epochs": 1, "batch_size": 16, "learning_rate_multiplier": 1.0, "lora_rank": 0
    }  # fmt: skip
    assert make_plan(ask, large, 1000).config["lora_rank"] > 0
    reward = TuningRequest(model="m", training_file="f", method={"type": "reward"})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="too large"):
        make_plan(reward, large, 10)
