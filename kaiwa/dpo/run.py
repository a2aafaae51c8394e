"""DPO: training of a policy on comparisons with its own implicit reward (Rafailov et al., 2023, equation 7).

    loss = - log sigmoid( r(x, chosen) - r(x, rejected) )        r(x, y) = β log π(y | x) / π_ref(y | x)

This is the ranking loss of the reward stage (`reward.loss`) with the policy's own r. π_ref is the policy before the
first step; its log-probabilities of all completions are computed once, so that only one model is in memory. Departure
from the paper: with more than two completions all pairs of a ranking count, and each prompt has the same weight.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaiwa.catalog.learning_rates import learning_rate
from kaiwa.catalog.trainable import open_trainable, restore, save_trained, trained_state
from kaiwa.core.artifact import Artifact, Plan, data_parent, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.dpo.config import DPOConfig
from kaiwa.dpo.likelihood import completion_logprobs, reference_logprobs
from kaiwa.dpo.loss import Likelihoods, preference_loss
from kaiwa.model.decoder import Decoder
from kaiwa.reward.comparisons import Ranked, batches, read_comparisons, split
from kaiwa.train import checkpoint
from kaiwa.train.best import BestWeights, evaluate_every
from kaiwa.train.optim import adamw, apply_gradients
from kaiwa.train.schedule import cosine, warmup_steps


@dataclasses.dataclass(frozen=True, slots=True)
class ReferencedPrompt:
    """A prompt's ranked completions with their log-probabilities under the reference [K]."""

    item: Ranked
    reference: Tensor


def run(
    config: DPOConfig,
    ctx: Context,
    *,
    policy: Artifact,
    comparisons: Path,
    out: Path,
    validation_file: Path | None = None,
    adapter: Path | None = None,
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Train `policy` on a JSONL of comparisons, and publish the model. validation_file: held-out comparisons."""
    parents = {"policy": policy, "comparisons": data_parent(comparisons)}
    if adapter is not None:
        parents["adapter"] = data_parent(adapter)
    if validation_file is not None:
        parents["validation"] = data_parent(validation_file)
    plan = Plan("dpo", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        trained = open_trainable(
            policy.path, ctx.seed, lora_rank=config.lora_rank, lora_alpha=config.lora_alpha, adapter=adapter
        )
        model, tokenizer = trained.decoder.to(ctx.device), trained.tokenizer
        room: dict[str, Any] = {"context": trained.decoder.config.max_length, "options": config.data}
        items = read_comparisons(comparisons, tokenizer, config.width, ctx.say, **room)
        if validation_file is None:
            training, validation, _ = split(items, config.validation_share, ctx.seed, ())
        else:
            training, validation = (
                items,
                read_comparisons(validation_file, tokenizer, config.width, ctx.say, least=1, **room),
            )
        by_item = _with_reference(model, training, tokenizer.pad_id, ctx, config.has_reference)
        held_out = _with_reference(model, validation, tokenizer.pad_id, ctx, config.has_reference)
        steps = [
            [by_item[id(item)] for item in batch]
            for batch in batches(training, config.prompts, config.epochs, ctx.seed)
        ]
        peak = config.lr or learning_rate("dpo", model.config.n_parameters, config.lora_rank > 0 or adapter is not None)
        n_warmup = warmup_steps(config.warmup, len(steps))
        optimizer = adamw([model], peak, (config.beta1, config.beta2), config.weight_decay)
        metrics = ctx.metrics(out.name)
        step = 0
        best = BestWeights(config.keep, config.patience)
        every = evaluate_every(config.evaluate_every, len(steps), best.watches)
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            step = saved["step"]
            best.restore(saved["best"])
            restore(model, saved["model"])
            optimizer.load_state_dict(saved["optimizer"])

        def state() -> dict[str, Any]:
            now = {"step": step, "best": best.state()}
            return now | {"model": trained_state(model), "optimizer": optimizer.state_dict()}

        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, state)
        measured: dict[str, float] = {}
        while step < len(steps) and not best.is_over:
            saver.at_step()
            started = time.monotonic()
            scalars = _backward(model, steps[step], config, tokenizer.pad_id, ctx.device)
            lr = peak * cosine(step, len(steps), n_warmup, config.floor)
            norm = apply_gradients(optimizer, lr, config.max_norm)
            speed = sum(len(one.item.row) for one in steps[step]) / (time.monotonic() - started)
            metrics.log(step, **scalars, lr=lr, grad_norm=norm, tokens_per_second=round(speed, 1))
            step += 1
            ctx.show(Progress(out.name, step, len(steps), f"loss {scalars['loss']:.3f}", speed))
            if held_out and (step % every == 0 or step == len(steps)):
                measured = held_out_figures(model, list(held_out.values()), config, tokenizer.pad_id, ctx.device)
                metrics.log(step, **measured)
                best.add(step, measured["held_out_loss"], model)
        if best.is_over:
            ctx.say(f"{out.name}: held-out loss lowest after step {best.step}; stopped at step {step}")
        best.put_back(model)
        save_trained(work.path, trained)
        write_chat_card(work.path, chat)
        work.metrics.update(prompts=len(training), steps=step, **scalars, **measured)
        if best.watches:
            work.metrics.update(best_step=best.step, held_out_loss=best.figure)
        work.metrics["trained_tokens"] = config.epochs * sum(len(item.row) for item in training)
    return open_artifact(out)


def _with_reference(
    model: Decoder, items: Sequence[Ranked], pad: int, ctx: Context, is_read: bool = True
) -> dict[int, ReferencedPrompt]:
    """Return id(item) -> the item with the reference's log-probabilities, zeros where the loss does not read them.

    Call before the first training step.
    """
    if is_read:
        references = reference_logprobs(model, [item.row for item in items], pad, ctx.device)
    else:
        references = [torch.zeros(len(item.ranks)) for item in items]
    return {id(item): ReferencedPrompt(item, logprobs) for item, logprobs in zip(items, references, strict=True)}


def _backward(
    model: Decoder, batch: Sequence[ReferencedPrompt], config: DPOConfig, pad: int, device: str
) -> dict[str, float | int]:
    """Add the gradient of a step's loss. Return the metrics to log."""
    logprobs, lengths = completion_logprobs(model, [one.item.row for one in batch], pad, device)
    ranks = [one.item.ranks for one in batch]
    of = Likelihoods(logprobs, torch.cat([one.reference for one in batch]).to(device), lengths)
    loss, rewards, n_pairs, n_right = preference_loss(of, ranks, config)
    total = loss
    best = torch.tensor([rank == min(group) for group in ranks for rank in group], device=device)
    if weight := config.sft_weight or float(config.loss == "orpo"):
        total = loss - weight * logprobs[best].sum() / lengths[best].sum()
    total.backward()
    plain = rewards.detach()
    return {
        "loss": float(loss.detach()),
        "accuracy": n_right / max(1, n_pairs),
        "reward_best": float(plain[best].mean()),
        "reward_others": float(plain[~best].mean()),
    }


@torch.no_grad()
def held_out_figures(
    model: Decoder, held_out: Sequence[ReferencedPrompt], config: DPOConfig, pad: int, device: str
) -> dict[str, float]:
    """Return the loss, and the share of held-out pairs that the policy's implicit reward orders correctly."""
    now = reference_logprobs(model, [one.item.row for one in held_out], pad, device)
    lengths = torch.tensor([len(c) for one in held_out for c in one.item.row.completions])
    of = Likelihoods(torch.cat(now), torch.cat([one.reference for one in held_out]), lengths)
    loss, _, n_pairs, n_right = preference_loss(of, [one.item.ranks for one in held_out], config)
    return {"held_out_loss": float(loss), "held_out_accuracy": n_right / max(1, n_pairs)}
