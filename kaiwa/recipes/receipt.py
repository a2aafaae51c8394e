"""The receipt: what this build cost beside what GPT-3 and InstructGPT did.

Operations are counted as 6 a parameter and training token, 2 a parameter and generated token (Kaplan et al., 2020).
Energy is an estimate: a laptop's processor at full load, 45 W, for the seconds that the stages took.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaiwa.core.artifact import Artifact

WATTS = 45.0
PRICE = 0.30  # a kWh, in US dollars: an assumption
PETAFLOP_DAY = 1e15 * 86_400
GPT3 = 3640.0  # petaflop/s-days of pretraining the 175B model (Brown et al., 2020, table D.1)
INSTRUCT_SFT, INSTRUCT_PPO = 4.9, 60.0  # 175B SFT and PPO-ptx (Ouyang et al., 2022, section 5)


def receipt(seconds: float, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return minutes, energy, money and petaflop/s-days of a build, beside GPT-3's and InstructGPT's."""
    base = artifacts["base"]
    operations = 6.0 * base.metrics["parameters"] * base.metrics["tokens"]
    kwh = WATTS * seconds / 3.6e6
    return {
        "minutes": round(seconds / 60, 2),
        "kwh": round(kwh, 4),
        "dollars": round(kwh * PRICE, 4),
        "assumed_watts": WATTS,
        "assumed_dollars_per_kwh": PRICE,
        "pretraining_petaflop_days": operations / PETAFLOP_DAY,
        "gpt3_petaflop_days": GPT3,
        "instructgpt_sft_petaflop_days": INSTRUCT_SFT,
        "instructgpt_ppo_ptx_petaflop_days": INSTRUCT_PPO,
    }
