"""Prompts and demonstrations: what is held out, round trips, and the faults of mixed demonstrations."""

import json
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.demonstrations import MIXED, DemonstrationRates, write_answer, write_demonstrations
from kaiwa.world.judge import judge
from kaiwa.world.prompts import HELD_OUT_TASKS, TEST_SHARES, TRAIN_SHARES, prompt_from_json, write_prompts
from kaiwa.world.village import VillageConfig, build_village

SMALL = build_village(VillageConfig(n_taught=16, n_held_out=8, languages=("en", "ja")))


@pytest.fixture(scope="module")
def training(village):
    return [p for purpose in ("sft", "reward", "rlhf") for p in write_prompts(village, n=3000, purpose=purpose)]


@pytest.fixture(scope="module")
def held_out(village):
    return write_prompts(village, n=4000, split="test", purpose="test")


def test_same_seed_same_prompts_and_purposes_differ(village):
    a, b = write_prompts(village, n=50, seed=2), write_prompts(village, n=50, seed=2)
    assert a == b
    assert a != write_prompts(village, n=50, seed=3)
    assert [p.text for p in a] != [p.text for p in write_prompts(village, n=50, seed=2, purpose="rlhf")]


def test_training_knows_nothing_of_what_is_held_out(village, training, held_out):
    """No test wording, villager, name, misdeed, task or sum in any training purpose."""
    assert {p.group for p in training} == {"taught", "unknown", ""}
    assert not any(p.held_out_template or p.held_out_task or p.held_out_object for p in training)
    assert not {p.kind for p in training} & set(HELD_OUT_TASKS)
    tested = [p for p in held_out if p.held_out_template]
    assert not {p.template for p in training} & {p.template for p in tested}
    names = {p.name for p in held_out if p.group in ("held_out", "unknown")}
    assert len(names) > 500
    assert not names & {p.name for p in training}
    text = "\n".join(m.content for p in training for m in p.messages)
    assert not [v.id for v in village.held_out if any(name in text for name in v.names.values())]
    for kind in ("harmful", "howto", "sum"):
        objects = {p.attribute for p in held_out if p.kind == kind}
        assert objects
        assert not objects & {p.attribute for p in training if p.kind == kind}


def test_every_test_prompt_holds_something_out(held_out):
    for p in held_out:
        flags = p.held_out_template or p.held_out_task or p.held_out_object
        assert flags or p.group in ("held_out", "unknown")


def test_all_kinds_occur(training, held_out):
    assert {p.kind for p in training} == set(TRAIN_SHARES)
    assert {p.kind for p in held_out} == set(TEST_SHARES)


def test_truth_is_the_villagers_fact(village, held_out):
    for p in held_out:
        if p.kind in ("known", "facts") and p.villager:
            facts = village.by_id[p.villager].facts
            assert p.truth == tuple(facts[a] for a in p.attribute.split("+"))
        if p.group == "unknown" and p.kind != "yesno":
            assert p.truth == ()


def test_dialogues_have_three_turns(training):
    for p in training:
        assert [m.role for m in p.messages] == (["user", "assistant", "user"] if p.kind == "dialogue" else ["user"])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), split=st.sampled_from(["train", "test"]))
def test_json_round_trip(seed, split):
    for prompt in write_prompts(SMALL, n=4, seed=seed, split=split):
        assert prompt_from_json(json.loads(json.dumps(prompt.to_json()))) == prompt


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"split": "dev"}, "split 'dev'"),
        ({"purpose": "fun"}, "purpose 'fun'"),
        ({"purpose": "test"}, 'needs split "test"'),
        ({"kinds": {"yesno": 1.0}}, "'yesno'"),
    ],
)
def test_bad_requests_are_named(village, fields, part):
    with pytest.raises(UserError, match=part):
        write_prompts(village, n=1, **fields)


def test_prompt_json_without_a_field_is_named():
    with pytest.raises(UserError, match='"kind"'):
        prompt_from_json({"messages": "x", "language": "en"})
    with pytest.raises(UserError, match="colour"):
        prompt_from_json({"messages": "x", "language": "en", "kind": "known", "colour": 1})


@pytest.mark.parametrize("split", ["train", "test"])
def test_good_demonstrations_are_best_in_every_respect(village, split):
    for d in write_demonstrations(village, n=1500, quality="good", split=split):
        prompt = prompt_from_json(d.meta["prompt"])
        verdict = judge(village, prompt, d.messages[-1].content)
        assert verdict.utility == pytest.approx(1.0), (prompt.text, d.messages[-1].content, verdict)
        assert verdict.helpful
        assert verdict.truthful
        assert verdict.harmless


def test_mixed_demonstrations_have_the_asked_faults(village):
    found = [
        (prompt, judge(village, prompt, d.messages[-1].content))
        for d in write_demonstrations(village, n=5000)
        for prompt in [prompt_from_json(d.meta["prompt"])]
    ]

    def share(which, what):
        return mean(what(v) for p, v in found if which(p))

    assert share(lambda p: p.group == "unknown", lambda v: v.invented) == pytest.approx(MIXED.invent, abs=0.05)
    assert share(lambda p: p.kind == "harmful", lambda v: not v.harmless) == pytest.approx(MIXED.comply, abs=0.07)
    assert share(lambda p: p.kind == "known", lambda v: v.right) == pytest.approx(0.89, abs=0.04)
    assert share(lambda p: p.kind != "small_talk", lambda v: v.padded) == pytest.approx(MIXED.pad, abs=0.04)
    form = share(lambda p: p.form != "" and p.group == "taught", lambda v: not v.in_form)
    assert 0.35 < form < 0.85  # ignored on purpose, or broken by padding


def test_rates_are_checked():
    with pytest.raises(UserError, match=r"pad = 1.5"):
        DemonstrationRates(pad=1.5)


def test_answers_are_short(village):
    rng = python_rng(0, "test")
    for prompt in write_prompts(village, n=1500, languages={"en": 1.0}):
        n = len(write_answer(village, prompt, rng).split())
        assert n <= (25 if prompt.kind == "howto" else 20)
