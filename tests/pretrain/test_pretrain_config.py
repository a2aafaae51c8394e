"""The limits of pretraining's configuration, each named with its value."""

import pytest

from kaiwa.core.config import from_json, override, to_json
from kaiwa.core.errors import UserError
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain.config import PretrainConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "pretrain.steps is 0; it must be at least 1"),
        ({"width": 0}, "pretrain.width is 0"),
        ({"evaluate_rows": 0}, "pretrain.evaluate_rows is 0"),
        ({"rows": 6, "microbatch": 4}, "pretrain.rows 6 is not a multiple of microbatch 4"),
        ({"width": 257}, "pretrain.width 257 is more than model.max_length 256"),
        ({"sources": ["docs"]}, "pretrain has 1 sources but 0 weights"),
        ({"lr": 1.0}, "pretrain.lr is 1.0; it must be between 0 and 1"),
        ({"lr": 0.0}, "pretrain.lr is 0.0"),
        ({"model": {"n_head": 3}}, "model.d_model 256 is not a multiple of n_head 3"),
    ],
)
def test_a_limit_names_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(PretrainConfig, changes)


def test_a_wider_model_allows_wider_rows() -> None:
    config = override(PretrainConfig(), {"model.max_length": "512"})
    assert override(config, {"width": "512"}).width == 512
    whole = PretrainConfig(model=DecoderConfig(max_length=512), width=512, sources=("a", "b"), weights=(0.5, 0.5))
    assert from_json(PretrainConfig, to_json(whole)) == whole
