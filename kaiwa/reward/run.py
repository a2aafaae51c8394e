"""Reward modelling: the SFT model with a scalar head, trained on all pairs of each prompt's ranking.

Departure from InstructGPT (6B for every policy, learning rate 9e-6, 64 prompts per batch): the configuration sets these
numbers. After training, a bias is stored that gives demonstrations a mean score of 0 (appendix C.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kaiwa.catalog.learning_rates import learning_rate
from kaiwa.catalog.trainable import open_trainable, restore, trained_state
from kaiwa.core.artifact import Artifact, Plan, data_parent, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.rng import seed_for
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.model.heads import ScalarModel, initialise_score
from kaiwa.model.lora import merge_lora
from kaiwa.reward.card import card
from kaiwa.reward.comparisons import Ranked, batches, read_comparisons, split
from kaiwa.reward.config import RewardConfig
from kaiwa.reward.loss import pairwise_loss
from kaiwa.reward.packing import PackedPrompts, PromptRow, best_tokens, pack_prompts, packed_states
from kaiwa.text import data
from kaiwa.text.records import Comparison
from kaiwa.text.template import render_completions
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train import checkpoint
from kaiwa.train.optim import adamw, apply_gradients, autocast
from kaiwa.train.schedule import cosine, warmup_steps

Gold = Callable[[Comparison], Sequence[float]]


def run(
    config: RewardConfig,
    ctx: Context,
    *,
    policy: Artifact,
    comparisons: Path,
    out: Path,
    demonstrations: Path | None = None,
    validation_file: Path | None = None,
    gold: Gold | None = None,
) -> Artifact:
    """Train a reward model from `policy` (of any size) on comparisons, and publish the model.

    validation_file: held-out comparisons; if None, a share of the others. demonstrations: whose mean score becomes 0.
    gold: noise-free utilities of a comparison's completions, if known, for the card's ceiling (without a
    validation_file: a record's number says which file it is of).
    """
    assert gold is None or validation_file is None
    parents = {"policy": policy, "comparisons": data_parent(comparisons)}
    if demonstrations is not None:
        parents["demonstrations"] = data_parent(demonstrations)
    if validation_file is not None:
        parents["validation"] = data_parent(validation_file)
    plan = Plan("reward", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        trained = open_trainable(policy.path, ctx.seed, lora_rank=config.lora_rank, lora_alpha=config.lora_alpha)
        tokenizer, context = trained.tokenizer, trained.decoder.config.max_length
        room: dict[str, Any] = {"context": context, "options": config.data}
        items = read_comparisons(comparisons, tokenizer, config.width, ctx.say, **room)
        share = config.validation_share if validation_file is None else 0.0
        training, validation, outside = split(items, share, ctx.seed, config.held_out_labellers)
        if validation_file is not None:
            validation = read_comparisons(validation_file, tokenizer, config.width, ctx.say, least=1, **room)
        if not training:
            raise UserError(f"{comparisons}: all comparisons are held out; name fewer reward.held_out_labellers")
        model = ScalarModel(trained.decoder)
        initialise_score(model, torch.Generator().manual_seed(seed_for(ctx.seed, "score")))
        model = model.to(ctx.device)
        peak = config.lr or learning_rate("reward", model.decoder.config.n_parameters, config.lora_rank > 0)
        optimizer = adamw([model], peak, (config.beta1, config.beta2), config.weight_decay)
        steps = batches(training, config.prompts, config.epochs, ctx.seed)
        n_steps = len(steps)
        n_warmup = warmup_steps(config.warmup, n_steps)
        metrics = ctx.metrics(out.name)
        step = 0
        epochs: list[dict[str, float]] = []
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            step, epochs = saved["step"], saved["epochs"]
            restore(model, saved["model"])
            optimizer.load_state_dict(saved["optimizer"])

        def state() -> dict[str, Any]:
            now = {"step": step, "epochs": epochs}
            return now | {"model": trained_state(model), "optimizer": optimizer.state_dict()}

        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, state)
        while step < n_steps:
            saver.at_step()
            started = time.monotonic()
            batch = steps[step]
            packed = pack_prompts([item.row for item in batch], tokenizer.pad_id, ctx.device)
            ranks, weight = [item.ranks for item in batch], config.language_model_weight
            with autocast(ctx.device):
                read = best_tokens([item.row for item in batch], ranks).to(ctx.device) if weight else None
                scores, states = score_packed(model, packed, read[:, :2] if read is not None else None)
                loss, n_pairs, n_right = pairwise_loss(scores, ranks)
                total = loss
                if read is not None:  # preserves the model's knowledge while the head learns
                    targets = packed.ids[read[:, 0], read[:, 2]]
                    total = loss + weight * F.cross_entropy(model.decoder.logits(states).float(), targets)
            total.backward()
            lr = peak * cosine(step, n_steps, n_warmup, config.floor)
            norm = apply_gradients(optimizer, lr, config.max_norm)
            speed = packed.ids.numel() / (time.monotonic() - started)
            scalars = {"loss": float(loss.detach()), "accuracy": n_right / max(1, n_pairs), "lr": lr, "grad_norm": norm}
            metrics.log(step, **scalars, score_std=float(scores.detach().std()), tokens_per_second=round(speed, 1))
            step += 1
            ctx.show(Progress(out.name, step, n_steps, f"loss {scalars['loss']:.3f}", speed))
            if validation and (step % config.evaluate_every == 0 or step == n_steps):
                metrics.log(step, held_out_accuracy=accuracy(model, validation, tokenizer.pad_id, ctx.device)[0])
            if validation and step % (n_steps // config.epochs) == 0:
                epochs.append(after_epoch(model, training, validation, tokenizer.pad_id, ctx.device))
                metrics.log(step, epoch=len(epochs), **epochs[-1])
        if demonstrations is not None:
            set_zero(model, demonstrations, tokenizer, ctx.device, ctx.say)
        held_out = [*validation, *outside]
        held_out_scores = _by_prompt(model, held_out, tokenizer.pad_id, ctx.device)
        inside_accuracy, n_inside = right_pairs(validation, held_out_scores[: len(validation)])
        outside_accuracy, n_outside = right_pairs(outside, held_out_scores[len(validation) :])
        utilities = (
            gold_of(comparisons, {item.number for item in held_out}, gold, config.data) if gold is not None else None
        )
        work.metrics["card"] = card(held_out, held_out_scores, config.held_out_labellers, epochs, utilities)
        merge_lora(model.decoder)
        save_model(work.path, model, special_ids(tokenizer), torch.float32)
        copy_tokenizer(policy.path, work.path)
        work.metrics.update(
            prompts=len(training),
            held_out_accuracy=inside_accuracy,
            held_out_pairs=n_inside,
            held_out_labellers_accuracy=outside_accuracy,
            held_out_labellers_pairs=n_outside,
            bias=float(model.bias),
        )
    return open_artifact(out)


def after_epoch(
    model: ScalarModel, training: Sequence[Ranked], validation: Sequence[Ranked], pad: int, device: str
) -> dict[str, float]:
    """Return loss and accuracy on held-out prompts and on equally many training prompts; a gap means over-fitting."""
    row: dict[str, float] = {}
    for name, items in (("training", training[: len(validation)]), ("validation", validation)):
        scores = score_rows(model, [item.row for item in items], pad, device)
        loss, n_pairs, n_right = pairwise_loss(scores, [item.ranks for item in items])
        row |= {f"epoch_{name}_loss": float(loss), f"epoch_{name}_accuracy": n_right / max(1, n_pairs)}
    return row


def gold_of(
    file: Path, numbers: set[int], gold: Gold, options: data.DataOptions = data.PLAIN
) -> dict[int, Sequence[float]]:
    """Return record number -> utilities of the record's completions, for the given record numbers of a file."""
    return {n: gold(record) for n, record in data.read_comparisons(file, lambda line: None, options) if n in numbers}


def _by_prompt(model: ScalarModel, items: Sequence[Ranked], pad: int, device: str) -> list[list[float]]:
    flat = iter(score_rows(model, [item.row for item in items], pad, device).tolist())
    return [[next(flat) for _ in item.ranks] for item in items]


def score_packed(model: ScalarModel, packed: PackedPrompts, also: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return scores [M] at the completions' ends, and hidden states [N,D] at `also` [N,2] (row and column)."""
    n = len(packed.ends)
    where = packed.ends if also is None else torch.cat([packed.ends, also])
    states = packed_states(model.decoder, packed, where)
    return model.score(states[:n]).squeeze(-1).float() + model.bias, states[n:]


@torch.no_grad()
def score_rows(model: ScalarModel, rows: Sequence[PromptRow], pad: int, device: str, batch: int = 32) -> Tensor:
    """Return the scores [M] of all completions of all rows, in order; rows of similar length are computed together."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores: dict[int, Tensor] = {}
    for at in range(0, len(rows), batch):
        part = order[at : at + batch]
        packed = pack_prompts([rows[i] for i in part], pad, device)
        with autocast(device):
            part_scores = score_packed(model, packed)[0]
        scores.update(zip(part, part_scores.split([len(rows[i].completions) for i in part]), strict=True))
    return torch.cat([scores[i] for i in range(len(rows))]) if rows else torch.zeros(0)


def accuracy(model: ScalarModel, items: Sequence[Ranked], pad: int, device: str) -> tuple[float, int]:
    """Return the share of pairs that the model orders correctly, and the number of pairs (NaN and 0 without items)."""
    return right_pairs(items, _by_prompt(model, items, pad, device))


def right_pairs(items: Sequence[Ranked], scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the share of pairs that the scores order correctly, and the number of pairs (NaN and 0 without items)."""
    if not items:
        return float("nan"), 0
    _, n_pairs, n_right = pairwise_loss(torch.tensor([s for row in scores for s in row]), [i.ranks for i in items])
    return n_right / max(1, n_pairs), n_pairs


def set_zero(
    model: ScalarModel, file: Path, tokenizer: Tokenizer, device: str, say: Callable[[str], None], *, most: int = 500
) -> None:
    """Set the bias that gives demonstrations a mean score of 0."""
    rows = []
    for _, example in data.read_demonstrations(file, say):
        if not example.messages or example.messages[-1].role != "assistant":
            continue
        answer, ended = example.messages[-1].content, example.meta.get("ended") is not False
        rows.append(PromptRow(*render_completions(tokenizer, example.messages[:-1], [answer], [ended])))
        if len(rows) == most:
            break
    if not rows:
        raise UserError(f"{file}: no demonstration in it; the mean score is set to 0 on demonstrations")
    with torch.no_grad():
        model.bias -= score_rows(model, rows, tokenizer.pad_id, device).mean()
