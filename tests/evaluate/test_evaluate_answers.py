"""Answers to held-out prompts: who answers, with which seed, and what an answer's probability is."""

import pytest
import torch

from kaiwa.evaluate.answers import Answer, answer_all, kl_to, prompt_ids
from kaiwa.model.attention import attend_rows
from kaiwa.model.decoder import Decoder, make_decoder
from kaiwa.text.template import render
from kaiwa.world.judge import judge
from kaiwa.world.prompts import VillagePrompt, write_prompts
from kaiwa.world.village import Village, VillageConfig, build_village
from tests.tiny_models import tiny_config, tiny_tokenizer

MOST = 5


@pytest.fixture(scope="module")
def village() -> Village:
    return build_village(VillageConfig(n_taught=6, n_held_out=2))


@pytest.fixture(scope="module")
def prompts(village: Village) -> list[VillagePrompt]:
    return write_prompts(village, n=6, seed=1, split="test", purpose="test")


@pytest.fixture(scope="module")
def model() -> Decoder:
    return make_decoder(tiny_config(max_length=400), 1)


def answers(
    model: Decoder, village: Village, prompts: list[VillagePrompt], temperature: float = 1.0, seed: int = 0
) -> list[Answer]:
    return answer_all(
        model, tiny_tokenizer(), village, prompts, max_tokens=MOST, temperature=temperature, seed=seed
    )  # fmt: skip


def summed_logprobs(model: Decoder, prompt: list[int], reply: tuple[int, ...]) -> float:
    """log π(reply | prompt), by one forward pass over the whole."""
    ids = torch.tensor([[*prompt, *reply]])
    with torch.no_grad():
        hidden = model(ids, torch.arange(ids.shape[1])[None], attend_rows(None))
        logprobs = torch.log_softmax(model.logits(hidden)[0], -1)
    return sum(float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(reply))


def test_every_prompt_has_one_answer_with_its_verdict(
    model: Decoder, village: Village, prompts: list[VillagePrompt]
) -> None:
    replies = answers(model, village, prompts)
    assert len(replies) == len(prompts)
    for prompt, reply in zip(prompts, replies, strict=True):
        assert reply.verdict == judge(village, prompt, reply.text, reply.ended)
        assert reply.n_tokens == len(reply.ids) <= MOST
        assert reply.ended or reply.n_tokens == MOST


def test_a_sample_depends_on_the_seed_and_the_greedy_answer_does_not(
    model: Decoder, village: Village, prompts: list[VillagePrompt]
) -> None:
    def ids(**changes: float) -> list[tuple[int, ...]]:
        return [a.ids for a in answers(model, village, prompts, **changes)]  # type: ignore[arg-type]

    assert ids(seed=1) == ids(seed=1)
    assert ids(seed=1) != ids(seed=2)
    assert ids(seed=1, temperature=0.0) == ids(seed=2, temperature=0.0)


def test_the_probability_is_that_of_the_whole_answer(
    model: Decoder, village: Village, prompts: list[VillagePrompt]
) -> None:
    tokens = prompt_ids(prompts, tiny_tokenizer())
    for prompt, reply in zip(tokens, answers(model, village, prompts), strict=True):
        assert reply.logprob == pytest.approx(summed_logprobs(model, prompt, reply.ids), abs=1e-3)


def test_the_kl_of_a_model_to_itself_is_0_and_to_another_the_difference(
    model: Decoder, village: Village, prompts: list[VillagePrompt]
) -> None:
    replies = answers(model, village, prompts)
    assert kl_to(model, tiny_tokenizer(), prompts, replies) == pytest.approx([0.0] * len(replies), abs=1e-3)
    other = make_decoder(tiny_config(max_length=400), 9)
    tokens = prompt_ids(prompts, tiny_tokenizer())
    expected = [
        reply.logprob - summed_logprobs(other, prompt, reply.ids) for prompt, reply in zip(tokens, replies, strict=True)
    ]
    assert kl_to(other, tiny_tokenizer(), prompts, replies) == pytest.approx(expected, abs=1e-3)
    cooler = answers(model, village, prompts, temperature=0.5)
    assert kl_to(model, tiny_tokenizer(), prompts, cooler, temperature=0.5) == pytest.approx(
        [0.0] * len(cooler), abs=1e-3
    )


def test_prompts_end_where_the_assistant_begins(prompts: list[VillagePrompt]) -> None:
    tokenizer = tiny_tokenizer()
    for prompt, ids in zip(prompts, prompt_ids(prompts, tokenizer), strict=True):
        closed = render(tokenizer, prompt.messages).ids
        assert ids[: len(closed)] == closed
        assert len(ids) > len(closed)


def test_json_has_the_verdict_and_rounds_the_utility(village: Village, prompts: list[VillagePrompt]) -> None:
    verdict = judge(village, prompts[0], "I don't know.", ended=False)
    row = Answer("I don't know.", False, 4, (1, 2, 3, 4), -9.123456, verdict).to_json()
    assert row["text"] == "I don't know."
    assert row["ended"] is False
    assert row["utility"] == round(verdict.utility, 4)
    assert row["reason"].endswith("not ended")
    assert set(row) == {"text", "ended", "utility", "helpful", "truthful", "harmless", "reason"}
