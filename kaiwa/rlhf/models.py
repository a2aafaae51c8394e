"""The models of reinforcement learning, and the weights that they share.

policy      all weights are trained, or a LoRA adapter (lora_rank)
reference   a frozen copy of the policy; with lora_rank the policy with the adapter switched off
reward      frozen; absent if a Python function gives the scores
value       starts from the reward model (InstructGPT, C.4), else from the policy with a head of zeros; with
            shared_trunk a head (and with lora_rank an adapter) on the reward model's trunk
average     the moving average of the policy's trained weights (ema)
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kaiwa.catalog.learning_rates import learning_rate
from kaiwa.catalog.trainable import Trainable, open_base, open_trainable, restore, trained_state
from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.rng import seed_for
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.model.heads import ScalarModel
from kaiwa.model.lora import adapter_off, add_lora
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.tokenizer.folder import same_tokens
from kaiwa.tokenizer.tokenizer import Tokenizer


@dataclass(slots=True)
class Models:
    trained: Trainable
    frozen: Decoder | None  # the reference; None: the policy without its adapter
    reward: ScalarModel | None
    value: ScalarModel | None
    average: Decoder | None

    @property
    def policy(self) -> Decoder:
        return self.trained.decoder

    @property
    def published(self) -> Trainable:
        if self.average is None:
            return self.trained
        return Trainable(self.trained.base, self.average, self.trained.tokenizer)

    @contextlib.contextmanager
    def reference(self) -> Iterator[Decoder]:
        """Yield the SFT model while the block runs."""
        if self.frozen is not None:
            yield self.frozen
        else:
            with adapter_off(self.policy):
                yield self.policy

    @contextlib.contextmanager
    def judge(self) -> Iterator[ScalarModel]:
        """Yield the reward model without the value model's adapter while the block runs."""
        assert self.reward is not None
        with adapter_off(self.reward):
            yield self.reward

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Update the moving average of the weights: decay * average + (1 - decay) * policy."""
        if self.average is not None:
            for mean, new in zip(self.average.parameters(), self.policy.parameters(), strict=True):
                if new.requires_grad:
                    mean.lerp_(new.detach(), 1 - decay)

    def state(self) -> dict[str, Any]:
        """Return the state that training changes."""
        names = trained_state(self.policy)
        mean = {n: p for n, p in self.average.named_parameters() if n in names} if self.average is not None else {}
        return {"policy": names, "value": trained_state(self.value) if self.value is not None else {}, "average": mean}

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore a state returned by `state`."""
        restore(self.policy, saved["policy"])
        if self.value is not None:
            restore(self.value, saved["value"])
        if self.average is not None:
            restore(self.average, saved["average"])


def open_models(config: RLHFConfig, ctx: Context, policy: Artifact, reward: Artifact | None) -> Models:
    """Load the models of a configuration. UserError if the reward model has another tokenizer than the policy."""
    trained = open_trainable(policy.path, ctx.seed, lora_rank=config.lora_rank, lora_alpha=config.lora_alpha)
    trained.decoder.to(ctx.device)
    frozen = None if config.lora_rank else open_base(policy.path)[0].to(ctx.device).requires_grad_(False)
    judge = None
    if reward is not None:
        same_tokens(trained.tokenizer, Tokenizer.load(reward.path), policy.path, reward.path)
        judge = load_scalar(reward.path).to(ctx.device).requires_grad_(False)
    value = None
    if config.has_value:
        value = _value(config, ctx, policy, judge, reward).to(ctx.device)
    average = copy.deepcopy(trained.decoder).requires_grad_(False) if config.steps.ema else None
    return Models(trained, frozen, judge, value, average)


def rates(config: RLHFConfig, models: Models) -> tuple[float, float]:
    """Return the peak learning rates of the policy and of the value model."""
    lora, size = config.lora_rank > 0, models.policy.config.n_parameters
    value_size = models.value.decoder.config.n_parameters if models.value is not None else size
    value_lora = lora and config.shared_trunk
    return (
        config.steps.lr or learning_rate("rlhf", size, lora),
        config.steps.value_lr or learning_rate("value", value_size, value_lora),
    )


def _value(
    config: RLHFConfig, ctx: Context, policy: Artifact, judge: ScalarModel | None, reward: Artifact | None
) -> ScalarModel:
    if judge is None or reward is None:
        model = ScalarModel(open_base(policy.path)[0])
        torch.nn.init.zeros_(model.score.weight)
        return model
    if not config.shared_trunk:
        return load_scalar(reward.path)
    if config.lora_rank:
        generator = torch.Generator().manual_seed(seed_for(ctx.seed, "value-lora"))
        add_lora(judge.decoder, config.lora_rank, config.lora_alpha, generator)
    model = ScalarModel(judge.decoder)
    model.load_state_dict({"score.weight": judge.score.weight, "bias": judge.bias}, strict=False)
    return model
