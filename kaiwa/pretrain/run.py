"""Pretraining: next-token prediction over packed rows that never attend across documents.

The optimizer is GPT-3's (Adam 0.9/0.95, gradient clipping at 1). Departures: after the warm-up the learning rate stays
flat and then falls linearly (training can be continued from the flat part); attention is masked between documents.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.rng import seed_for
from kaiwa.engine.probes import Probe, answer_probes, cloze_accuracy
from kaiwa.model.decoder import make_decoder
from kaiwa.model.formats.hf_folder import save_model
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.tokenizer.folder import copy_tokenizer, special_ids
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train import checkpoint
from kaiwa.train.likelihood import bits_per_byte, rows_loss
from kaiwa.train.optim import adamw, apply_gradients, autocast, compile_step
from kaiwa.train.schedule import flat_then_linear
from kaiwa.train.shards import Shards


def run(
    config: PretrainConfig,
    ctx: Context,
    *,
    tokens: Artifact,
    out: Path,
    probes: Sequence[Probe] = (),
    chat: Mapping[str, Any] | None = None,
) -> Artifact:
    """Train a decoder on the token shards of a tokenizer artifact, and publish the model.

    probes: prompts that the model answers at every evaluation. chat: the contents of the model's chat.json.
    """
    tokenizer = Tokenizer.load(tokens.path)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size))
    plan = Plan("base", config, {"tokens": tokens}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        shards = Shards(tokens.path)
        shares = dict(zip(config.sources, config.weights, strict=True))
        mixture = shards.mixture(config.width, ctx.seed, shares, config.in_order)
        held_out = {name: shards.held_out(name, config.width, config.evaluate_rows) for name in shards.sources}
        token_bytes = tokenizer.byte_lengths().tolist()
        model = make_decoder(config.model, seed_for(ctx.seed, "init")).to(ctx.device)
        optimizer = adamw([model], config.lr, (config.beta1, config.beta2), config.weight_decay)
        metrics = ctx.metrics(out.name)
        step, best = 0, {}
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            step = saved["step"]
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            mixture.restore(saved["mixture"])
            best = saved["held_out"]

        def state() -> dict[str, Any]:
            return {
                "step": step,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "mixture": mixture.state(),
                "held_out": best,
            }

        def loss_of(
            ids: Tensor, positions: Tensor, segments: Tensor, targets: Tensor, weights: Tensor
        ) -> tuple[Tensor]:
            return (rows_loss(model, (ids, positions, segments, targets, weights), everywhere=True),)

        loss_fn = compile_step(loss_of, config.compile, ctx.device, ctx.say)
        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, state)
        speed, started = 0.0, time.monotonic()
        while step < config.steps:
            saver.at_step()
            rows = mixture.next(config.rows)
            ids, positions, segments, targets, weights = rows.tensors(ctx.device)
            n = weights.sum()
            loss = 0.0
            for at in range(0, config.rows, config.microbatch):
                part = slice(at, at + config.microbatch)
                with autocast(ctx.device):
                    (total,) = loss_fn(ids[part], positions[part], segments[part], targets[part], weights[part])
                (total / n).backward()
                loss += float(total.detach()) / float(n)
            lr = config.lr * flat_then_linear(step, config.steps, config.warmup, config.decay_share, config.floor)
            norm = apply_gradients(optimizer, lr, config.max_norm)
            seconds, started = time.monotonic() - started, time.monotonic()
            speed = 0.9 * speed + 0.1 * ids.numel() / seconds if speed else ids.numel() / seconds
            metrics.log(step, loss=loss, lr=lr, grad_norm=norm, tokens_per_second=round(speed, 1))
            step += 1
            ctx.show(Progress(out.name, step, config.steps, f"loss {loss:.2f}", speed))
            if step % config.evaluate_every == 0 or step == config.steps:
                model.eval()
                best = {name: bits_per_byte(model, rows, token_bytes, ctx.device) for name, rows in held_out.items()}
                accuracy = cloze_accuracy(model, tokenizer, probes)
                metrics.log(step, **{f"bits_per_byte_{k}": v for k, v in best.items()}, cloze_accuracy=accuracy)
                samples = answer_probes(model, tokenizer, probes, step)
                checkpoint.append_samples(work.path / "samples.jsonl", samples, step)
                model.train()
                started = time.monotonic()
        save_model(work.path, model, special_ids(tokenizer), torch.float32)
        copy_tokenizer(tokens.path, work.path)
        write_chat_card(work.path, chat)
        work.metrics.update(
            parameters=config.model.n_parameters,
            tokens=config.steps * config.rows * config.width,
            loss=loss,
            tokens_per_second=round(speed, 1),
            **{f"bits_per_byte_{k}": v for k, v in best.items()},
            cloze_accuracy=accuracy,
        )
    return open_artifact(out)
