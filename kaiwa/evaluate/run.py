"""Evaluation: every model of a build answers the same held-out prompts, sampled and greedy; the gold judge rates them.

The stage publishes evaluation.json (figures with intervals) and answers.jsonl (every prompt with all models' answers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaiwa.catalog.weights import four_bit
from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.config import did_you_mean, from_json
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.evaluate.answers import Answer, answer_all, kl_to
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.evaluate.dialogues import (
    DialogueAnswers,
    answer_dialogues,
    compare_dialogues,
    read_dialogues,
    single_questions,
)
from kaiwa.evaluate.rates import against, clusters, rates
from kaiwa.evaluate.reward_card import reward_card
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.gptq import load_int4
from kaiwa.model.formats.hf_folder import load_decoder
from kaiwa.stats.intervals import bootstrap
from kaiwa.text.records import read_jsonl, write_jsonl
from kaiwa.tokenizer.folder import check_tokens
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.likelihood import bits_per_byte
from kaiwa.train.shards import Shards
from kaiwa.world.prompts import VillagePrompt, prompt_from_json
from kaiwa.world.village import VillageConfig, build_village


def run(
    config: EvaluateConfig,
    ctx: Context,
    *,
    models: Mapping[str, Artifact],
    village: Artifact,
    tokens: Artifact,
    out: Path,
    reward: Artifact | None = None,
    comparisons: Artifact | None = None,
) -> Artifact:
    """Evaluate every model on the village's test prompts, with a rival also on its dialogues, and publish the figures.

    UserError if the baseline or the rival is not among the models.
    """
    for role, name in (("baseline", config.baseline), ("rival", config.rival)):
        if name not in models and (name or role == "baseline"):
            raise UserError(f"evaluate.{role} {name!r} is no model{did_you_mean(name, models)}")
    parents = {**models, "village": village, "tokens": tokens}
    parents |= {n: a for n, a in (("reward", reward), ("comparisons", comparisons)) if a is not None}
    plan = Plan("evaluation", config, parents, ctx.seed)
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    with publish(out, plan) as work:
        world = build_village(from_json(VillageConfig, village.manifest["config"]["village"]))
        rows = list(read_jsonl(village.path / "test.jsonl"))[: config.prompts]
        prompts = [prompt_from_json(row) for row in rows]
        shards = Shards(tokens.path)
        tests = read_dialogues(village.path) if config.rival else None
        talks: dict[str, DialogueAnswers] = {}
        answers: dict[str, dict[str, list[Answer]]] = {}
        figures: list[dict[str, Any]] = []
        baseline = load_model(models[config.baseline], ctx)
        names = [config.baseline, *(name for name in models if name != config.baseline)]
        for at, name in enumerate(names):
            ctx.check_stop()
            ctx.show(Progress(out.name, at, len(names), name))
            model, tokenizer = load_model(models[name], ctx), Tokenizer.load(models[name].path)
            check_tokens(tokenizer, models[name].path, tokens.path)
            width = min(config.width, model.config.max_length)
            real = shards.held_out(config.real_source, width, config.evaluate_rows)
            answers[name] = {
                mode: answer_all(
                    model, tokenizer, world, prompts, max_tokens=config.max_tokens, temperature=t, seed=ctx.seed
                )
                for mode, t in (("sampled", config.temperature), ("greedy", 0.0))
            }
            if tests is not None:
                talks[name] = answer_dialogues(model, tokenizer, world, tests, config, seed=ctx.seed)
            sampled, greedy = answers[name]["sampled"], answers[name]["greedy"]
            room = model.config.max_length - config.max_tokens
            kls = kl_to(baseline, tokenizer, prompts, sampled, temperature=config.temperature, room=room)
            kl = bootstrap(kls, clusters(prompts))
            lengths = bootstrap([float(a.n_tokens) for a in sampled], clusters(prompts))
            base = answers[config.baseline]
            compared = {mode: against(prompts, answers[name][mode], base[mode]) for mode in ("sampled", "greedy")}
            measured = {
                mode: rates(prompts, mode_answers) for mode, mode_answers in (("sampled", sampled), ("greedy", greedy))
            }
            figures.append(
                {
                    "name": name,
                    "win_rate_vs_sft": compared["sampled"]["decided"],
                    **{axis: measured["sampled"][axis] for axis in ("helpful", "truthful", "harmless")},
                    "ended": measured["sampled"]["ended"]["mean"],
                    "mean_tokens": lengths.mean,
                    "kl_to_sft": kl.mean,
                    "bits_per_byte": bits_per_byte(model, real, tokenizer.byte_lengths().tolist(), ctx.device),
                    "kl_interval": kl.to_json(),
                    "against_sft": compared,
                    "rates": measured,
                }
            )
        order = {name: i for i, name in enumerate(models)}
        figures.sort(key=lambda row: order[row["name"]])
        result: dict[str, Any] = {"models": figures, "prompts": len(prompts)}
        if tests is not None:
            _add_dialogues(figures, config, compare_dialogues(tests, talks, config.rival), prompts, answers)
            result["dialogues"] = {"rival": config.rival, "prompts": len(tests.dialogues), "turn3": len(tests.turn3)}
        if reward is not None and comparisons is not None:
            held_out = reward.manifest["config"]["held_out_labellers"]
            result["reward"] = reward_card(reward, comparisons.path / "comparisons.jsonl", world, held_out)
        text = json.dumps(result, ensure_ascii=False, indent=1)
        (work.path / "evaluation.json").write_text(text, encoding="utf-8")
        write_jsonl(work.path / "answers.jsonl", _side_by_side(prompts, answers, list(models)))
        for row in figures:
            work.metrics[row["name"]] = row["win_rate_vs_sft"]["mean"]
    return open_artifact(out)


def _add_dialogues(
    figures: list[dict[str, Any]],
    config: EvaluateConfig,
    dialogues: Mapping[str, Mapping[str, Any]],
    prompts: Sequence[VillagePrompt],
    answers: Mapping[str, Mapping[str, Sequence[Answer]]],
) -> None:
    """Add to each model's figures those on dialogues, and what single questions and text cost against the rival."""
    rival = next(row for row in figures if row["name"] == config.rival)
    for row in figures:
        ours, theirs = answers[row["name"]]["sampled"], answers[config.rival]["sampled"]
        change = row["bits_per_byte"] / rival["bits_per_byte"] - 1
        row |= dialogues[row["name"]]
        row["single_questions"] = single_questions(prompts, ours, theirs, config.margin)
        row["bits_change"] = {"share": change, "margin": config.bits_margin, "held": change <= config.bits_margin}


def load_model(artifact: Artifact, ctx: Context) -> Decoder:
    """Return a model for evaluation; 4-bit weights are in the layout that is fastest on this machine."""
    if artifact.kind != "int4":
        return load_decoder(artifact.path).to(ctx.device)
    layout = () if ctx.device == "cpu" else four_bit(ctx.device, ctx.say)
    return load_int4(artifact.path, *layout).to(ctx.device)


def _side_by_side(
    prompts: Sequence[VillagePrompt], answers: Mapping[str, Mapping[str, Sequence[Answer]]], names: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "prompt": prompt.to_json(),
            "answers": {n: {mode: answers[n][mode][i].to_json() for mode in ("sampled", "greedy")} for n in names},
        }
        for i, prompt in enumerate(prompts)
    ]
