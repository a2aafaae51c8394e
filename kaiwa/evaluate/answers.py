"""One model's answers to the held-out prompts, sampled and greedy, each with the gold judge's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kaiwa.core.rng import seed_for
from kaiwa.engine.engine import Engine
from kaiwa.model.decoder import Decoder
from kaiwa.text.history import fit_conversation
from kaiwa.text.records import Conversation
from kaiwa.text.sampling import Sampling
from kaiwa.text.template import render
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.prompts import VillagePrompt
from kaiwa.world.village import Village


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer with its verdict. n_tokens includes the end of turn; logprob is the whole answer's."""

    text: str
    ended: bool
    n_tokens: int
    ids: tuple[int, ...]
    logprob: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return the answer with its verdict as plain JSON values."""
        v = self.verdict
        return {
            "text": self.text,
            "ended": self.ended,
            "utility": round(v.utility, 4),
            "helpful": v.helpful,
            "truthful": v.truthful,
            "harmless": v.harmless,
            "reason": v.reason,
        }


def prompt_ids(prompts: Sequence[VillagePrompt], tokenizer: Tokenizer, room: int = 0) -> list[list[int]]:
    """Return each prompt's token ids, rendered up to the start of the assistant's turn.

    A history of more than `room` tokens (0: no limit) loses its oldest turns, as in training and on the server.
    """

    def ids_of(messages: Conversation) -> list[int]:
        return render(tokenizer, messages, add_generation_prompt=True).ids

    if not room:
        return [ids_of(p.messages) for p in prompts]
    return [ids_of(fit_conversation(p.messages, lambda messages: len(ids_of(messages)), room)) for p in prompts]


def answer_all(
    model: Decoder,
    tokenizer: Tokenizer,
    village: Village,
    prompts: Sequence[VillagePrompt],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> list[Answer]:
    """Return one answer per prompt. A prompt has the same sampling seed for every model."""
    stops = (*tokenizer.stop_ids, tokenizer.document_end_id)
    completions = Engine(model, tokenizer).generate(
        prompt_ids(prompts, tokenizer, model.config.max_length - max_tokens),
        Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed_for(seed, "evaluate")),
        stop_ids=stops,
    )
    answers = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ended = completion.finish_reason == "stop"
        verdict = judge(village, prompt, completion.text, ended)
        total = float(sum(completion.logprobs))
        answers.append(Answer(completion.text, ended, len(completion.ids), completion.ids, total, verdict))
    return answers


def kl_to(
    reference: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[VillagePrompt],
    answers: Sequence[Answer],
    *,
    temperature: float = 1.0,
    room: int = 0,
) -> list[float]:
    """Return log π(y|x) - log π_ref(y|x) of each sampled answer; the mean estimates KL(π, π_ref) in nats per answer.

    Both are at the temperature of the sampling, so that the KL of a model to itself is 0.
    """
    ids = [a.ids for a in answers]
    scored = Engine(reference, tokenizer).score(prompt_ids(prompts, tokenizer, room), ids, temperature)
    return [a.logprob - float(sum(theirs)) for a, theirs in zip(answers, scored, strict=True)]
