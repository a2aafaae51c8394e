"""The bench's run: its plan, its trials, its defences, and one round per turn."""

import dataclasses
import random
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.defend.defence import NONE
from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.attacks.attack import choose_attacks
from kaiwa.redteam.bench.run import SAMPLING, BenchPlan, Unusable, make_defences, make_trials, run, split_list
from kaiwa.redteam.bench.selftest import PlantedWeaknessModel, resist
from kaiwa.redteam.bench.trial import CONTROL
from kaiwa.redteam.targets.benign_twins import benign_requests
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

from .targets import target

BARE = target(documents=(), tools=(), benign=())


def plan(attacks: str = "plain,spell-it", **changes: object) -> BenchPlan:
    values: dict[str, object] = {
        "target": BARE,
        "attacks": tuple(choose_attacks(attacks, ATTACKS)),
        "defences": ("sandwich",),
        "models": ("m",),
        "trials": 10,
    }
    return BenchPlan(**(values | changes))  # type: ignore[arg-type]


class Counter(PlantedWeaknessModel):
    """Counts how many prompts a round holds, and remembers the sampling of each."""

    def __init__(self) -> None:
        super().__init__("m", resist)
        self.samplings: list[Sampling] = []

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        self.samplings.append(sampling)
        return super().generate(prompt, sampling)


def test_none_is_always_an_arm_and_spellings_are_one() -> None:
    assert plan(defences=("sandwich", "none", "None", "delimiters + sandwich", "delimiters+sandwich")).arms == (
        "none", "sandwich", "delimiters + sandwich"
    )  # fmt: skip
    assert plan(defences=("sandwich", "sandwich")).doubles == ("sandwich",)
    assert plan(defences=("canary_filter(encodings=false)", "canary_filter")).arms[1:] == (
        "canary_filter(encodings=false)", "canary_filter"
    )  # fmt: skip


def test_the_plan_as_json_names_the_sampling_that_is_in_force() -> None:
    value = plan().plan_json()
    assert {k: value[k] for k in ("max_tokens", "temperature", "top_p", "seed", "trials")} == {
        "max_tokens": 48, "temperature": 0.3, "top_p": 0.95, "seed": 0, "trials": 10
    }  # fmt: skip
    assert "top_k" not in value
    assert "stop" not in value
    other = plan(seed=3, sampling=dataclasses.replace(SAMPLING, top_k=5, stop=("\n",))).plan_json()
    assert (other["top_k"], other["stop"], other["seed"]) == (5, ["\n"], 3)


def test_how_many_trials_there_are() -> None:
    trials = make_trials(plan(trials=25), "m", [NONE, NONE])
    kinds = [trial.spec.kind for trial in trials]
    assert kinds.count("attack") == 2 * 25 * 2
    assert kinds.count(CONTROL) == 25 * 2, "controls are undefended, once"
    assert kinds.count("benign") == 2 * 2 * len(benign_requests(BARE)), "a tenth of the trials, rounded"
    assert kinds == sorted(kinds, key=["attack", CONTROL, "benign"].index)
    assert len(make_trials(plan(trials=1), "m", [NONE])) == 2 + 2 + len(benign_requests(BARE))


def test_every_request_carries_the_whole_sampling_with_a_seed_of_its_own() -> None:
    model = Counter()
    sampling = Sampling(max_tokens=7, temperature=0.9, top_k=11, min_p=0.1, repetition_penalty=1.2)
    run(plan(trials=2, sampling=sampling), lambda name: OpenedModel(model, "m"))
    assert {dataclasses.replace(s, seed=0) for s in model.samplings} == {sampling}
    assert len({s.seed for s in model.samplings}) > 10


def test_progress_ends_where_the_run_ends() -> None:
    shown: list[tuple[str, int, int]] = []
    run(plan(trials=2), lambda name: OpenedModel(Counter(), "m"), None, lambda *args: shown.append(args))
    done = [d for _, d, _ in shown]
    assert done == sorted(done)
    model, last, total = shown[-1]
    assert (model, last) == ("m", total)
    assert all(d < t for _, d, t in shown[:-1])


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    first, second = Counter(), Counter()
    cache = tmp_path / "calls.jsonl"
    one = run(plan(trials=3), lambda name: OpenedModel(first, "m"), cache)
    two = run(plan(trials=3), lambda name: OpenedModel(second, "m"), cache)
    assert first.samplings
    assert not second.samplings
    assert [dataclasses.replace(o, ms=0) for o in one] == [dataclasses.replace(o, ms=0) for o in two]


def test_two_models_of_one_name_cannot_be_told_apart() -> None:
    with pytest.raises(UserError, match="two models are called 'm'"):
        run(plan(models=("m", "n"), trials=1), lambda name: OpenedModel(Counter(), name))


def test_a_defence_that_needs_what_the_model_lacks_fails_alone() -> None:
    class NoScores(PlantedWeaknessModel):
        def score(self, context: Conversation | str, continuation: str) -> list[float]:
            raise UserError("this server does not score")

    none, perplexity = make_defences(("none", "perplexity"), NoScores("m", resist), "en")
    assert none.name == "none"
    assert isinstance(perplexity, Unusable)
    with pytest.raises(UserError, match="perplexity cannot be used here: this server does not score"):
        perplexity.session()


def test_a_plan_with_a_misspelt_defence_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(UserError, match="did you mean 'sandwich'"):
        plan(defences=("sandwhich",))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        (" a , b ", ["a", "b"]),
        ("canary_filter(partial=6, encodings=true),none", ["canary_filter(partial=6, encodings=true)", "none"]),
    ],
)
def test_lists_part_at_commas_outside_brackets(text: str, parts: list[str]) -> None:
    assert split_list(text) == parts


def test_a_missing_name_in_a_list() -> None:
    with pytest.raises(UserError, match="a name is missing"):
        split_list("a,,b")


def test_planted_models_answer_by_their_seed() -> None:
    model = PlantedWeaknessModel("m", lambda text, rng: str(rng.random()))
    one, two = (model.generate("x", Sampling(seed=1)).text for _ in range(2))
    assert one == two != model.generate("x", Sampling(seed=2)).text
    assert isinstance(random.Random(), random.Random)
