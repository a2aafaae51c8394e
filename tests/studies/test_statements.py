"""The lecture's statements: what counts as held, on planted models, and the page in both languages."""

import json
from pathlib import Path

import pytest

from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.assignment import assignment
from kaiwa.lab.experiments.run import run as run_experiment
from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.bench.adaptive import AdaptiveResult
from kaiwa.redteam.bench.matrix import analyse_trials
from kaiwa.redteam.bench.run import BenchPlan, run
from kaiwa.redteam.bench.selftest import PlantedWeaknessModel, find_secret
from kaiwa.redteam.targets.target import read_target
from kaiwa.stats.comparison import compare
from kaiwa.stats.intervals import NOTHING, wilson
from kaiwa.studies import defences, prompting
from kaiwa.studies.statements import CANNOT_TELL, DID_NOT, HELD, by_comparison, by_share, count_line, write_page
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling


class Constant:
    name = "constant"

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        return Completion(text="positive", n_tokens=1)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return [-1.0]


def pairs(a: float, b: float, n: int = 200) -> tuple[dict[str, float], dict[str, float]]:
    return {str(i): float(i < a * n) for i in range(n)}, {str(i): float(i < b * n) for i in range(n)}


@pytest.mark.parametrize(
    ("a", "b", "gain", "same"),
    [(0.3, 0.6, HELD, DID_NOT), (0.6, 0.3, DID_NOT, DID_NOT), (0.5, 0.5, DID_NOT, HELD)],
)
def test_a_comparison(a: float, b: float, gain: str, same: str) -> None:
    first, second = pairs(a, b)
    comparison = compare(list(first.values()), list(second.values()), margin=0.1)
    assert by_comparison(comparison, "gain") == gain
    assert by_comparison(comparison, "same") == same


@pytest.mark.parametrize(
    ("successes", "n", "kind", "limit", "outcome"),
    [
        (0, 100, "below", 0.1, HELD),
        (0, 10, "below", 0.1, CANNOT_TELL),
        (50, 100, "below", 0.1, DID_NOT),
        (50, 100, "above", 0.1, HELD),
        (0, 100, "above", 0.1, DID_NOT),
        (1, 10, "above", 0.1, CANNOT_TELL),
    ],
)
def test_a_share(successes: int, n: int, kind: str, limit: float, outcome: str) -> None:
    assert by_share(wilson(successes, n), kind, limit) == outcome


def test_a_share_of_nothing() -> None:
    assert by_share(NOTHING, "below", 0.1) == CANNOT_TELL


def test_prompting_has_28_statements_in_each_language(tmp_path: Path) -> None:
    experiment = assignment(0.03, ("en", "ja"))
    analysis = analyse(experiment, run_experiment(experiment, Constant()), "constant")
    results = prompting.statements([analysis])
    assert len(results) == 56
    assert {result.language for result in results} == {"en", "ja"}
    assert len({result.text for result in results}) >= 26
    assert all(result.text_ja != result.text for result in results), "every statement is in Japanese too"
    assert not any(result.text.startswith("…") for result in results)
    file = write_page(results, prompting.TITLES, tmp_path)
    html = file.read_text(encoding="utf-8")
    assert "講義の主張" in html
    assert "knowledge about something else does not help" in html
    assert len(json.loads((tmp_path / "statements.json").read_text(encoding="utf-8"))) == 56
    assert "| statement | asked in | result | figure |" in (tmp_path / "statements.md").read_text(encoding="utf-8")
    assert count_line(results).endswith("cannot be told.")


def test_defences_on_a_model_that_always_tells() -> None:
    target = read_target("keeper.en")
    plan = BenchPlan(
        target=target,
        attacks=tuple(a for a in ATTACKS if a.family == "leaking" and a.place == "user"),
        defences=("instruction", "similarity", "canary_filter", "sandwich"),
        models=("m",),
        trials=8,
    )
    model = PlantedWeaknessModel("m", lambda text, rng: f"It is {find_secret(text)}.")
    matrix = analyse_trials(run(plan, lambda name: OpenedModel(model, "id", "chat")))
    adaptive = [AdaptiveResult(defence="canary_filter", attacker="evolution", budget=20, broken_at=(0,) * 50)]
    outcomes = {r.text: r.outcome for r in defences.statements(matrix, "en", adaptive)}
    assert outcomes["an undefended prompt leaks its secret"] == HELD
    assert outcomes["canary_filter lowers the attacks' success"] == HELD
    assert outcomes["sandwich lowers the attacks' success"] != HELD
    assert outcomes["canary_filter holds against an attacker that adapts (evolution, 20 queries)"] == HELD
    assert len(outcomes) >= 11


def test_the_full_study_of_defences_has_over_twenty_statements() -> None:
    assert len(defences.FAMILIES) + 2 + len(defences.DEFENCES) + len(defences.CHECKS) + 1 + 4 + 6 >= 20
