"""A recipe: the configuration of every stage of a build. Presets are functions that return one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import CorpusConfig
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.quantize.config import QuantizeConfig
from kaiwa.reward.collect_config import CollectConfig
from kaiwa.reward.config import RewardConfig
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.sft.config import SFTConfig
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.world.config import WorldConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`rlhf` is PPO-ptx; the build also runs it without the pretraining term, for the comparison."""

    name: str
    seed: int = 0
    village: WorldConfig = field(default_factory=WorldConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    compare: CollectConfig = field(default_factory=CollectConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    rlhf: RLHFConfig = field(default_factory=RLHFConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def presets() -> dict[str, Callable[[], Recipe]]:
    from kaiwa.recipes.laptop import laptop, laptop_ja
    from kaiwa.recipes.tiny import tiny

    return {"tiny": tiny, "laptop": laptop, "laptop-ja": laptop_ja}


def find(name: str) -> Recipe:
    """A preset by name, or the `recipe()` of a Python file."""
    known = presets()
    if name in known:
        return known[name]()
    file = Path(name)
    if file.suffix != ".py":
        raise UserError(
            f"no recipe {name!r}{did_you_mean(name, known)} (or give a Python file with a recipe() function)"
        )
    if not file.is_file():
        raise UserError(f"{file}: no such recipe file")
    spec = importlib.util.spec_from_file_location("kaiwa_recipe", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, "recipe", None)
    if made is None or not isinstance(result := made(), Recipe):
        raise UserError(f"{file}: a recipe file needs a function recipe() that returns a kaiwa.recipes.settings.Recipe")
    return result
