"""Best of N: sample N replies to each prompt, keep the highest-scored (Stiennon et al., 2020, section 4).

Best of N needs no training and is the baseline for the trained policies. The KL from the policy is at most
log N - (N - 1) / N nats, whatever the reward model. The stage publishes demonstrations ({"messages"}); fine-tuning on
them with `sft` is rejection sampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kaiwa.catalog.trainable import open_base
from kaiwa.core.artifact import Artifact, Plan, data_parent, finished, open_artifact, publish
from kaiwa.core.context import Context, Progress
from kaiwa.core.rng import seed_for
from kaiwa.engine.engine import Engine
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.model.heads import ScalarModel
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.prompts import read_prompts
from kaiwa.rlhf.rollout import episodes, measure, reward_model_scores
from kaiwa.text.records import Completion, Message, write_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.folder import same_tokens
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train import checkpoint


def kl_bound(n: int) -> float:
    """Return log N - (N - 1) / N, the upper bound of the KL of best of N in nats."""
    return math.log(n) - (n - 1) / n


def choose(scores: torch.Tensor, n: int) -> list[int]:
    """Return the index of the highest score (the first of equal ones) of every n consecutive scores.

    scores: [P * n]; the result has P indices.
    """
    best = scores.view(-1, n).argmax(dim=1)
    return (best + torch.arange(len(best)) * n).tolist()


@torch.no_grad()
def best_of_n(
    engine: Engine,
    judge: ScalarModel,
    prompts: Sequence[Sequence[int]],
    config: BestOfConfig,
    *,
    seed: int,
    eos: int,
    stop_ids: Sequence[int] = (),
    device: str,
) -> tuple[list[Completion], list[float], float]:
    """Return the best reply to each prompt, its score, and the mean score of all n replies.

    eos: the end of turn; stop_ids: further tokens at which a reply ends.
    """
    repeated = [prompt for prompt in prompts for _ in range(config.n)]
    replies = engine.generate(
        repeated,
        Sampling(max_tokens=config.max_tokens, temperature=config.temperature, seed=seed),
        stop_ids=(eos, *stop_ids),
    )
    batch = episodes(repeated, replies, eos)
    scores = measure(batch, config.microbatch, lambda part: reward_model_scores(judge, part, device)).cpu()
    ended = torch.where(batch.ended, scores, scores.clamp(max=0.0) - 1.0)  # PPO's end rule
    chosen = choose(ended, config.n)
    return [replies[i] for i in chosen], [float(scores[i]) for i in chosen], float(scores.mean())


def run(
    config: BestOfConfig, ctx: Context, *, policy: Artifact, reward: Artifact, prompts: Path, out: Path
) -> Artifact:
    """Publish demonstrations.jsonl: each prompt of a JSONL of {"messages"} with its best reply."""
    parents = {"policy": policy, "reward": reward, "prompts": data_parent(prompts)}
    plan = Plan("best-of", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        decoder, tokenizer = open_base(policy.path)
        same_tokens(tokenizer, Tokenizer.load(reward.path), policy.path, reward.path)
        engine, judge = Engine(decoder.to(ctx.device), tokenizer), load_scalar(reward.path).to(ctx.device)
        context = min(decoder.config.max_length, judge.decoder.config.max_length)
        rendered = read_prompts(prompts, tokenizer, context - config.max_tokens, ctx.say, config.data)
        metrics = ctx.metrics(out.name)
        records: list[dict[str, Any]] = []
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            records = saved["records"]
        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, lambda: {"records": records})
        while len(records) < len(rendered):
            saver.at_step()
            at = len(records)
            part = rendered[at : at + config.block]
            seed = seed_for(ctx.seed, "best-of", at)
            ids = [prompt for prompt, _ in part]
            best, scores, mean = best_of_n(
                engine,
                judge,
                ids,
                config,
                seed=seed,
                eos=tokenizer.end_id,
                stop_ids=tokenizer.stop_ids,
                device=ctx.device,
            )
            for (_, messages), reply, score in zip(part, best, scores, strict=True):
                turns = [m.to_json() for m in (*messages, Message("assistant", reply.text))]
                records.append({"messages": turns, "meta": {"score": score, "ended": reply.finish_reason == "stop"}})
            means = {"score": sum(scores) / len(scores), "score_of_all": mean}
            metrics.log(at, **means)
            ctx.show(Progress(out.name, len(records), len(rendered), f"score {means['score']:.2f} of {mean:.2f}"))
        write_jsonl(work.path / "demonstrations.jsonl", records)
        work.metrics.update(prompts=len(records), kl_at_most=kl_bound(config.n))
        work.metrics["score"] = sum(r["meta"]["score"] for r in records) / len(records)
    return open_artifact(out)
