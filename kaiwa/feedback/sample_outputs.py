"""Outputs to be judged: K answers to each prompt, drawn from a mix of models by weight.

InstructGPT's comparisons were of outputs mostly of earlier supervised policies, and of some of the PPO policies. Every
output keeps its model and seed, so that it can be drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng, seed_for
from kaiwa.feedback.batch_records import NewItem, OutputSource
from kaiwa.text.chat_model import ChatModel, GenerateCall, generate_many
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import Sampling

SEEDS = 2**31


def mixed_models(names: Sequence[str], weights: Sequence[float], k: int, *seeds: object) -> list[str]:
    """Return the k models of one item: each as often as its weight says, in whole numbers, the rest drawn by chance."""
    if not names or len(names) != len(weights) or min(weights) < 0 or sum(weights) <= 0:
        raise UserError(f"mix of {', '.join(names) or 'no model'}: each model needs a weight of 0 or more, not all 0")
    shares = [k * weight / sum(weights) for weight in weights]
    chosen = [name for name, share in zip(names, shares, strict=True) for _ in range(int(share))]
    rng = python_rng(0, "mix", *seeds)
    rest = [share - int(share) for share in shares]
    while len(chosen) < k:
        name = rng.choices(range(len(names)), [max(x, 1e-9) for x in rest])[0]
        rest[name] = 0.0
        chosen.append(names[name])
    rng.shuffle(chosen)
    return chosen


def sample_items(
    prompts: Sequence[Conversation],
    models: Mapping[str, ChatModel],
    weights: Mapping[str, float],
    *,
    k: int,
    sampling: Sampling,
    seed: int = 0,
) -> Iterator[NewItem]:
    """Yield an item a prompt with k outputs. `meta.ended` says which outputs ended by themselves.

    weights: of the models, any scale. UserError and ConnectionError of a model are raised.
    """
    names = list(models)
    plan = [mixed_models(names, [weights[n] for n in names], k, seed, number) for number in range(len(prompts))]
    outputs: dict[tuple[int, int], Completion] = {}
    for name, model in models.items():
        places = [(i, j) for i, row in enumerate(plan) for j, chosen in enumerate(row) if chosen == name]
        calls = [
            GenerateCall(prompt=prompts[i], sampling=replace(sampling, seed=_seed(seed, i, j, name))) for i, j in places
        ]
        for number, outcome in generate_many(model, calls):
            if isinstance(outcome, Exception):
                raise outcome
            outputs[places[number]] = outcome
    for i, prompt in enumerate(prompts):
        answers = [outputs[i, j] for j in range(k)]
        sources = tuple(
            OutputSource(model=name, seed=_seed(seed, i, j, name), n_tokens=answer.n_tokens or len(answer.ids) or None)
            for j, (name, answer) in enumerate(zip(plan[i], answers, strict=True))
        )
        ended = [answer.finish_reason == "stop" for answer in answers]
        yield NewItem(prompt=prompt, outputs=tuple(a.text for a in answers), sources=sources, meta={"ended": ended})


def _seed(seed: int, prompt: int, place: int, model: str) -> int:
    return seed_for(seed, "output", prompt, place, model) % SEEDS
