"""Budgets, prices, servers of their own, and what a plan says of them."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import AT_ONCE, BudgetedModel, Prices, RunBudget
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.preflight import estimate_tokens, planned_cost
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.knowledge import GeneratedKnowledge
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.lab.techniques.thought import ZeroShotCoT
from kaiwa.text.providers import Provider
from tests.lab.fakes import RuleModel

TASK = Task(name="t", items=tuple(Item(id=str(i), input=f"question {i:04}", answer="x") for i in range(100)))
EXPERIMENT = Experiment(name="e", tasks=(TASK,), arms=(Arm(name="a", technique=ZeroShot()),), model="m")


def test_prices_of_cached_tokens() -> None:
    assert Prices(prompt=2.0, answer=10.0).cost(1000, 400, 100) == pytest.approx(0.003)
    assert Prices(prompt=2.0, answer=10.0, cached=0.5).cost(1000, 400, 100) == pytest.approx(0.0024)


@pytest.mark.parametrize("limits", [{"money": 0.0}, {"tokens": 0}, {"money": -1.0}])
def test_a_budget_of_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UserError, match="above 0"):
        RunBudget(**limits)


def test_a_spent_budget_stops_safely_and_the_rest_comes_later(tmp_path: Path) -> None:
    model = RuleModel(lambda *_: "x")
    budget = RunBudget(tokens=100)
    outcomes = run(EXPERIMENT, BudgetedModel(model, budget), tmp_path / "calls.jsonl", identity="m")
    done = [o for o in outcomes if not o.error]
    assert len(done) == len(model.prompts) == AT_ONCE
    assert all("the budget is spent" in o.error for o in outcomes if o.error)
    outcomes = run(EXPERIMENT, BudgetedModel(model, RunBudget()), tmp_path / "calls.jsonl", identity="m")
    assert not any(o.error for o in outcomes)
    assert len(model.prompts) == 100, "what was answered is not asked again"


def test_a_plan_counts_calls_tokens_and_money() -> None:
    cost = planned_cost(EXPERIMENT)
    assert (cost.calls, cost.answer_tokens) == (100, 3200)
    assert cost.prompt_tokens == 100 * estimate_tokens("[user] question 0000")
    assert cost.minutes(1, per_minute=10) == 10.0
    assert cost.minutes(1) > cost.minutes(8) > 0
    assert (estimate_tokens("abcdefgh"), estimate_tokens("お茶")) == (2, 2)


def test_a_plan_counts_the_calls_of_all_rounds() -> None:
    items = tuple(dataclasses.replace(item, choices=("x", "y")) for item in TASK.items[:10])
    task = dataclasses.replace(TASK, kind="choice", items=items)
    two_calls = Arm(name="two", technique=ZeroShotCoT(max_tokens=64))
    knowledge = Arm(name="knowledge", technique=GeneratedKnowledge(n=2, max_tokens=24))
    plans = [
        planned_cost(dataclasses.replace(EXPERIMENT, tasks=(task,), arms=(arm,))) for arm in (two_calls, knowledge)
    ]
    assert plans[0].calls == 20, "the thought, and the answer after it"
    assert plans[0].prompt_tokens > 10 * (64 + 2 * estimate_tokens("[user] question 0000"))
    assert plans[1].calls > 20


FILE = """
url = "http://one/v1"
api_key_env = "ONE"
budget = { money = 2, tokens = 1000 }
prices = { prompt = 1, answer = 2, cached = 0.1 }
[[models]]
name = "small"
[[models]]
name = "other"
model = "claude-x"
url = "https://api.anthropic.com/v1"
api_key_env = "OTHER"
parameters = { temperature = "" }
timeout = 30
prices = { prompt = 3 }
[[tasks]]
name = "sentiment-en"
[[arms]]
technique = "zero-shot"
"""


def test_models_with_servers_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(FILE)
    experiment = read_experiment(tmp_path / "e.toml")
    assert [arm.name for arm in experiment.arms] == ["zero-shot @ small", "zero-shot @ other"]
    assert experiment.budget == (2.0, 1000)
    other = experiment.server("other")
    assert (other.model, other.api_key_env) == ("claude-x", "OTHER")
    assert other.provider == Provider(parameters={"temperature": ""}, timeout=30)
    assert experiment.prices_of("other") == Prices(prompt=3.0)
    assert experiment.prices_of("small") == Prices(prompt=1.0, answer=2.0, cached=0.1)
    assert experiment.plan_json()["servers"][1]["url"] == "https://api.anthropic.com/v1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("money = 2", "money = 0"), "budget money = 0: above 0"),
        (("cached = 0.1", "cache = 0.1"), "did you mean 'cached'"),
        (("timeout = 30", "timeot = 30"), "did you mean 'timeout'"),
        (('name = "small"', 'model = "small"'), "needs a name"),
        (("timeout = 30", 'protocol = "antropic"'), "did you mean 'anthropic'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    (tmp_path / "e.toml").write_text(FILE.replace(*change))
    with pytest.raises(UserError, match=message):
        read_experiment(tmp_path / "e.toml")
