"""PPO-ptx: maximise  E[ r(x, y) - β log(π_RL(y|x) / π_SFT(y|x)) ] + γ E_pretrain[ log π_RL(x) ]  (equation 2).

One update samples a batch of responses, scores them, gives each token its reward (a KL penalty on every token, the
score on the last), estimates advantages, and takes one clipped step per minibatch on policy and value. With ptx the
gradient of the pretraining term is computed after PPO's and accumulated in the same buffers (appendix C.4); its loss is
the mean over the tokens of the rows. `method` selects RLOO or GRPO instead of PPO (`loop.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.catalog.trainable import save_trained
from kaiwa.core.artifact import Artifact, Plan, data_parent, fingerprint, finished, open_artifact, publish
from kaiwa.core.chat_card import write_chat_card
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.engine.probes import Probe, answer_probes
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.detectors import Watch, warning_text
from kaiwa.rlhf.loop import Loop
from kaiwa.rlhf.memory import memory_table
from kaiwa.rlhf.models import open_models
from kaiwa.rlhf.prompts import prompts_that_fit
from kaiwa.rlhf.rollout import Score
from kaiwa.rlhf.score import function_file, score_from_files, weighted
from kaiwa.train import checkpoint
from kaiwa.train.rows import within_context
from kaiwa.train.shards import Shards


def run(
    config: RLHFConfig,
    ctx: Context,
    *,
    policy: Artifact,
    reward: Artifact | None,
    tokens: Artifact | None,
    prompts: Path,
    out: Path,
    probes: Sequence[Probe] = (),
    chat: Mapping[str, Any] | None = None,
    score: Score | None = None,
    publish_after: Sequence[int] = (),
) -> Artifact:
    """Train `policy` against `reward` on a JSONL of {"messages"}, and publish the policy.

    score (or the configuration's `score`, a function in a file) replaces the reward model's scores; the value model
    still starts from the reward model if given. tokens: the pretraining text of ptx. publish_after: updates after
    which the policy is also published, under updates/N.
    """
    stage = out.name
    parents = {"policy": policy, "reward": reward, "tokens": tokens, "prompts": data_parent(prompts)}
    if config.score:
        for number, (_, one) in enumerate(weighted(config.score)):
            parents["score" + str(number or "")] = fingerprint(function_file(one))
    if reward is None and score is None and not config.score:
        raise UserError(
            "nothing says what is good: give a reward model (--reward) or a function (--score FILE.py:NAME)"
        )
    if config.reward_weight and (reward is None or (score is None and not config.score)):
        raise UserError("rlhf.reward_weight adds the reward model's score to a function's: give --reward and --score")
    if tokens is None and config.has_pretraining:
        raise UserError("ptx mixes pretraining text in: give --tokens, or set ptx_coefficient and ptx_ratio to 0")
    if publish_after and config.lora_rank:
        raise UserError("publishing after single updates needs all weights trained; leave lora_rank at 0")
    plan = Plan("rlhf", config, {name: parent for name, parent in parents.items() if parent is not None}, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        loop = make_loop(config, ctx, policy=policy, reward=reward, tokens=tokens, prompts=prompts, score=score)
        watch = Watch()
        metrics = ctx.metrics(stage)
        if (saved := checkpoint.resume(work.checkpoint, metrics)) is not None:
            loop.restore(saved)
            watch.restore(saved["watch"])
        saver = checkpoint.Saver(work.checkpoint, ctx, metrics, lambda: loop.state() | {"watch": watch.state()})
        last: dict[str, float] = {}
        while loop.update < config.updates:
            saver.at_step()
            started = time.monotonic()
            last = loop.step()
            speed = last["response_tokens"] / (time.monotonic() - started)
            metrics.log(loop.update - 1, **last, tokens_per_second=round(speed, 1))
            for name, value in watch.look(last):
                metrics.log(loop.update - 1, warning=name, warning_value=round(value, 4))
                ctx.say(f"{stage}, update {loop.update}: {warning_text(name, value)}")
            text = f"score {last['score']:.2f} kl {last['kl']:.2f}"
            ctx.show(Progress(stage, loop.update, config.updates, text, speed))
            if loop.update % config.evaluate_every == 0 or loop.update == config.updates:
                samples = answer_probes(loop.policy, loop.tokenizer, probes, loop.update)
                checkpoint.append_samples(work.path / "samples.jsonl", samples, loop.update)
            if loop.update in publish_after:
                save_trained(work.path / "updates" / str(loop.update), loop.models.published)
        save_trained(work.path, loop.models.published)
        write_chat_card(work.path, chat)
        work.metrics.update(last)
    return open_artifact(out)


def make_loop(
    config: RLHFConfig,
    ctx: Context,
    *,
    policy: Artifact,
    reward: Artifact | None,
    tokens: Artifact | None,
    prompts: Path,
    score: Score | None = None,
) -> Loop:
    """Load models and data and return the loop before its first update; print the memory table before loading."""
    judge = reward.path if reward is not None else None
    rendered = prompts_that_fit(config, ctx, policy.path, judge, prompts)
    ctx.say(memory_table(config, policy.path, judge, max(len(ids) for ids, _ in rendered)))
    models = open_models(config, ctx, policy, reward)
    if config.score:
        score = score_from_files(config.score, dict(rendered))
    mixture = None
    if tokens is not None and config.has_pretraining:
        context, width = models.policy.config.max_length, config.pretraining.ptx_width
        shards = Shards.of_model(tokens.path, models.trained.tokenizer, policy.path)
        mixture = shards.mixture(within_context(width, context, "rlhf.ptx_width", ctx.say), ctx.seed + 2)
    usual = None
    if reward is not None and (card := reward.metrics.get("card")):
        usual = (card["scores"]["low"], card["scores"]["high"])
    return Loop(config, ctx, models, [ids for ids, _ in rendered], mixture=mixture, score=score, usual_scores=usual)
