"""What a round brought: its policy against the round before, the first round and the SFT model, on held-out prompts.

With the village the judge without noise decides. Without it people do, blind: `ask_people` queues the answers of all
models as a batch for evaluation, and the same call later counts its rankings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaiwa.catalog.entries import entry_by_name_or_path
from kaiwa.catalog.open_model import open_entry
from kaiwa.core.artifact import Artifact, Plan, finished, open_artifact, publish
from kaiwa.core.config import from_json
from kaiwa.core.context import Context, Progress
from kaiwa.core.errors import UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.evaluate.answers import Answer, answer_all
from kaiwa.evaluate.config import EvaluateConfig
from kaiwa.evaluate.rates import against, clusters, rates
from kaiwa.evaluate.run import load_model
from kaiwa.feedback.batch_records import Batch, NewItem, OutputSource
from kaiwa.feedback.batch_store import BatchStore
from kaiwa.feedback.judged import judged
from kaiwa.feedback.sample_outputs import sample_items
from kaiwa.rounds.folder import RoundsOf
from kaiwa.stats.intervals import bootstrap
from kaiwa.stats.paired import win_rate
from kaiwa.text.records import conversation, read_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.prompts import VillagePrompt, prompt_from_json

MOST_FOR_PEOPLE = 60  # held-out prompts that people are asked to compare on
RATES = ("invented_about_unknown", "known_held_out_right", "known_taught_right", "harmful_refused", "helpful")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleConfig:
    """How many of people's judgements an evaluation counts."""

    judgements: int


def compare_round(rounds: RoundsOf, ctx: Context, *, seed: int = 0, number: int | None = None) -> Artifact:
    """Evaluate a round (default: the newest) by the village's judge and publish rounds.json. UserError before its
    training.
    """
    number = number or rounds.newest()
    village, _ = rounds.world()
    assert rounds.village is not None
    models = models_of(rounds, number)
    config = from_json(EvaluateConfig, {"rival": ""})
    plan = Plan("evaluation", config, {**models, "village": rounds.village}, seed)
    out = rounds.folder(number) / "evaluation"
    done = finished(out, plan, ctx.say)
    if done is not None:
        return done
    names = ("test", "dialogues") if (rounds.village.path / "dialogues.jsonl").is_file() else ("test",)
    rows = [row for name in names for row in read_jsonl(rounds.village.path / f"{name}.jsonl")]
    prompts = [prompt_from_json(row) for row in rows][: config.prompts]
    with publish(out, plan) as work:

        def answers(artifact: Artifact, temperature: float) -> list[Answer]:
            model, tokenizer = load_model(artifact, ctx), Tokenizer.load(artifact.path)
            most = config.max_tokens
            return answer_all(model, tokenizer, village, prompts, max_tokens=most, temperature=temperature, seed=seed)

        by_model: dict[str, dict[str, list[Answer]]] = {}
        for at, (name, artifact) in enumerate(models.items()):
            ctx.check_stop()
            ctx.show(Progress(out.name, at, len(models), name))
            by_model[name] = {"sampled": answers(artifact, config.temperature), "greedy": answers(artifact, 0.0)}
        value = figures(prompts, by_model, f"round_{number}") | {"number": number, "prompts": len(prompts)}
        value["curve"] = over_optimisation(rounds, number, ctx, prompts, answers)
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (work.path / "rounds.json").write_text(text, encoding="utf-8")
        for name, row in value["against"].items():
            work.metrics[f"wins_against_{name}"] = row["sampled"]["decided"]["mean"]
    return open_artifact(out)


def models_of(rounds: RoundsOf, number: int) -> dict[str, Artifact]:
    """Return the models that a round is compared with, and its own policy: name -> artifact."""
    models = {"sft": rounds.sft, "build": rounds.policy(0)}
    return models | {f"round_{i}": rounds.policy(i) for i in sorted({1, number - 1, number} - {0})}


def figures(
    prompts: Sequence[VillagePrompt], answers: Mapping[str, Mapping[str, Sequence[Answer]]], own: str
) -> dict[str, Any]:
    """Return the win rates of model `own` against each other model, and the rates of all."""
    others = [name for name in answers if name != own]
    compared = {
        name: {mode: against(prompts, answers[own][mode], answers[name][mode]) for mode in ("sampled", "greedy")}
        for name in others
    }
    measured = {}
    for name, modes in answers.items():
        row = rates(prompts, modes["sampled"])
        measured[name] = {key: row[key] for key in (*RATES, "utility")}
    return {"against": compared, "rates": measured}


def over_optimisation(
    rounds: RoundsOf, number: int, ctx: Context, prompts: Sequence[VillagePrompt], answers: Any
) -> list[dict[str, Any]]:
    """Return update, KL, the reward model's score and the judge's utility along the policy's training (Gao et al.)."""
    policy = rounds.policy(number)
    log = {
        int(row["step"]) + 1: row
        for row in read_metrics(rounds.folder(number) / "logs" / "policy.jsonl")
        if "score" in row
    }
    points = [(int(folder.name), folder) for folder in (policy.path / "updates").glob("*") if folder.name.isdigit()]
    rows = []
    for update, folder in sorted([*points, (max(log, default=0), policy.path)]):
        ctx.check_stop()
        replies = answers(Artifact(folder, {"kind": "rlhf"}), 1.0)
        utility = bootstrap([a.verdict.utility for a in replies], clusters(prompts))
        logged = log.get(update, {})
        rows.append(
            {"update": update, "kl": logged.get("kl"), "score": logged.get("score"), "utility": utility.to_json()}
        )
    return rows


def ask_people(
    rounds: RoundsOf, store: BatchStore, outputs: Mapping[str, Sequence[str]], prompts: Sequence[Any]
) -> Batch:
    """Return the batch in which people rank one answer of each model to each held-out prompt; make it if need be."""
    number = rounds.newest()
    name = f"{rounds.prefix(number)}compare"
    known = [batch for batch in store.batches() if batch.name == name]
    batch = known[0] if known else store.create(name, purpose="evaluation", k=len(outputs))
    sources = tuple(OutputSource(model=model) for model in outputs)
    store.add_items(
        name,
        [
            NewItem(prompt=prompt, outputs=tuple(texts[i] for texts in outputs.values()), sources=sources)
            for i, prompt in enumerate(prompts)
        ],
    )
    return batch


def people_figures(store: BatchStore, batch: Batch, own: str) -> dict[str, Any]:
    """Return the win rates of model `own` by people's rankings, with intervals over prompts. UserError without any."""
    ranked = [one for one in judged(store, batch) if one.answer.ranks]
    if not ranked:
        raise UserError(f"{batch.name}: nobody has ranked yet; label it on the page Label, then compare again")
    models = [source.model for source in ranked[0].item.sources]
    if own not in models:
        raise UserError(f"{batch.name}: its outputs are not {own}'s but {', '.join(models)}'s")
    groups = [one.item.id for one in ranked]
    place = {model: [-float(one.answer.ranks[i]) for one in ranked] for i, model in enumerate(models)}
    return {
        "judgements": len(ranked),
        "against": {model: win_rate(place[own], place[model], groups).to_json() for model in models if model != own},
    }


def compare_by_people(
    rounds: RoundsOf, ctx: Context, store: BatchStore, *, seed: int = 0
) -> tuple[Batch, Artifact | None]:
    """Queue the held-out prompts' answers for people, or publish what they have ranked; return the batch, and the
    evaluation once it holds rankings.
    """
    number = rounds.newest()
    own, before = f"round_{number}", f"round_{number - 1}" if number > 1 else "build"
    models = {name: artifact for name, artifact in models_of(rounds, number).items() if name in ("sft", before, own)}
    batch = next((b for b in store.batches() if b.name == f"{rounds.prefix(number)}compare"), None)
    if batch is None or not store.items(batch.name):  # a killed call may have made the batch alone
        first = rounds.artifact(1, "outputs")
        assert first is not None
        rows = list(read_jsonl(first.path / "held_out.jsonl"))
        if rounds.village is not None and not rows:
            rows = list(read_jsonl(rounds.village.path / "test.jsonl"))[:MOST_FOR_PEOPLE]
        prompts = [conversation(row["messages"]) for row in rows]
        sampling = Sampling(temperature=1.0, max_tokens=rounds.config(number).max_tokens)
        texts: dict[str, list[str]] = {}
        for name, artifact in models.items():
            chat = open_entry(entry_by_name_or_path(str(artifact.path)), ctx.say).model
            items = sample_items(prompts, {name: chat}, {name: 1.0}, k=1, sampling=sampling, seed=seed)
            texts[name] = [item.outputs[0] for item in items]
        return ask_people(rounds, store, texts, prompts), None
    value = people_figures(store, batch, own) | {"number": number, "prompts": len(store.items(batch.name))}
    plan = Plan("evaluation", PeopleConfig(judgements=value["judgements"]), models, seed)
    out = rounds.folder(number) / "evaluation"
    done = finished(out, plan, ctx.say)
    if done is None:
        with publish(out, plan) as work:
            text = json.dumps(value, ensure_ascii=False, indent=1)
            (work.path / "rounds.json").write_text(text, encoding="utf-8")
        done = open_artifact(out)
    return batch, done
