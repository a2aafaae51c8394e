"""The state of reinforcement learning, and one update: roll out, score, estimate advantages, take clipped steps.

PPO, RLOO and GRPO differ in three places: the advantage of a token, the weight of a token in the loss, and the KL
penalty (in the reward or in the loss). Everything else, including PPO-ptx's pretraining gradient, is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.context import Context
from kaiwa.core.machine import give_back_memory
from kaiwa.core.rng import numpy_rng, seed_for
from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Decoder
from kaiwa.rlhf import advantage
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.loss import kl_loss, policy_loss, token_weights, value_loss
from kaiwa.rlhf.metrics import Targets, rollout_metrics
from kaiwa.rlhf.models import Models, rates
from kaiwa.rlhf.prompts import prompt_order
from kaiwa.rlhf.rollout import (
    Episodes,
    Score,
    by_length,
    measure,
    response_logprobs,
    response_values,
    reward_model_scores,
    sample,
    sampled_logprobs,
)
from kaiwa.rlhf.score import check_scores
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.optim import adamw, apply_gradients, autocast, gradient_norm
from kaiwa.train.rows import Mixture
from kaiwa.train.schedule import warmup


class Loop:
    def __init__(
        self,
        config: RLHFConfig,
        ctx: Context,
        models: Models,
        prompts: Sequence[Sequence[int]],
        *,
        mixture: Mixture | None,
        score: Score | None,
        usual_scores: tuple[float, float] | None = None,
    ) -> None:
        """score: in place of the reward model. usual_scores: range of scores on the reward model's held-out data."""
        self.config, self.ctx, self.models = config, ctx, models
        self.prompts, self.mixture, self.score, self.usual_scores = prompts, mixture, score, usual_scores
        self.policy, self.value = models.policy, models.value
        self.tokenizer = models.trained.tokenizer
        self.lr, self.value_lr = rates(config, models)
        self.optimizer = adamw([self.policy], self.lr, (0.9, 0.95), 0.0, config.steps.adam_eps)
        self.value_optimizer = None
        if self.value is not None:
            self.value_optimizer = adamw([self.value], self.value_lr, (0.9, 0.95), 0.0, config.steps.adam_eps)
        self.engine = Engine(self.policy, self.tokenizer)
        self.update = self.optimizer_steps = 0
        self.beta, self.ptx = config.penalty.kl_coefficient, config.pretraining.ptx_coefficient
        self.from_engine = False  # whether the engine's log-probabilities serve as old ones (see check_start)

    def state(self) -> dict[str, Any]:
        return self.models.state() | {
            "update": self.update,
            "optimizer_steps": self.optimizer_steps,
            "from_engine": self.from_engine,
            "beta": self.beta,
            "ptx": self.ptx,
            "optimizer": self.optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict() if self.value_optimizer is not None else {},
            "mixture": self.mixture.state() if self.mixture is not None else [],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.update, self.optimizer_steps, self.from_engine = (
            saved[name] for name in ("update", "optimizer_steps", "from_engine")
        )
        self.beta, self.ptx = saved["beta"], saved["ptx"]
        self.models.restore(saved)
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.value_optimizer is not None:
            self.value_optimizer.load_state_dict(saved["value_optimizer"])
        if self.mixture is not None:
            self.mixture.restore(saved["mixture"])

    def next_prompts(self) -> list[Sequence[int]]:
        """Return the prompts of this update, each `group` times side by side."""
        n = self.config.batch // self.config.group
        order = prompt_order(len(self.prompts), self.ctx.seed, self.update * n, n)
        return [self.prompts[i] for i in order for _ in range(self.config.group)]

    def step(self) -> dict[str, float]:
        """Make one update and return its metrics."""
        c, device = self.config, self.ctx.device
        seed = seed_for(self.ctx.seed, "rollout", self.update)
        give_back_memory()  # freed by training; the rollouts' cache would not reuse this memory
        batch = sample(
            self.engine,
            self.next_prompts(),
            max_tokens=c.max_tokens,
            temperature=c.temperature,
            seed=seed,
            eos=self.tokenizer.end_id,
            stop_ids=self.tokenizer.stop_ids,
        )
        self.engine.release()
        give_back_memory()
        with torch.no_grad():
            old, reference = self.likelihoods(batch)
            scores = self.scores(batch)
            rewarded = advantage.scores_by_end(
                scores, batch.ended.to(device), c.returns.missing_end_penalty, c.returns.end_rule
            )
            targets = self.targets(batch, old, reference, rewarded)
        parts = self.optimise(batch, targets)
        parts["optimizer_steps"] = float(self.optimizer_steps)
        usual = self.usual_scores if self.score is None else None
        parts |= rollout_metrics(
            batch, targets, scores, rewarded, beta=self.beta, estimator=c.penalty.kl_estimator, usual_scores=usual
        )
        if c.penalty.kl_target:
            parts["beta"] = self.beta
            self.beta = advantage.adapt_coefficient(
                self.beta, parts["kl"], c.penalty.kl_target, c.penalty.kl_horizon, c.batch
            )
        if c.pretraining.ptx_ratio:
            parts["ptx_coefficient"] = self.ptx
        self.update += 1
        return parts

    def likelihoods(self, batch: Episodes) -> tuple[Tensor, Tensor]:
        """Return old and reference log-probabilities of the responses' tokens, each [B,T]."""
        old = sampled_logprobs(batch, self.ctx.device)
        if self.update == 0:
            self.from_engine = self.check_start(batch, old)
        if not self.from_engine:
            old = self.logprobs(self.policy, batch)
        with self.models.reference() as model:
            return old, self.logprobs(model, batch)

    def logprobs(self, model: Decoder, batch: Episodes) -> Tensor:
        """Return the model's log-probabilities of the responses' tokens [B,T]."""
        c, device = self.config, self.ctx.device
        return measure(batch, c.microbatch, lambda part: response_logprobs(model, part, c.temperature, device))

    def scores(self, batch: Episodes) -> Tensor:
        """Return the score of every response [B]: from the score function if set (with `reward_weight` times the reward
        model's added), else from the reward model."""
        device, weight = self.ctx.device, 1.0 if self.score is None else self.config.reward_weight
        scores = torch.zeros(len(batch.texts), device=device)
        if self.score is not None:
            values = self.score(batch.prompts, batch.responses)
            scores = check_scores(values, [r.text for r in batch.responses], "score").to(device)
        if not weight:
            return scores
        with self.models.judge() as judge:
            return scores + weight * measure(
                batch, self.config.microbatch, lambda part: reward_model_scores(judge, part, device)
            )

    def targets(self, batch: Episodes, old: Tensor, reference: Tensor, scores: Tensor) -> Targets:
        """Return targets [B,T] of the minibatch steps. With RLOO and GRPO a response's tokens share one advantage."""
        c, device = self.config, self.ctx.device
        mask = batch.mask.to(device)
        if c.method == "grpo":
            advantages = advantage.group_standard(scores, c.group, c.corrections.group_scale)[:, None] * mask
            return Targets(old, reference, advantages, None, None)
        if c.method == "rloo":
            totals = scores - self.beta * (advantage.kl_tokens(old, reference, c.penalty.kl_estimator) * mask).sum(
                dim=1
            )
            return Targets(old, reference, advantage.left_one_out(totals, c.group)[:, None] * mask, None, None)
        value = self.value
        assert value is not None
        values = measure(batch, c.microbatch, lambda part: response_values(value, part, device))
        rewards = advantage.token_rewards(
            scores, old, reference, mask, beta=self.beta, estimator=c.penalty.kl_estimator
        )
        if c.returns.whiten_rewards:
            rewards = advantage.whiten(rewards, mask, keep_mean=True)
        advantages, returns = advantage.gae(rewards, values, mask, c.returns.gamma, c.returns.lam)
        if c.returns.whiten:
            advantages = advantage.whiten(advantages, mask)
        return Targets(old, reference, advantages, values, returns)

    def optimise(self, batch: Episodes, targets: Targets) -> dict[str, float]:
        """Take the minibatch steps of one update. Return their mean metrics, and the first step's "ratio_off"."""
        c = self.config
        rate = min(1.0, 0.1 + 0.9 * warmup(self.update, c.steps.warmup)) if self.update < c.steps.warmup else 1.0
        size = c.batch // c.minibatches
        collected: dict[str, list[float]] = {}
        for epoch in range(c.epochs):
            order = numpy_rng(self.ctx.seed, "minibatches", self.update, epoch).permutation(c.batch)
            for at in range(0, c.batch, size):
                chosen = torch.from_numpy(order[at : at + size].copy())
                row = self.gradients(batch, targets, chosen)
                if self.mixture is not None:
                    row["ppo_grad_norm"] = gradient_norm(self.policy.parameters())
                    row |= self.pretraining_gradient(row["ppo_grad_norm"])
                row["grad_norm"] = apply_gradients(self.optimizer, self.lr * rate, c.steps.max_norm)
                row.setdefault("ppo_grad_norm", row["grad_norm"])
                if self.value_optimizer is not None:  # after the policy's step, whose gradients are then freed
                    row["value_loss"] = self.value_gradients(batch, targets, chosen)
                    apply_gradients(self.value_optimizer, self.value_lr * rate, c.steps.max_norm)
                self.models.follow(c.steps.ema)
                self.optimizer_steps += 1
                for name, value in row.items():
                    collected.setdefault(name, []).append(value)
        first = {"ratio_off": collected.pop("ratio_off")[0]}
        return {name: sum(values) / len(values) for name, values in collected.items()} | first

    def gradients(self, batch: Episodes, targets: Targets, chosen: Tensor) -> dict[str, float]:
        """Add the gradients of the policy loss of the episodes `chosen` [n], by microbatches. Return the metrics."""
        c, device, t, fixes = self.config, self.ctx.device, targets, self.config.corrections
        n_tokens = max(1.0, float(batch.learned(fixes.mask_cut)[chosen].sum()))
        clipped = loss_p = gap = off = 0.0
        for piece in by_length(batch, chosen, c.microbatch):
            rows = batch.rows(piece)
            n = rows.mask.shape[1]
            mask = rows.learned(fixes.mask_cut).to(device)
            weights, count = token_weights(
                mask, c.method, n_tokens, len(chosen), scale=fixes.token_scale, most=c.max_tokens
            )
            logprobs = response_logprobs(self.policy, rows, c.temperature, device)
            old = t.old[piece, :n]
            part_p, part_c = policy_loss(
                logprobs, old, t.advantages[piece, :n], weights, clip=c.clip, count=count, clip_high=fixes.clip_high
            )
            if c.method == "grpo":
                part_p = part_p + kl_loss(logprobs, t.reference[piece, :n], weights, self.beta, count)
            part_p.backward()
            loss_p += float(part_p.detach())
            clipped += float(part_c)
            change = (logprobs.detach() - old) * mask
            gap += float(change.square().sum())
            off = max(off, float(change.abs().max()))
        return {
            "policy_loss": loss_p,
            "clipped": clipped / n_tokens,
            "approx_kl": 0.5 * gap / n_tokens,
            "ratio_off": off,
        }

    def value_gradients(self, batch: Episodes, targets: Targets, chosen: Tensor) -> float:
        """Add the gradients of the value loss of the episodes `chosen` [n], by microbatches. Return the loss."""
        c, device, t = self.config, self.ctx.device, targets
        assert self.value is not None
        assert t.values is not None
        assert t.returns is not None
        n_tokens, total = float(batch.mask[chosen].sum()), 0.0
        for piece in by_length(batch, chosen, c.microbatch):
            rows = batch.rows(piece)
            n = rows.mask.shape[1]
            now = response_values(self.value, rows, device)
            old, returns = t.values[piece, :n], t.returns[piece, :n]
            loss = value_loss(now, old, returns, rows.mask.to(device), clip=c.value_clip, count=n_tokens)
            loss.backward()
            total += float(loss.detach())
        return total

    def pretraining_gradient(self, ppo_norm: float) -> dict[str, float]:
        """Add γ times the gradient of the pretraining rows' next-token loss (appendix C.4). Return the loss metric."""
        c = self.config
        assert self.mixture is not None
        data = self.mixture.next(c.pretraining.ptx_rows).tensors(self.ctx.device)
        if c.pretraining.ptx_ratio and not self.ptx:
            self.ptx = self.balance(data, ppo_norm)
        count, mean = data[-1].sum(), 0.0
        for loss in self.pretraining_losses(data):
            (self.ptx * loss).backward()
            mean += float(loss.detach())
        return {"ptx_loss": mean if c.pretraining.ptx_unit == "mean" else mean * c.pretraining.ptx_rows / float(count)}

    def pretraining_losses(self, data: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """Yield a loss per microbatch of `data` (each [rows,T]). The losses add up to the mean over all tokens, or
        with ptx_unit "sum" to the mean over rows of a row's sum."""
        c = self.config
        count = data[-1].sum() if c.pretraining.ptx_unit == "mean" else c.pretraining.ptx_rows
        for at in range(0, c.pretraining.ptx_rows, c.microbatch):
            with autocast(self.ctx.device):
                loss = rows_loss(self.policy, [tensor[at : at + c.microbatch] for tensor in data]) / count
            yield loss

    def balance(self, data: tuple[Tensor, ...], ppo_norm: float) -> float:
        """Return the γ that makes the pretraining gradient's norm `ptx_ratio` times `ppo_norm`. data: each [rows,T]."""
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        sums = [torch.zeros_like(p) for p in trained]
        for loss in self.pretraining_losses(data):
            for total, part in zip(sums, torch.autograd.grad(loss, trained, allow_unused=True), strict=True):
                if part is not None:
                    total += part
        norm = float(torch.stack([g.float().pow(2).sum() for g in sums]).sum().sqrt())
        gamma = self.config.pretraining.ptx_ratio * ppo_norm / norm
        self.ctx.say(f"γ is {gamma:.3g}: at the first step PPO's gradient is {ppo_norm:.3g}, the text's {norm:.3g}")
        return gamma

    def check_start(self, batch: Episodes, sampled: Tensor) -> bool:
        """Assert that KL is 0 before the first step; any other value is a bug in this code. sampled: [B,T].

        Return whether the engine's log-probabilities agree with the training graph's to 1e-3 and can serve as the old
        log-probabilities.
        """
        graph = self.logprobs(self.policy, batch)
        with self.models.reference() as frozen:
            reference = self.logprobs(frozen, batch)
        off = float((graph - reference).abs().max())
        limit = 2e-2 if self.policy.embed.weight.dtype is torch.bfloat16 else 1e-3
        assert off <= limit, f"KL to the SFT model is not 0 at the start: log-probabilities differ by {off:.2g}"
        gap = float(((sampled - graph).abs() * batch.mask.to(self.ctx.device)).max())
        source = "the engine's are used" if gap <= 1e-3 else "the training graph's are used, with one more forward pass"
        self.ctx.say(
            f"{self.config.method.upper()} starts at KL 0 (off by {off:.1g});"
            f" old log-probabilities: {source} (gap {gap:.1g})"
        )
        return gap <= 1e-3
