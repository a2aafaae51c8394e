"""A recipe: the configuration of every stage of a build. Presets (presets.py) are functions that return a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """The configuration of a build. rlhf: PPO-ptx; the build also runs PPO without the pretraining term to compare.

    start: the recipe whose people, tokenizer and base model a build of dialogues goes on with; "" for raw text. Then
    corpus, tokenizer and pretrain are that recipe's own.
    """

    name: str
    start: str = ""
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
