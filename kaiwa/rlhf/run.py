"""PPO-ptx: maximise  E[ r(x, y) - β log(π_RL(y|x) / π_SFT(y|x)) ] + γ E_pretrain[ log π_RL(x) ]  (equation 2).

One update: sample a batch of responses, score them, give each token its reward (KL penalty on all, score on the
last), estimate advantages, then one clipped step a minibatch on policy and value. With ptx the gradient of the
pretraining term is computed after PPO's and accumulated in the same buffers (appendix C.4); its unit here is the mean
over the tokens of the rows.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.artifact import Artifact, Plan, fingerprint, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, seed_for
from kaiwa.engine.engine import Engine
from kaiwa.engine.probes import Probe, answer_probes
from kaiwa.model.folder import load_decoder, load_scalar, save_model
from kaiwa.rlhf.advantage import end_scores, explained_variance, gae, kl_k3, token_rewards, whiten
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.loss import policy_loss, value_loss
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
from kaiwa.text.records import conversation, read_jsonl
from kaiwa.text.template import render
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train import checkpoint
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.optim import adamw, apply_gradients, autocast, gradient_norm
from kaiwa.train.schedule import warmup
from kaiwa.train.shards import Shards


def run(
    config: RLHFConfig,
    ctx: Context,
    *,
    policy: Artifact,
    reward: Artifact,
    tokens: Artifact,
    prompts: Path,
    out: Path,
    probes: Sequence[Probe] = (),
    chat: Mapping[str, Any] | None = None,
    score: Score | None = None,
) -> Artifact:
    """Trains `policy` against `reward`. `score`, if given, replaces the reward model's scores (the value model still
    starts from it). `prompts` is a JSONL of {"messages"}."""
    stage = out.name
    parents = {"policy": policy, "reward": reward, "tokens": tokens, "prompts": fingerprint(prompts)}
    plan = Plan("rlhf", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        loop = Loop(config, ctx, policy, reward, tokens, prompts, score)
        metrics = ctx.metrics(stage)
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            loop.restore(saved)
        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, loop.state)
        last: dict[str, float] = {}
        while loop.update < config.updates:
            saver.at_step()
            started = time.monotonic()
            last = loop.step()
            speed = last["response_tokens"] / (time.monotonic() - started)
            metrics.log(loop.update - 1, **last, tokens_per_second=round(speed, 1))
            text = f"score {last['score']:.2f} kl {last['kl']:.2f}"
            ctx.show(Progress(stage, loop.update, config.updates, text, speed))
            if loop.update % config.evaluate_every == 0 or loop.update == config.updates:
                samples = answer_probes(loop.policy, loop.tokenizer, probes, loop.update)
                checkpoint.append_samples(work.path / "samples.jsonl", samples, loop.update)
        save_model(work.path, loop.published(), special_ids(loop.tokenizer), torch.float32)
        copy_tokenizer(policy.path, work.path)
        write_chat_card(work.path, chat)
        work.metrics.update(last)
    return open_artifact(out)


class Loop:
    """The state of PPO and one update of it."""

    def __init__(
        self,
        config: RLHFConfig,
        ctx: Context,
        policy: Artifact,
        reward: Artifact,
        tokens: Artifact,
        prompts: Path,
        score: Score | None,
    ) -> None:
        self.config, self.ctx = config, ctx
        self.tokenizer = Tokenizer.load(policy.path)
        asked = [conversation(row["messages"]) for row in read_jsonl(prompts)]
        self.prompts = [render(self.tokenizer, messages, add_generation_prompt=True).ids for messages in asked]
        if not self.prompts:
            raise UserError(f'{prompts}: no prompt in it; give a JSONL file of {{"messages"}}')
        self.policy = load_decoder(policy.path).to(ctx.device)
        self.reference = load_decoder(policy.path).to(ctx.device).requires_grad_(False)
        self.reward = load_scalar(reward.path).to(ctx.device).requires_grad_(False)
        self.value = load_scalar(reward.path).to(ctx.device)
        self.average = copy.deepcopy(self.policy).requires_grad_(False) if config.ema else None
        self.optimizer = adamw([self.policy], config.lr, (0.9, 0.95), 0.0)
        self.value_optimizer = adamw([self.value], config.value_lr, (0.9, 0.95), 0.0)
        self.engine = Engine(self.policy, self.tokenizer)
        self.mixture = Shards(tokens.path).mixture(config.ptx_width, ctx.seed + 2) if config.ptx_coefficient else None
        self.score = score
        self.update = 0
        self.from_engine = False  # whether old log-probabilities are the engine's (decided at the start)

    def state(self) -> dict[str, Any]:
        return {
            "update": self.update,
            "from_engine": self.from_engine,
            "policy": self.policy.state_dict(),
            "value": self.value.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
            "mixture": self.mixture.state() if self.mixture is not None else [],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.update, self.from_engine = saved["update"], saved["from_engine"]
        self.policy.load_state_dict(saved["policy"])
        self.value.load_state_dict(saved["value"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.value_optimizer.load_state_dict(saved["value_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        if self.mixture is not None:
            self.mixture.restore(saved["mixture"])

    def published(self) -> Any:
        return self.average if self.average is not None else self.policy

    def next_prompts(self) -> list[list[int]]:
        """The batch of this update: the prompts in a new order each pass over them (a function of the update)."""
        chosen = []
        for i in range(self.update * self.config.batch, (self.update + 1) * self.config.batch):
            epoch, at = divmod(i, len(self.prompts))
            order = numpy_rng(self.ctx.seed, "rlhf-prompts", epoch).permutation(len(self.prompts))
            chosen.append(self.prompts[order[at]])
        return chosen

    def step(self) -> dict[str, float]:
        """One update; returns its metrics."""
        c, device, size = self.config, self.ctx.device, self.config.microbatch
        seed = seed_for(self.ctx.seed, "rollout", self.update)
        batch = sample(self.engine, self.next_prompts(), c.max_tokens, c.temperature, seed, self.tokenizer.eos_id)
        with torch.no_grad():
            old = sampled_logprobs(batch, device)
            if self.update == 0:
                self.from_engine = self.check_start(batch, old)
            if not self.from_engine:
                old = measure(batch, size, lambda part: response_logprobs(self.policy, part, c.temperature, device))
            reference = measure(
                batch, size, lambda part: response_logprobs(self.reference, part, c.temperature, device)
            )
            values = measure(batch, size, lambda part: response_values(self.value, part, device))
            mask = batch.mask.to(device)
            if self.score is not None:
                scores = self.score(batch.prompts, batch.responses).to(device)
            else:
                scores = measure(batch, size, lambda part: reward_model_scores(self.reward, part, device))
            rewarded = end_scores(scores, batch.ended.to(device), c.missing_end_penalty)
            rewards = token_rewards(rewarded, old, reference, mask, c.kl_coefficient)
            advantages, returns = gae(rewards, values, mask, c.gamma, c.lam)
            if c.whiten:
                advantages = whiten(advantages, mask)
        parts = self.optimise(batch, old, values, advantages, returns)
        self.update += 1
        lengths = mask.sum(dim=1)
        return parts | {
            "score": float(scores.mean()),
            "reward": float(rewards.sum(dim=1).mean()),
            "kl": float(((old - reference) * mask).sum(dim=1).mean()),
            "kl_k3": float((kl_k3(old, reference) * mask).sum(dim=1).mean()),
            "entropy": float(-(old * mask).sum() / mask.sum()),
            "ended": float(batch.ended.float().mean()),
            "length": float(lengths.mean()),
            "response_tokens": float(mask.sum()),
            "explained_variance": explained_variance(values, returns, mask),
            "distinct": len({r.ids for r in batch.responses}) / len(batch.responses),
        }

    def optimise(
        self, batch: Episodes, old: Tensor, values: Tensor, advantages: Tensor, returns: Tensor
    ) -> dict[str, float]:
        """The minibatch steps of one update; the mean of their metrics."""
        c, device = self.config, self.ctx.device
        rate = min(1.0, 0.1 + 0.9 * warmup(self.update, c.warmup)) if self.update < c.warmup else 1.0
        size = c.batch // c.minibatches
        collected: dict[str, list[float]] = {}
        for epoch in range(c.epochs):
            order = numpy_rng(self.ctx.seed, "minibatches", self.update, epoch).permutation(c.batch)
            for at in range(0, c.batch, size):
                chosen = torch.from_numpy(order[at : at + size].copy())
                n_tokens = float(batch.mask[chosen].sum())
                clipped = loss_p = loss_v = gap = 0.0
                for piece in by_length(batch, chosen, c.microbatch):
                    rows = batch.rows(piece)
                    n = rows.mask.shape[1]
                    mask = rows.mask.to(device)
                    logprobs = response_logprobs(self.policy, rows, c.temperature, device)
                    part_p, part_c = policy_loss(
                        logprobs, old[piece, :n], advantages[piece, :n], mask, c.clip, n_tokens
                    )
                    part_p.backward()
                    now = response_values(self.value, rows, device)
                    part_v = value_loss(now, values[piece, :n], returns[piece, :n], mask, c.value_clip, n_tokens)
                    part_v.backward()
                    loss_p, loss_v = loss_p + float(part_p.detach()), loss_v + float(part_v.detach())
                    clipped += float(part_c)
                    gap += float(((logprobs.detach() - old[piece, :n]) * mask).square().sum())
                row = {
                    "policy_loss": loss_p,
                    "value_loss": loss_v,
                    "clipped": clipped / n_tokens,
                    "approx_kl": 0.5 * gap / n_tokens,
                    "ppo_grad_norm": gradient_norm(self.policy.parameters()),
                }
                if self.mixture is not None:
                    row |= self.pretraining_gradient()
                row["grad_norm"] = apply_gradients(self.optimizer, c.lr * rate, c.max_norm)
                apply_gradients(self.value_optimizer, c.value_lr * rate, c.max_norm)
                if self.average is not None:
                    for mean, new in zip(self.average.parameters(), self.policy.parameters(), strict=True):
                        mean.lerp_(new.detach(), 1 - c.ema)
                for name, value in row.items():
                    collected.setdefault(name, []).append(value)
        return {name: sum(found) / len(found) for name, found in collected.items()}

    def pretraining_gradient(self) -> dict[str, float]:
        """Adds γ times the gradient of the mean next-token loss of some pretraining rows."""
        assert self.mixture is not None
        data = self.mixture.next(self.config.ptx_rows).tensors(self.ctx.device)
        with autocast(self.ctx.device):
            loss = rows_loss(self.policy, *data) / data[-1].sum()
        (self.config.ptx_coefficient * loss).backward()
        return {"ptx_loss": float(loss.detach())}

    def check_start(self, batch: Episodes, sampled: Tensor) -> bool:
        """Before the first step KL is 0 and every ratio 1; anything else is a bug here, not bad luck.

        Returns whether the engine's log-probabilities agree with the training graph's to 1e-3, so that they may serve
        as the old ones.
        """
        c, device = self.config, self.ctx.device
        graph, reference = (
            measure(batch, c.microbatch, lambda part, m=model: response_logprobs(m, part, c.temperature, device))  # type: ignore[misc]
            for model in (self.policy, self.reference)
        )
        off = float((graph - reference).abs().max())
        limit = 2e-2 if self.policy.embed.weight.dtype is torch.bfloat16 else 1e-3
        assert off <= limit, f"KL to the SFT model is not 0 at the start: log-probabilities differ by {off:.2g}"
        gap = float(((sampled - graph).abs() * batch.mask.to(device)).max())
        whose = "the engine's are used" if gap <= 1e-3 else "the training graph's are used, a forward pass more"
        self.ctx.say(f"PPO starts at KL 0 (off by {off:.1g}); old log-probabilities: {whose} (gap {gap:.1g})")
        return gap <= 1e-3
