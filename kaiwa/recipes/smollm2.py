"""`smollm2`: RLHF of a real model on real preferences.

SmolLM2-135M-Instruct is fine-tuned on the better answers; a reward model is trained on the comparisons; PPO-ptx trains
the policy against the reward model. All three train LoRA adapters on the expanded 4-bit weights.

No gold judge exists for real text, so a second reward model, trained on other comparisons, judges the win rates. The
accuracy of both reward models on held-out comparisons shows how reliable the win rates are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kaiwa.catalog.entries import SMOLLM2, SMOLLM2_INSTALL, smollm2
from kaiwa.catalog.trainable import as_parent, open_base
from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish, write_atomic
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.lock import lock
from kaiwa.core.rng import python_rng
from kaiwa.corpus import run as corpus
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.engine.engine import Engine
from kaiwa.model.formats.hf_folder import load_scalar
from kaiwa.reward import run as reward
from kaiwa.reward.comparisons import read_comparisons
from kaiwa.reward.config import RewardConfig
from kaiwa.reward.packing import PromptRow
from kaiwa.reward.run import score_rows
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.config import Penalty, Pretraining, RLHFConfig, Steps
from kaiwa.sft import run as sft
from kaiwa.sft.config import SFTConfig
from kaiwa.stats.intervals import Interval, wilson
from kaiwa.stats.paired import win_rate
from kaiwa.text.data import read_comparisons as read_records
from kaiwa.text.documents import read_documents
from kaiwa.text.records import conversation, read_jsonl, write_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.shards import write_shards
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save


@dataclass(frozen=True, slots=True, kw_only=True)
class SmolLM2:
    """The configuration of the recipe. The defaults take about an hour on two cores, mostly for PPO's 80 updates.

    most: preferences used. test: preferences held out; reward model and judge get half of the rest each.
    """

    seed: int = 0
    most: int = 1100
    test: int = 200
    characters: int = 700  # of prompt and answer together; longer preferences are left out
    answered: int = 200  # prompts for the win rate
    max_tokens: int = 48
    sft: SFTConfig = field(
        default_factory=lambda: SFTConfig(epochs=1, batch=8, width=384, lr=2e-4, warmup=10, lora_rank=8)
    )
    reward: RewardConfig = field(
        default_factory=lambda: RewardConfig(prompts=8, lr=2e-4, width=768, warmup=10, weight_decay=0.0, lora_rank=8)
    )
    rlhf: RLHFConfig = field(
        default_factory=lambda: RLHFConfig(
            updates=80,
            batch=32,
            minibatches=2,
            microbatch=8,
            max_tokens=48,
            temperature=0.8,
            lora_rank=8,
            shared_trunk=True,
            penalty=Penalty(kl_coefficient=0.05),
            steps=Steps(lr=2e-4, value_lr=2e-4, warmup=3),
            pretraining=Pretraining(ptx_ratio=0.5, ptx_rows=2, ptx_width=128),
        )
    )


def build(config: SmolLM2, ctx: Context, files: Sequence[Path], out: Path, base: Path | None = None) -> dict[str, Any]:
    """Build every missing stage, write report.json and return its contents. base: a model in place of SmolLM2."""
    if base is None:
        entry = smollm2()
        if entry is None:
            raise UserError(f"{SMOLLM2}: its weights are not installed; {SMOLLM2_INSTALL}")
        base = entry.path
    with lock(out):
        ctx.seed, ctx.logs = config.seed, out / "logs"
        start = as_parent(base)
        parts = split_preferences(config, [row for file in files for row in read_pairs(file, ctx)], out / "data")
        tokens = encode_documentation(ctx, base, out)
        tuned = sft.run(config.sft, ctx, base=start, demonstrations=parts["demonstrations"], out=out / "sft")
        reward_parents: dict[str, Any] = {"policy": tuned, "demonstrations": parts["demonstrations"]}
        judge = reward.run(config.reward, ctx, **reward_parents, comparisons=parts["judge"], out=out / "judge")
        model = reward.run(config.reward, ctx, **reward_parents, comparisons=parts["reward"], out=out / "reward")
        rl_parents: dict[str, Any] = {"policy": tuned, "reward": model, "tokens": tokens, "prompts": parts["prompts"]}
        best = rlhf.run(config.rlhf, ctx, **rl_parents, out=out / "ppo_ptx")
        report = evaluate(
            config,
            ctx,
            {"sft": tuned.path, "base": base, "ppo_ptx": best.path},
            model=model,
            judge=judge,
            test=parts["test"],
        )
        artifacts = {"sft": tuned, "judge": judge, "reward": model, "ppo_ptx": best}
        report["seconds"] = {name: artifact.manifest["seconds"] for name, artifact in artifacts.items()}
        write_atomic(out / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
        return report


def read_pairs(file: Path, ctx: Context) -> list[dict[str, Any]]:
    """Return a file's preferences as {"prompt": messages, "chosen", "rejected"}, but for pairs of equal answers."""
    rows = []
    for _, record in read_records(file, ctx.say):
        order = sorted(range(len(record.ranks)), key=lambda i: record.ranks[i])
        chosen, rejected = (record.completions[order[i]].strip() for i in (0, -1))
        if chosen != rejected:
            rows.append({"prompt": [m.to_json() for m in record.prompt], "chosen": chosen, "rejected": rejected})
    if not rows:
        raise UserError(f"{file}: no preference in it: the answers of every pair are equal")
    return rows


def split_preferences(config: SmolLM2, rows: list[dict[str, Any]], folder: Path) -> dict[str, Path]:
    """Write comparisons for test, reward and judge, and demonstrations and prompts from those for reward.

    No test prompt occurs in another part. Return the files by name.
    """
    fits = [
        row
        for row in rows
        if sum(len(m["content"]) for m in row["prompt"]) + max(len(row["chosen"]), len(row["rejected"]))
        <= config.characters
    ]
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in fits:
        by_prompt.setdefault(json.dumps(row["prompt"]), []).append(row)
    groups = list(by_prompt.values())
    python_rng(config.seed, "preferences").shuffle(groups)
    flat = [row for group in groups for row in group][: config.most]
    if len(flat) < config.test + 20:
        raise UserError(
            f"{len(flat)} preferences of at most {config.characters} characters; {config.test + 20} are needed: "
            "give more, or change smollm2.test or characters"
        )
    test, rest = flat[: config.test], flat[config.test :]
    test_prompts = {json.dumps(row["prompt"]) for row in test}
    rest = [row for row in rest if json.dumps(row["prompt"]) not in test_prompts]
    half = len(rest) // 2
    parts: dict[str, list[dict[str, Any]]] = {"test": test, "reward": rest[:half], "judge": rest[half:]}
    parts["demonstrations"] = [
        {"messages": [*row["prompt"], {"role": "assistant", "content": row["chosen"]}]} for row in rest[:half]
    ]
    parts["prompts"] = [{"messages": row["prompt"]} for row in rest[:half]]
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.jsonl" for name in parts}
    for name, part in parts.items():
        write_jsonl(files[name], part)
    return files


def encode_documentation(ctx: Context, base: Path, out: Path) -> Artifact:
    """Encode Python's documentation, the pretraining text of ptx, with the base model's tokenizer."""
    source = Source(name="docs", path="builtin:docs", language="en", max_bytes=600_000)
    text = corpus.run(CorpusConfig(sources=(source,)), ctx, out=out / "corpus")
    plan = Plan("tokenizer", TokenizerConfig(), {"corpus": text, "base": as_parent(base)}, ctx.seed)
    done = finished(out / "tokens", plan, ctx.say)
    if done is not None:
        return done
    with publish(out / "tokens", plan) as work:
        tokenizer = open_base(base)[1]
        save(tokenizer, work.path)
        splits = {name: list(read_documents(text, name)) for name in ("train", "validation")}
        counts = write_shards(work.path, tokenizer, splits, {"docs": 1.0}, chat_share=0.0, seed=ctx.seed)
        work.metrics["tokens"] = dict(counts)
    return open_artifact(out / "tokens", "tokenizer")


@torch.no_grad()
def evaluate(
    config: SmolLM2, ctx: Context, models: Mapping[str, Path], *, model: Artifact, judge: Artifact, test: Path
) -> dict[str, Any]:
    """Return both reward models' accuracy on the test comparisons, and every model's win rates on their prompts."""
    tokenizer = Tokenizer.load(model.path)
    loaded = {"reward": load_scalar(model.path).to(ctx.device), "judge": load_scalar(judge.path).to(ctx.device)}
    items = read_comparisons(test, tokenizer, 10_000, ctx.say)
    report: dict[str, Any] = {"accuracy": {}, "models": []}
    for name, scorer in loaded.items():
        scores = score_rows(scorer, [item.row for item in items], tokenizer.pad_id, ctx.device, batch=8).view(-1, 2)
        right = int((scores[:, 0] > scores[:, 1]).sum())  # the chosen completion is the first
        report["accuracy"][name] = wilson(right, len(items)).to_json()
    prompts = [conversation(row["prompt"]) for row in list(read_jsonl(test))[: config.answered]]
    ids = [render(tokenizer, messages, add_generation_prompt=True).ids for messages in prompts]
    baseline: dict[str, list[float]] = {}
    for at, (name, folder) in enumerate(models.items()):
        ctx.show(Progress("evaluation", at, len(models), name))
        decoder = open_base(folder)[0].to(ctx.device)
        replies = Engine(decoder, tokenizer).generate(
            ids,
            Sampling(max_tokens=config.max_tokens, temperature=0.8, seed=config.seed),
            stop_ids=tokenizer.stop_ids,
            rows=32,
        )
        rows = [PromptRow(p, [r.ids or (tokenizer.end_id,)]) for p, r in zip(ids, replies, strict=True)]
        by = {k: score_rows(s, rows, tokenizer.pad_id, ctx.device, batch=8).tolist() for k, s in loaded.items()}
        baseline = baseline or by
        wins = {k: win_rate(by[k], baseline[k]).decided.to_json() for k in by}
        report["models"].append(
            {
                "name": name,
                "wins_by_judge": wins["judge"],
                "wins_by_reward": wins["reward"],
                "tokens": sum(len(r.ids) for r in replies) / len(replies),
                "ended": sum(r.finish_reason == "stop" for r in replies) / len(replies),
                "samples": [r.text for r in replies[:5]],
            }
        )
    return report


def summary(report: Mapping[str, Any]) -> str:
    """Return the results for the terminal, one line per figure."""

    def share(value: Mapping[str, Any]) -> str:
        return "–" if value["mean"] is None else str(Interval(**value))

    lines = [f"{name} model's accuracy on comparisons kept aside: {share(a)}" for name, a in report["accuracy"].items()]
    for m in report["models"]:
        if m["name"] != "sft":
            lines.append(
                f"{m['name']} against sft: by the judge {share(m['wins_by_judge'])}, "
                f"by its own reward model {share(m['wins_by_reward'])}"
            )
        lines.append(f"{m['name']}: {m['tokens']:.1f} tokens a reply, {m['ended']:.0%} end")
    lines.append("seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in report["seconds"].items()))
    return "\n".join(lines)
