"""The receipt: the cost of this build compared with GPT-3 and InstructGPT.

Training costs 6 operations per parameter and token, generation 2 (Kaplan et al., 2020). Energy is an estimate: a
laptop's processor at full load, 45 W, for the duration of the stages.
"""

from __future__ import annotations

from typing import Any

from kaiwa.core.artifact import Artifact

WATTS = 45.0
PRICE = 0.30  # US dollars per kWh: an assumption
PETAFLOP_DAY = 1e15 * 86_400
GPT3 = 3640.0  # petaflop/s-days of pretraining the 175B model (Brown et al., 2020, table D.1)
INSTRUCT_SFT, INSTRUCT_PPO = 4.9, 60.0  # 175B SFT and PPO-ptx (Ouyang et al., 2022, section 5)


def receipt(seconds: float, base: Artifact) -> dict[str, Any]:
    """Return minutes, energy, money and petaflop/s-days of a build, and the petaflop/s-days of both papers."""
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
