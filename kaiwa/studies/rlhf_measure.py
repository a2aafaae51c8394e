"""One arm's policy measured on the held-out prompts: gold utility, proxy score, KL, rates, tax."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kaiwa.core.artifact import Artifact, write_atomic
from kaiwa.core.config import from_json
from kaiwa.core.rng import python_rng, seed_for
from kaiwa.engine.engine import Engine
from kaiwa.engine.probes import Probe, cloze_right
from kaiwa.evaluate.answers import Answer, kl_to, prompt_ids
from kaiwa.model.decoder import Decoder
from kaiwa.model.formats.hf_folder import load_decoder, load_scalar
from kaiwa.model.heads import ScalarModel
from kaiwa.rlhf.best_of import best_of_n, kl_bound
from kaiwa.rlhf.best_of_config import BestOfConfig
from kaiwa.rlhf.rollout import episodes, measure, reward_model_scores
from kaiwa.text.records import Completion, Message, demonstration, read_jsonl
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.train.likelihood import bits_per_byte
from kaiwa.train.rows import Rows
from kaiwa.train.shards import Shards
from kaiwa.world.judge import judge
from kaiwa.world.language import ATTRIBUTES, LANGUAGES
from kaiwa.world.prompts import VillagePrompt, prompt_from_json
from kaiwa.world.village import Village, VillageConfig, build_village


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMeasurement:
    """One figure per prompt (utility … harmless), per cloze question (cloze), per row of held-out text (bits: per
    byte)."""

    of: str  # what was measured: hashes and settings
    utility: list[float]
    proxy: list[float]
    kl: list[float]
    tokens: list[float]
    ended: list[float]
    helpful: list[float]
    truthful: list[float]
    harmless: list[float]
    cloze: list[float]
    bits: list[float]


@dataclass(frozen=True, slots=True)
class TestSet:
    """The prompts and texts that measure every arm. `real`: held-out text of the corpus that RLHF never sees."""

    village: Village
    prompts: list[VillagePrompt]
    clozes: list[Probe]
    real: Rows
    max_tokens: int


def build_test_set(
    village: Artifact, tokens: Artifact, *, n: int, clozes: int, max_tokens: int, rows: int, seed: int
) -> TestSet:
    village_world = build_village(from_json(VillageConfig, village.manifest["config"]["village"]))
    prompts = [prompt_from_json(row) for row in list(read_jsonl(village.path / "test.jsonl"))[:n]]
    shards = Shards(tokens.path)
    real = shards.held_out("docs" if "docs" in shards.sources else shards.sources[0], 256, rows)
    return TestSet(village_world, prompts, cloze_questions(village_world, clozes, seed), real, max_tokens)


def cloze_questions(village: Village, n: int, seed: int, shots: int = 4) -> list[Probe]:
    """Build questions about held-out villagers, who are in the pretraining text and in no prompt of fine-tuning or RL.

    Each comes after `shots` answered questions about others (the part that SQuAD and DROP play in InstructGPT's table
    14).
    """
    rng, words = python_rng(seed, "rlhf-study-cloze"), LANGUAGES["en"]
    probes = []
    for i in range(n):
        attribute = rng.choice([a for a in ATTRIBUTES if a in words.values])
        people = [*rng.sample(village.taught, min(shots, len(village.taught))), rng.choice(village.held_out)]
        lines = []
        for person in people:
            question = rng.choice(words.questions[attribute]).format(name=person.names["en"])
            value = words.values[attribute][person.facts[attribute]]
            answer = rng.choice(words.facts[attribute]).format(name=person.names["en"], value=value)
            lines.append((f"Q: {question}\nA:", answer))
        examples = "\n".join(f"{q} {a}" for q, a in lines[:-1])
        answer = words.values[attribute][people[-1].facts[attribute]]
        probes.append(Probe(f"cloze-{i}", "cloze", text=f"{examples}\n{lines[-1][0]}", answer=answer))
    return probes


class Meter:
    """Measures policies against one seed's SFT and reward model; stores measurements in a folder and reads stored
    measurements back.
    """

    def __init__(self, test: TestSet, sft: Artifact, reward: Artifact, *, folder: Path, device: str, seed: int) -> None:
        self.test, self.folder, self.device, self.seed = test, folder, device, seed
        self.sft, self.tokenizer = load_decoder(sft.path).to(device), Tokenizer.load(sft.path)
        self.reward, self.parents = load_scalar(reward.path).to(device), f"{sft.hash[:12]} {reward.hash[:12]}"
        folder.mkdir(parents=True, exist_ok=True)

    def stored_measurement(self, name: str, of: str) -> ArmMeasurement | None:
        file = self.folder / f"{name}.json"
        if not file.is_file():
            return None
        value = json.loads(file.read_text(encoding="utf-8"))
        return ArmMeasurement(**value) if value["of"] == f"{self.parents} {of}" else None

    def policy(
        self,
        name: str,
        path: Path,
        of: str,
        *,
        prefix: Sequence[Message] = (),
        short: bool = False,
        judge_by: ScalarModel | None = None,
    ) -> ArmMeasurement:
        """Measure the policy in the folder `path`; `of` identifies it in the stored measurement.

        `prefix`: demonstrations shown before each prompt. `short`: without cloze questions and held-out text.
        `judge_by`: another proxy than the seed's reward model.
        """
        if (stored := self.stored_measurement(name, of)) is not None:
            return stored
        model, test = load_decoder(path).to(self.device), self.test
        replies = ask(model, self.tokenizer, test.prompts, prefix=prefix, most=test.max_tokens, seed=self.seed)
        answers = [self.judge_reply(p, c) for p, c in zip(test.prompts, replies, strict=True)]
        kl = kl_to(self.sft, self.tokenizer, test.prompts, answers)
        proxy = proxy_scores(judge_by or self.reward, self.tokenizer, test.prompts, replies, self.device)
        return self.write(name, of, answers=answers, kl=kl, proxy=proxy, model=None if short else model)

    def best_of(self, name: str, n: int) -> ArmMeasurement:
        """Measure the best of n of SFT's replies, chosen by the reward model."""
        of = f"best of {n}"
        if (stored := self.stored_measurement(name, of)) is not None:
            return stored
        config, test = BestOfConfig(n=n, max_tokens=self.test.max_tokens), self.test
        ids = prompt_ids(test.prompts, self.tokenizer)
        replies: list[Completion] = []
        proxy: list[float] = []
        engine = Engine(self.sft, self.tokenizer)
        for start in range(0, len(ids), config.block):
            seed = seed_for(self.seed, "best-of", start)
            part = ids[start : start + config.block]
            best, scores, _ = best_of_n(
                engine, self.reward, part, config, seed=seed, eos=self.tokenizer.end_id, device=self.device
            )
            replies, proxy = replies + best, proxy + scores
        answers = [self.judge_reply(p, c) for p, c in zip(test.prompts, replies, strict=True)]
        return self.write(name, of, answers=answers, kl=[kl_bound(n)] * len(answers), proxy=proxy, model=self.sft)

    def judge_reply(self, prompt: VillagePrompt, reply: Completion) -> Answer:
        ended = reply.finish_reason == "stop"
        verdict = judge(self.test.village, prompt, reply.text, ended)
        return Answer(reply.text, ended, len(reply.ids), reply.ids, float(sum(reply.logprobs)), verdict)

    def write(
        self,
        name: str,
        of: str,
        *,
        answers: Sequence[Answer],
        kl: list[float],
        proxy: list[float],
        model: Decoder | None,
    ) -> ArmMeasurement:
        measurement = ArmMeasurement(
            of=f"{self.parents} {of}",
            utility=[a.verdict.utility for a in answers],
            proxy=proxy,
            kl=kl,
            tokens=[float(a.n_tokens) for a in answers],
            ended=[float(a.ended) for a in answers],
            helpful=[float(a.verdict.helpful) for a in answers],
            truthful=[float(a.verdict.truthful) for a in answers],
            harmless=[float(a.verdict.harmless) for a in answers],
            cloze=[float(x) for x in cloze_right(model, self.tokenizer, self.test.clozes)] if model is not None else [],
            bits=row_bits(model, self.tokenizer, self.test.real, self.device) if model is not None else [],
        )
        value: dict[str, Any] = {
            k: [round(x, 6) for x in v] if isinstance(v, list) else v for k, v in asdict(measurement).items()
        }
        write_atomic(self.folder / f"{name}.json", json.dumps(value))
        return ArmMeasurement(**value)  # as it will be read another time


def ask(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[VillagePrompt],
    *,
    prefix: Sequence[Message],
    most: int,
    seed: int,
) -> list[Completion]:
    """Sample a reply to each prompt, after as many of the prefix's last demonstrations as the context holds.

    A demonstration is two messages. A prompt's sample has the same seed for every model. most: tokens of a reply.
    """
    room = model.config.max_length - most
    ids = [fitting_prompt_ids(tokenizer, prompt.messages, prefix, room) for prompt in prompts]
    stops = (*tokenizer.stop_ids, tokenizer.document_end_id)
    return Engine(model, tokenizer).generate(
        ids, Sampling(max_tokens=most, temperature=1.0, seed=seed_for(seed, "evaluate")), stop_ids=stops
    )


def fitting_prompt_ids(
    tokenizer: Tokenizer, messages: Sequence[Message], prefix: Sequence[Message], room: int
) -> Sequence[int]:
    ids: Sequence[int] = ()
    for start in range(0, len(prefix) + 1, 2):
        ids = render(tokenizer, (*prefix[start:], *messages), add_generation_prompt=True).ids
        if len(ids) <= room:
            break
    return ids


@torch.no_grad()
def proxy_scores(
    model: ScalarModel,
    tokenizer: Tokenizer,
    prompts: Sequence[VillagePrompt],
    replies: Sequence[Completion],
    device: str,
) -> list[float]:
    """Return a reward model's score of each reply to its plain prompt."""
    batch = episodes(prompt_ids(prompts, tokenizer), replies, tokenizer.end_id)
    scores: list[float] = measure(batch, 32, lambda part: reward_model_scores(model, part, device)).tolist()
    return scores


def row_bits(model: Decoder, tokenizer: Tokenizer, rows: Rows, device: str) -> list[float]:
    """Return the bits per byte of each row by itself."""
    sizes = tokenizer.byte_lengths().tolist()
    bits = []
    for i in range(len(rows.ids)):
        part = slice(i, i + 1)
        row = Rows(rows.ids[part], rows.segments[part], rows.positions[part], rows.weights[part])
        bits.append(bits_per_byte(model, row, sizes, device))
    return bits


def candidates(village: Artifact, n: int, shots: int, seed: int) -> list[list[Message]]:
    """Draw n few-shot prefixes of `shots` good demonstrations of one turn each."""
    pool = [
        parsed.messages
        for row in read_jsonl(village.path / "sft_good.jsonl")
        if len((parsed := demonstration(row)).messages) == 2
    ]
    rng = python_rng(seed, "prefixes")
    return [[m for messages in rng.sample(pool, shots) for m in messages] for _ in range(n)]


def choose_prefix(
    meter: Meter, name: str, model: Artifact, prefixes: Sequence[Sequence[Message]], prompts: Sequence[VillagePrompt]
) -> int:
    """Choose the prefix whose answers the reward model scores highest, on prompts outside the test (InstructGPT,
    E.4)."""
    file = meter.folder / f"{name}-prefix.json"
    if file.is_file():
        known: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if known["of"] == f"{meter.parents} {model.hash}":
            return int(known["chosen"])
    decoder, means = load_decoder(model.path).to(meter.device), []
    for prefix in prefixes:
        replies = ask(decoder, meter.tokenizer, prompts, prefix=prefix, most=meter.test.max_tokens, seed=meter.seed)
        scores = proxy_scores(meter.reward, meter.tokenizer, prompts, replies, meter.device)
        means.append(sum(scores) / len(scores))
    chosen = max(range(len(means)), key=means.__getitem__)
    value = {"of": f"{meter.parents} {model.hash}", "chosen": chosen, "scores": means}
    write_atomic(file, json.dumps(value))
    return chosen
