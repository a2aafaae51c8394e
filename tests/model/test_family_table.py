"""Every family: the table in docs/models.md is what the code does, and no config.json of one gives a traceback.

KAIWA_FUZZ=100000 in the environment: so many damaged configs instead of 1,000.
"""

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaiwa.core.errors import UserError
from kaiwa.engine.native.refusal import shape_refusal
from kaiwa.hub.gguf_write import gguf_family
from kaiwa.model.config import DecoderConfig, ExpertsConfig, RopeScaling, Scales
from kaiwa.model.families.by_name import FAMILIES
from kaiwa.model.families.family import Family
from kaiwa.model.formats.hf_config import hf_config, read_config
from kaiwa.model.int4 import linears_of
from kaiwa.model.rotary import rotary_frequencies

ROOT = Path(__file__).parents[2]
BASE = DecoderConfig(vocab_size=64, d_model=64, n_layer=4, n_head=4, n_kv_head=2, d_ff=96)
GEMMA = {"activation": "gelu", "norms": "around", "layers": "wg", "window": 16}
# A model of each family as it usually is: what differs from LLaMA.
USUAL: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"layers": "w", "window": 16},
    "mixtral": {"experts": ExpertsConfig(n_experts=4, n_active=2)},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": "head"},
    "qwen3_moe": {"qk_norm": "head", "experts": ExpertsConfig(n_experts=4, n_active=2)},
    "gemma2": {**GEMMA, "scales": Scales(embedding_scale=8.0, attention_cap=50.0, logit_cap=30.0)},
    "gemma3_text": {
        **GEMMA, "n_layer": 6, "layers": "wwwwwg", "qk_norm": "head", "local_theta": 1e4,
        "scales": Scales(embedding_scale=8.0),
    },
    "phi3": {"rotary_size": 8, "rope": RopeScaling(kind="longrope", divisors=(1.0, 1.1, 1.2, 1.3))},
    "smollm3": {"layers": "gggn"},
    "granite": {"scales": Scales(embedding_scale=3.0, residual_scale=0.5, logit_scale=0.25, attention_scale=0.1)},
    "olmo2": {"qk_norm": "all", "norms": "after"},
    "gpt2": {"dialect": "gpt3", "n_kv_head": 0},
    "gpt_neox": {"dialect": "gpt3", "n_kv_head": 0, "rotary_size": 4, "activation": "gelu_erf", "parallel": True},
}  # fmt: skip


def usual(family: Family) -> DecoderConfig:
    return replace(BASE, **USUAL[family.model_type])


def writes_gguf(config: DecoderConfig) -> bool:
    try:
        gguf_family(config)
    except UserError:
        return False
    return True


def table() -> str:
    """The table of docs/models.md."""
    lines = ["| family | reads GGUF | writes GGUF | four bits | LoRA | C++ step |", "|---|---|---|---|---|---|"]
    for family in sorted(FAMILIES, key=lambda f: f.model_type):
        config = usual(family)
        four = "no" if family.qkv_by_head else "reads" if config.experts.n_experts else "reads, writes"
        lora = ", ".join(linears_of(config)) if config.experts.n_experts else "all products"
        why = shape_refusal(config)
        gguf = family.gguf or ("as `llama`" if family.model_type == "mistral" else "no")
        cells = (
            f"`{family.model_type}`",
            f"`{gguf}`" if family.gguf else gguf,
            "yes" if writes_gguf(config) else "no",
            four,
            lora,
            why.removeprefix("the C++ step ") if why else "yes",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_in_the_docs_is_what_the_code_does() -> None:
    assert table() in (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_a_family_writes_what_it_reads(family: Family, tmp_path: Path) -> None:
    config = usual(family)
    (tmp_path / "config.json").write_text(json.dumps(hf_config(config, False)))
    read = read_config(tmp_path)
    assert replace(read, max_length=config.max_length, rope=config.rope) == config


ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 64, 2**31, 2**63, 1e308, float("nan"), float("inf"), -0.5, "", "x",
    "full_attention", [], [1], [0, 1], ["w"], [None], {}, {"rope_type": "longrope"}, {"rope_type": "yarn", "factor": 2},
    {"rope_type": "llama3"}, {"full_attention": {"rope_theta": 1}}, {"full_attention": 7}, ["sliding_attention"] * 9,
    {"rope_theta": "x"}, {"short_factor": "x", "rope_type": "su"}, {"rope_type": "longrope", "short_factor": [None]},
    {"rope_type": "longrope", "short_factor": [1, 2, 3, 4], "original_max_position_embeddings": 0},
)  # fmt: skip
OPTIONAL = (
    *("rope_parameters", "rope_scaling", "layer_types"),
    *("sliding_window", "use_sliding_window", "max_window_layers"),
)


def test_no_config_gives_a_traceback(tmp_path: Path) -> None:
    rng, n_read, n_refused, n = random.Random(0), 0, 0, int(os.environ.get("KAIWA_FUZZ", "1000"))
    configs = [hf_config(usual(family), False) for family in FAMILIES]
    for _ in range(n):
        config = dict(rng.choice(configs))
        for field in rng.sample(sorted({*config, *OPTIONAL}), rng.choice((1, 1, 2))):
            config[field] = rng.choice(ODD_VALUES)
        (tmp_path / "config.json").write_text(json.dumps(config))
        try:
            read = read_config(tmp_path)
            if read.rotated < 1 << 16:
                rotary_frequencies(read)
            hf_config(read, False)
            n_read += 1
        except UserError as error:
            lines = str(error).splitlines()
            n_refused += len(lines)
    assert n_read > 100
    assert n_read + n_refused == n, "a refusal is one line"
