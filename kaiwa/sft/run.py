"""Supervised fine-tuning: next-token loss on the assistant's tokens, with some pretraining text mixed in.

The loss of a step is the mean over the demonstrations' weighted tokens plus `pretrain_weight` times the mean over the
pretraining tokens. The two gradients are accumulated one after the other, as InstructGPT does in RL; its PPO-init model
mixes in 10 % of pretraining data (appendix C.3). Training changes all weights, a LoRA adapter (`lora_rank`), or a soft
prompt (`soft_prompt`).
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kaiwa.catalog.learning_rates import Method, learning_rate
from kaiwa.catalog.trainable import open_trainable, restore, save_trained, trained_state
from kaiwa.core.artifact import Artifact, Plan, data_parent, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.rng import numpy_rng, seed_for
from kaiwa.engine.probes import Probe, answer_probes
from kaiwa.model.decoder import Decoder, residual_dropout
from kaiwa.sft.config import SFTConfig
from kaiwa.sft.demonstrations import Sequences, read_demonstrations, split
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train import checkpoint
from kaiwa.train.best import BestWeights, evaluate_every
from kaiwa.train.likelihood import rows_loss
from kaiwa.train.optim import adamw, apply_gradients, autocast
from kaiwa.train.rows import Rows, pack, packed_rows, within_context
from kaiwa.train.schedule import cosine, warmup_steps
from kaiwa.train.shards import Shards

LEAST_WIDTH, MOST_WIDTH = 256, 2048  # tokens of a row where no width is given
AT_ONCE = 2048  # tokens of a forward pass at most, where a row has fewer; does not change the gradient


@dataclasses.dataclass(frozen=True, slots=True)
class Epochs:
    """The order of the demonstrations in all epochs, a pure function of the seed."""

    data: Sequences
    config: SFTConfig
    seed: int
    pad: int

    @property
    def width(self) -> int:
        """Tokens of a row; the run has put a number in the place of None."""
        assert self.config.width is not None
        return self.config.width

    def bins(self, order: Sequence[int]) -> list[list[int]]:
        """Return the demonstrations of `order` packed into rows, each row a list of demonstration numbers."""
        packed = pack([self.data.ids[i] for i in order], self.width)
        return [[order[i] for i in row] for row in packed]

    def by_epoch(self) -> list[list[list[list[int]]]]:
        """Return epochs as lists of steps; a step is a list of rows, and a row a list of demonstration numbers."""
        epochs, batch = [], self.config.batch
        for epoch in range(self.config.epochs):
            order = numpy_rng(self.seed, "sft-epoch", epoch).permutation(len(self.data)).tolist()
            if batch:
                epochs.append([self.bins(order[i : i + batch]) for i in range(0, len(order), batch)])
            else:
                bins = self.bins(order)
                epochs.append([bins[i : i + self.config.rows] for i in range(0, len(bins), self.config.rows)])
        return epochs

    def rows(self, bins: Sequence[Sequence[int]]) -> Rows:
        """Return packed rows of the configured width, or with `batch` the width of the longest row."""
        width = self.width
        if self.config.batch:
            width = max(sum(len(self.data.ids[i]) for i in row) for row in bins)
        return packed_rows(self.data.ids, self.data.masks, bins, width, self.pad)


def run(
    config: SFTConfig,
    ctx: Context,
    *,
    base: Artifact,
    tokens: Artifact | None = None,
    demonstrations: Path,
    out: Path,
    validation_file: Path | None = None,
    adapter: Path | None = None,
    probes: Sequence[Probe] = (),
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Fine-tune `base` on a JSONL of demonstrations, and publish the model.

    tokens: pretraining text to mix in. validation_file: held-out demonstrations; if None, `validation_share` of the
    demonstrations is held out. adapter: a low-rank change of `base` that is trained further.
    """
    stage = out.name
    n_pretrain = config.pretrain_rows if config.pretrain_rows is not None else 0 if tokens is None else 2
    if n_pretrain and tokens is None:
        raise UserError("sft.pretrain_rows needs pretraining text: give tokens (--tokens), or set pretrain_rows to 0")
    parents = {"base": base, "demonstrations": data_parent(demonstrations)}
    if tokens is not None:
        parents["tokens"] = tokens
    if adapter is not None:
        parents["adapter"] = data_parent(adapter)
    if validation_file is not None:
        parents["validation"] = data_parent(validation_file)
    if adapter is not None and (config.every_epoch or config.soft_prompt):
        raise UserError("an adapter is trained further by itself; leave sft.every_epoch and soft_prompt off")
    plan = Plan("sft", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        trained = open_trainable(
            base.path,
            ctx.seed,
            lora_rank=config.lora_rank,
            lora_alpha=config.lora_alpha,
            soft_prompt=config.soft_prompt,
            adapter=adapter,
        )
        model, tokenizer = trained.decoder.to(ctx.device), trained.tokenizer
        context = model.config.max_length
        width = within_context(config.width or min(MOST_WIDTH, context), context, "sft.width", ctx.say)
        files = (demonstrations, validation_file)
        training, validation = _demonstrations(config, ctx, files, tokenizer, width)
        if config.width is None:  # rows of the longest demonstration
            width = min(width, max(LEAST_WIDTH, *map(len, training.ids), *map(len, validation.ids)))
        config = dataclasses.replace(config, width=width)
        epochs = Epochs(training, config, ctx.seed, tokenizer.pad_id)
        by_epoch = epochs.by_epoch()
        schedule = [step for steps in by_epoch for step in steps]
        ends = list(itertools.accumulate(map(len, by_epoch)))
        mixture = None
        if tokens is not None and n_pretrain:
            mixture = Shards.of_model(tokens.path, tokenizer, base.path).mixture(width, ctx.seed + 1)
        method: Method = "soft prompt" if config.soft_prompt else "sft"
        peak = config.lr or learning_rate(
            method, model.config.n_parameters, config.lora_rank > 0 or adapter is not None
        )
        n_warmup = warmup_steps(config.warmup, len(schedule))
        optimizer = adamw([model], peak, (config.beta1, config.beta2), config.weight_decay)
        metrics = ctx.metrics(stage)
        step, held_out = 0, float("nan")
        best = BestWeights(config.keep, config.patience)
        every = evaluate_every(config.evaluate_every, len(schedule), best.watches)
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            step, held_out = saved["step"], saved["held_out"]
            best.restore(saved["best"])
            restore(model, saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            if mixture is not None:
                mixture.restore(saved["mixture"])

        def state() -> dict[str, Any]:
            return {
                "step": step,
                "model": trained_state(model),
                "optimizer": optimizer.state_dict(),
                "mixture": mixture.state() if mixture is not None else [],
                "held_out": held_out,
                "best": best.state(),
            }

        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, state)
        while step < len(schedule) and not best.is_over:
            saver.at_step()
            started = time.monotonic()
            read = epochs.rows(schedule[step])
            with residual_dropout(model, config.dropout, seed_for(ctx.seed, "dropout", step)):
                loss = _backward(model, read, 1.0, ctx.device, min(config.rows, max(1, AT_ONCE // width)))
            scalars = {"loss": loss}
            if mixture is not None:
                rows = mixture.next(n_pretrain)
                scalars["pretrain_loss"] = _backward(model, rows, config.pretrain_weight, ctx.device)
            lr = peak * cosine(step, len(schedule), n_warmup, config.floor)
            norm = apply_gradients(optimizer, lr, config.max_norm)
            n_read = read.ids.size + (n_pretrain * width if mixture is not None else 0)
            speed = n_read / (time.monotonic() - started)
            metrics.log(step, **scalars, lr=lr, grad_norm=norm, tokens_per_second=round(speed, 1))
            step += 1
            ctx.show(Progress(stage, step, len(schedule), f"loss {loss:.2f}", speed))
            if step % every == 0 or step == len(schedule):
                held_out = validation_loss(model, validation, width, tokenizer.pad_id, ctx.device)
                metrics.log(step, held_out_loss=held_out)
                best.add(step, held_out, model)
                samples = answer_probes(model, tokenizer, probes, step)
                checkpoint.append_samples(work.path / "samples.jsonl", samples, step)
            if config.every_epoch and step in ends:
                save_trained(work.path / "epochs" / str(ends.index(step) + 1), trained)
        if best.is_over:
            ctx.say(f"{stage}: held-out loss lowest after step {best.step} ({best.figure:.3f}); stopped at step {step}")
        best.put_back(model)
        probe = torch.from_numpy(epochs.rows(schedule[0][:1]).ids.astype(np.int64)).to(ctx.device)
        save_trained(work.path, trained, probe)
        write_chat_card(work.path, chat)
        lowest = best.figure if best.weights else held_out
        work.metrics.update(demonstrations=len(training), steps=step, loss=loss, held_out_loss=lowest)
        if best.watches:
            work.metrics["best_step"] = best.step
        work.metrics["trained_tokens"] = config.epochs * sum(map(len, training.ids))
    return open_artifact(out)


def _demonstrations(
    config: SFTConfig, ctx: Context, files: tuple[Path, Path | None], tokenizer: Tokenizer, width: int
) -> tuple[Sequences, Sequences]:
    """Return training and validation demonstrations of at most `width` tokens; files: training, validation or None."""
    file, validation_file = files

    def read(path: Path, least: int) -> Sequences:
        weight = config.language_model_weight
        return read_demonstrations(
            path, tokenizer, width, user_weight=weight, say=ctx.say, least=least, options=config.data
        )

    if validation_file is None:
        return split(read(file, 2), config.validation_share, ctx.seed)
    return read(file, 1), read(validation_file, 1)


def _backward(model: Decoder, rows: Rows, weight: float, device: str, at_once: int = 0) -> float:
    """Add the gradient of weight * mean loss, computed `at_once` rows at a time (0: all). Return the loss."""
    whole = rows.tensors(device)
    n, count, mean = len(rows.ids), whole[-1].sum(), 0.0
    step = at_once or n
    for start in range(0, n, step):
        with autocast(device):
            total = rows_loss(model, [tensor[start : start + step] for tensor in whole])
        part = total / count
        (weight * part).backward()
        mean += float(part.detach())
    return mean


@torch.no_grad()
def validation_loss(model: Decoder, data: Sequences, width: int, pad: int, device: str) -> float:
    """Return the mean loss per weighted token over held-out demonstrations; NaN without any."""
    if not len(data):
        return float("nan")
    bins = pack(data.ids, width)
    losses, counts = [], []
    n_rows = min(8, max(1, AT_ONCE // width))
    for at in range(0, len(bins), n_rows):
        batch = packed_rows(data.ids, data.masks, bins[at : at + n_rows], width, pad).tensors(device)
        with autocast(device):
            losses.append(float(rows_loss(model, batch)))
        counts.append(float(batch[-1].sum()))
    return float(np.sum(losses) / max(1.0, np.sum(counts)))
