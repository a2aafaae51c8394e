"""One side of bench/rlhf.py: does one task on a job's folder and prints what it measured as one JSON line.

    python bench/rlhf_peer.py (kaiwa | trl) (reward | reward-each | reward-pairs | ppo | rloo) JOB

Started in a process of its own each time, so that its peak memory is its own; TRL's with the interpreter that has it.
reward: one packed row a prompt (kaiwa), TRL's pairs (trl). reward-each: a row a completion. reward-pairs: kaiwa in
TRL's way, two rows a pair. Seconds are of one step: a prompt with all its pairs, or an update.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}


def peak() -> float:
    """MB resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_job(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "job.json").read_text())
    return value | {"folder": folder}


def now() -> tuple[float, float]:
    """By the wall and of this process's processors: the second hardly minds what else the machine does."""
    return time.perf_counter(), time.process_time()


def told(marks: list[tuple[float, float]], before: float, **more: float) -> dict[str, float]:
    """marks: before the first step and after each. The first two steps warm up."""
    wall, cpu = ([b[k] - a[k] for a, b in itertools.pairwise(marks[2:])] for k in (0, 1))
    found = {"seconds": statistics.median(wall), "cpu": statistics.median(cpu), "steps": len(marks) - 1}
    return {**found, "mb_before": before, "mb": peak(), **more}


def kaiwa_reward(job: dict[str, Any], how: str) -> dict[str, float]:
    import torch

    from kaiwa.model.attention import attend_rows
    from kaiwa.model.formats.hf_folder import load_scalar
    from kaiwa.reward.loss import pairs, pairwise_loss
    from kaiwa.reward.packing import PromptRow, pack_prompts
    from kaiwa.reward.run import score_packed, score_rows
    from kaiwa.train.optim import adamw, apply_gradients
    from kaiwa.train.schedule import cosine

    model, before = load_scalar(job["folder"] / "reward"), peak()
    optimizer = adamw([model], job["lr"], (0.9, 0.999), 0.0)
    training = job["training"]
    pad, marks = job["pad"], [now()]

    def score(rows: list[list[int]]) -> torch.Tensor:
        width = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        values = model(ids, torch.arange(width).expand_as(ids), attend_rows(None))
        return values[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]  # type: ignore[no-any-return]

    for step, item in enumerate(training):
        whole = [item["prompt"] + c for c in item["completions"]]
        if how == "reward":
            scores, _ = score_packed(model, pack_prompts([PromptRow(item["prompt"], item["completions"])], pad))
            loss, _, _ = pairwise_loss(scores, [item["ranks"]])
        elif how == "reward-each":
            loss, _, _ = pairwise_loss(score(whole), [item["ranks"]])
        else:
            found = pairs(item["ranks"])
            scores = score([whole[i] for i, _ in found] + [whole[j] for _, j in found])
            loss = -torch.nn.functional.logsigmoid(scores[: len(found)] - scores[len(found) :]).mean()
        loss.backward()
        apply_gradients(optimizer, job["lr"] * cosine(step, len(training), 0, 0.0), 1.0)
        marks.append(now())
    held = [PromptRow(item["prompt"], item["completions"]) for item in job["test"]]
    _, n, right = pairwise_loss(score_rows(model, held, pad, "cpu"), [item["ranks"] for item in job["test"]])
    return told(marks, before, accuracy=right / n)


def clock() -> Any:
    """A callback that notes when each step ended."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks: list[tuple[float, float]] = []

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.marks.append(now())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.marks.append(now())

    return Clock()


def common(job: dict[str, Any], out: str) -> dict[str, Any]:
    return {
        "output_dir": str(job["folder"] / out), "use_cpu": True, "bf16": False, "report_to": "none",
        "save_strategy": "no", "disable_tqdm": True, "gradient_checkpointing": False, "seed": 0,
    }  # fmt: skip


def tokenizer(job: dict[str, Any]) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(job["folder"] / "policy", padding_side="left")


def trl_reward(job: dict[str, Any]) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    model = AutoModelForSequenceClassification.from_pretrained(job["folder"] / "reward", num_labels=1)
    before = peak()
    model.config.pad_token_id = job["pad"]
    rows = []
    for item in job["training"]:
        order = sorted(range(len(item["ranks"])), key=item["ranks"].__getitem__)
        for a, i in enumerate(order):
            for j in order[a + 1 :]:
                better, worse = (item["prompt"] + item["completions"][k] for k in (i, j))
                rows.append({"chosen_ids": better, "rejected_ids": worse})
    k = len(job["training"][0]["ranks"])
    args = RewardConfig(
        per_device_train_batch_size=k * (k - 1) // 2, num_train_epochs=1, learning_rate=job["lr"],
        lr_scheduler_type="cosine", max_length=None, logging_steps=10_000, **common(job, "trl-reward"),
    )  # fmt: skip
    timer, data = clock(), Dataset.from_list(rows)
    RewardTrainer(
        model=model, args=args, train_dataset=data, processing_class=tokenizer(job), callbacks=[timer]
    ).train()
    right = n = 0
    model.eval()
    for item in job["test"]:
        with torch.no_grad():
            scores = [
                float(
                    model(
                        torch.tensor([item["prompt"] + c]), attention_mask=torch.ones(1, len(item["prompt"] + c))
                    ).logits
                )
                for c in item["completions"]
            ]
        for i, a in enumerate(item["ranks"]):
            for j, b in enumerate(item["ranks"]):
                if a < b:
                    n, right = n + 1, right + (scores[i] > scores[j])
    return told(timer.marks, before, accuracy=right / n)


def kaiwa_rl(job: dict[str, Any], method: str) -> dict[str, float]:
    from kaiwa.core.artifact import Artifact
    from kaiwa.core.context import Context
    from kaiwa.rlhf.config import Penalty, Returns, RLHFConfig, Steps
    from kaiwa.rlhf.loop import Loop
    from kaiwa.rlhf.models import open_models

    config = RLHFConfig(
        method=method,
        group=job["group"] if method == "rloo" else 1,
        updates=job["updates"],
        batch=job["batch"],
        minibatches=job["minibatches"] if method == "ppo" else 1,
        microbatch=job["batch"] // job["minibatches"],
        max_tokens=job["response"],
        value_clip=0.2,
        clip=0.2,
        penalty=Penalty(kl_coefficient=0.02),
        returns=Returns(lam=0.95, end_rule="subtract"),
        steps=Steps(lr=1e-5, value_lr=1e-5, warmup=0),
    )
    folders = [Artifact(job["folder"] / name, {"kind": name, "hash": ""}) for name in ("policy", "reward")]
    models = open_models(config, Context(), *folders)
    loop = Loop(config, Context(), models, [tuple(p) for p in job["prompts"]], mixture=None, score=None)
    before, marks, last = peak(), [now()], dict[str, float]()
    for _ in range(job["updates"]):
        last = loop.step()
        marks.append(now())
    return told(
        marks, before, optimizer_steps=loop.optimizer_steps, tokens=last["length"], score=last["score"], kl=last["kl"]
    )


def trl_ppo(job: dict[str, Any]) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    folder = job["folder"]
    policy, ref = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2))
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1) for _ in range(2)
    )
    for scorer in (reward, value):
        scorer.config.pad_token_id = job["pad"]
    before = peak()
    args = PPOConfig(
        per_device_train_batch_size=job["batch"], gradient_accumulation_steps=1, num_mini_batches=job["minibatches"],
        num_ppo_epochs=1, total_episodes=job["batch"] * job["updates"], response_length=job["response"],
        temperature=1.0, kl_coef=0.02, kl_estimator="k1", whiten_rewards=False, cliprange=0.2, vf_coef=0.1,
        cliprange_value=0.2, gamma=1.0, lam=0.95, stop_token="eos", missing_eos_penalty=1.0, learning_rate=1e-5,
        local_rollout_forward_batch_size=job["batch"], num_sample_generations=0, **common(job, "trl-ppo"),
    )  # fmt: skip
    data = Dataset.from_list([{"input_ids": p} for p in job["prompts"] * job["updates"]])
    timer = clock()
    trainer = PPOTrainer(
        args=args, processing_class=tokenizer(job), model=policy, ref_model=ref, reward_model=reward, value_model=value,
        train_dataset=data, eval_dataset=Dataset.from_list([{"input_ids": job["prompts"][0]}]), callbacks=[timer],
    )  # fmt: skip
    steps, inner = [], trainer.optimizer
    step = inner.step
    inner.step = lambda *a, **k: (steps.append(1), step(*a, **k))[1]
    trainer.train()
    log = trainer.state.log_history[-1]
    return told(
        timer.marks,
        before,
        optimizer_steps=len(steps),
        score=log.get("objective/scores", 0.0),
        kl=log.get("objective/kl", 0.0),
    )


def trl_rloo(job: dict[str, Any]) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from trl import RLOOConfig, RLOOTrainer

    folder, words = job["folder"], tokenizer(job)
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1)
    reward.config.pad_token_id = job["pad"]
    before = peak()
    args = RLOOConfig(
        per_device_train_batch_size=job["batch"], gradient_accumulation_steps=1, num_generations=job["group"],
        max_completion_length=job["response"], temperature=1.0, beta=0.02, epsilon=0.2, num_iterations=1,
        learning_rate=1e-5, max_steps=job["updates"], logging_steps=1, **common(job, "trl-rloo"),
    )  # fmt: skip
    texts = [{"prompt": words.decode(p)} for p in job["prompts"]]
    timer = clock()
    trainer = RLOOTrainer(
        model=policy, reward_funcs=reward, args=args, train_dataset=Dataset.from_list(texts), processing_class=words,
        reward_processing_classes=words, callbacks=[timer],
    )  # fmt: skip
    trainer.train()
    log = [row for row in trainer.state.log_history if "completions/mean_length" in row][-1]
    return told(
        timer.marks, before, tokens=log["completions/mean_length"], score=log.get("reward", 0.0), kl=log.get("kl", 0.0)
    )


def main() -> None:
    import torch

    who, what, job = sys.argv[1], sys.argv[2], read_job(Path(sys.argv[3]))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    random.seed(0)
    table: dict[tuple[str, str], Callable[[], dict[str, float]]] = {
        ("kaiwa", "ppo"): lambda: kaiwa_rl(job, "ppo"), ("kaiwa", "rloo"): lambda: kaiwa_rl(job, "rloo"),
        ("trl", "reward"): lambda: trl_reward(job), ("trl", "ppo"): lambda: trl_ppo(job),
        ("trl", "rloo"): lambda: trl_rloo(job),
        ("kaiwa", "reward"): lambda: kaiwa_reward(job, "reward"),
        ("kaiwa", "reward-each"): lambda: kaiwa_reward(job, "reward-each"),
        ("kaiwa", "reward-pairs"): lambda: kaiwa_reward(job, "reward-pairs"),
    }  # fmt: skip
    out = table[who, what]()
    times = os.times()
    print("RESULT " + json.dumps(out | {"cpu_seconds": times.user + times.system, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
